"""`commands/places.py`: where artifacts are put, whatever they are called."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.commands.places import places
from kernel_gateway.errors import Refused
from kernel_gateway.runs.records import Artifact, ArtifactKind


def artifact(name: str, **more: Any) -> Artifact:
    usual = {"id": "a1", "kind": ArtifactKind.FILE, "mime": "m", "size": 1, "digest": "sha256:0"}
    return Artifact(name=name, **{**usual, **more})


def place(name: str, **more: Any) -> str:
    ((_, found),) = places([artifact(name, **more)])
    return str(found)


@pytest.mark.parametrize("name", ["plot.png", "sub/folder/plot.png", "ünï cödé", ".hidden", "..."])
def test_a_plain_path_is_kept(name: str) -> None:
    assert name == place(name)
    assert name == place(name, kind=ArtifactKind.WORK)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "a/",
        "a\0b",
        "a\nb",
        "\x1b[31m",
        "\ud800",
        "x" * 201,
        "ü" * 101,
    ],
)
def test_a_name_that_is_no_plain_path_gives_way_to_the_id(name: str) -> None:
    assert "a1" == place(name)


def test_what_is_oversized_has_a_name_and_no_path() -> None:
    assert "output 3 text_html" == place("output 3 text/html", kind=ArtifactKind.OVERSIZED)


@pytest.mark.parametrize("id_", ["", "..", "../x", "a/b", "-x", "x" * 101])
def test_an_id_that_is_none_is_refused(id_: str) -> None:
    with pytest.raises(Refused):
        place("..", id=id_)


def test_two_of_one_name_have_two_places() -> None:
    found = places([artifact("sub/x"), artifact("sub/x", id="a2")])
    assert [PurePosixPath("sub/x"), PurePosixPath("sub/a2-x")] == [where for _, where in found]


@given(st.text())
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    found = PurePosixPath(place(name))
    assert not found.is_absolute()
    assert ".." not in found.parts
