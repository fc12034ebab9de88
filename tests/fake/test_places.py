"""`commands/places.py` on a file system: nothing outside of the folder, nothing replaced."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from kernel_gateway.commands.places import made_place
from kernel_gateway.errors import Refused


def test_the_folders_above_a_place_are_made(tmp_path: Path) -> None:
    found = made_place(tmp_path, PurePosixPath("a/b/c"))
    assert tmp_path / "a/b/c" == found
    assert (tmp_path / "a/b").is_dir()
    assert not found.exists()


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/link").symlink_to(tmp_path / "outside")
    with pytest.raises(Refused, match="is a link"):
        made_place(tmp_path / "inside", PurePosixPath("link/deep/x"))
    assert [] == list((tmp_path / "outside").iterdir())


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("file", "dangling"):
        with pytest.raises(Refused, match="is there already"):
            made_place(tmp_path, PurePosixPath(name))


def test_a_file_where_a_folder_is_needed_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match="File exists"):
        made_place(tmp_path, PurePosixPath("a/b"))
