"""Which outputs are files, and how they are called; how a text that grows is kept."""

from __future__ import annotations

import base64

import pytest

from kernel_gateway.runs.artifacts import decoded, file_name, is_binary, safe_mime, whereabouts
from kernel_gateway.runs.records import Spilled

BINARY = [
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/bmp", "bmp"),
    ("application/pdf", "pdf"),
    ("audio/mpeg", "mp3"),
    ("audio/x-wav", "wav"),
    ("audio/wav; codecs=1", "wav"),
    ("video/mp4", "mp4"),
    ("video/vnd.of.somebody", "bin"),
    ("audio/../../etc", "etc"),
    ("video/", ""),
]


@pytest.mark.parametrize(("mime", "extension"), BINARY)
def test_images_sounds_films_and_pdf_are_files(mime: str, extension: str) -> None:
    assert is_binary(mime)
    assert b"data" == decoded(mime, base64.b64encode(b"data").decode())
    assert f"output-3.{extension or 'bin'}" == file_name("output-3", mime)


@pytest.mark.parametrize("mime", ["text/plain", "image/svg+xml", "application/json", "x", ""])
def test_other_values_are_none(mime: str) -> None:
    assert not is_binary(mime)
    assert None is decoded(mime, "ZGF0YQ==")


@pytest.mark.parametrize("value", ["", " ", "no base64!", "ZGF0YQ", "é", None, 3, ["ZGF0YQ=="]])
def test_what_is_no_base64_is_no_file(value: object) -> None:
    assert None is decoded("image/png", value)  # type: ignore[arg-type]


def test_base64_may_be_in_lines() -> None:
    data = bytes(range(256))
    assert data == decoded("image/png", base64.encodebytes(data).decode())


@pytest.mark.parametrize(
    ("mime", "safe"),
    [
        ("text/html", "text/html"),
        ("image/svg+xml", "image/svg+xml"),
        ("text/plain; charset=utf-8", "text/plain"),
        ("text/html\r\nX: y", "application/octet-stream"),
        ("x" * 200 + "/y", "application/octet-stream"),
        ("text", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_the_type_of_a_kernel_is_safe_in_a_header(mime: str, safe: str) -> None:
    assert safe == safe_mime(mime)


def test_who_sees_an_output_without_its_value_is_told_where_it_is() -> None:
    item = Spilled(artifact="a1", size=9, digest="sha256:0", preview="x")
    assert "A text/html value of 9 bytes is kept as artifact a1 of the run." == whereabouts(
        "text/html", item
    )
    lost = Spilled(size=9, digest="sha256:0", preview="x")
    assert "was not kept" in whereabouts("text/html", lost)
