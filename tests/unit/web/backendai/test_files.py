"""Uploads as the client packs them."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import InvalidField
from kernel_gateway.web.backendai.files import MAX_FILE_BYTES, uploaded

KIND = "multipart/form-data; boundary=xyz"


def body(*files: tuple[str, bytes]) -> bytes:
    parts = [
        b"--xyz\r\nContent-Type: application/octet-stream\r\n"
        b'Content-Disposition: form-data; name="src"; filename="%b"\r\n\r\n%b\r\n'
        % (name.encode(), data)
        for name, data in files
    ]
    return b"".join(parts) + b"--xyz--\r\n"


def test_names_are_percent_encoded() -> None:
    sent = body(("sub%2Fdeep%2Fb%20%C3%BC.bin", b"\r\n--\x00"), ("a.py", b""))
    assert {"sub/deep/b ü.bin": b"\r\n--\x00", "a.py": b""} == uploaded(KIND, sent)


def test_the_folder_may_be_named_as_in_the_original() -> None:
    assert {"a": b"1"} == uploaded(KIND, body(("%2Fhome%2Fwork%2Fa", b"1")))


def test_a_boundary_may_be_quoted() -> None:
    kind = 'Multipart/Form-Data; charset=utf-8; boundary="xyz"'
    assert {"a": b"1"} == uploaded(kind, body(("a", b"1")))


def test_twenty_files_are_the_most() -> None:
    files = [(f"f{n}", b"") for n in range(21)]
    assert 20 == len(uploaded(KIND, body(*files[:20])))
    with pytest.raises(InvalidField, match="20 files"):
        uploaded(KIND, body(*files))


def test_a_file_is_under_a_mebibyte() -> None:
    assert uploaded(KIND, body(("a", b"x" * (MAX_FILE_BYTES - 1))))
    with pytest.raises(InvalidField, match="under 1048576 bytes"):
        uploaded(KIND, body(("a", b"x" * MAX_FILE_BYTES)))


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data"])
def test_another_kind_of_body_is_refused(kind: str) -> None:
    with pytest.raises(InvalidField, match="must be multipart/form-data"):
        uploaded(kind, b"{}")


@pytest.mark.parametrize("data", [b"--xyz--\r\n", body(("", b"x"))])
def test_no_file_is_no_upload(data: bytes) -> None:
    with pytest.raises(InvalidField, match="at least one file"):
        uploaded(KIND, data)


@pytest.mark.parametrize("data", [b"", b"--xyz\r\nno headers\r\n--xyz--\r\n", body(("%FF", b""))])
def test_a_body_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidField):
        uploaded(KIND, data)
