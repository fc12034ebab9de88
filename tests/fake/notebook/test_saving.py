"""`notebook/saving.py`: a reader of the file never sees half of it."""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.notebook.saving import CopySink, FileSink, LastSink, StreamSink

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_each_save_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "out.ipynb"
    sink = FileSink(path)
    sink.save(b"first")
    sink.save(b"second")
    sink.close()
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["out.ipynb"]


def test_who_has_the_file_open_keeps_what_it_read(tmp_path: Path) -> None:
    path = tmp_path / "out.ipynb"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        FileSink(path).save(b"new and longer")
        assert reader.read() == b"old"


def test_a_new_file_has_the_mode_that_the_user_gives_to_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        FileSink(tmp_path / "out.ipynb").save(b"x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "out.ipynb") == 0o640


@pytest.mark.parametrize("bits", [0o600, 0o664, 0o777])
def test_a_file_that_was_there_keeps_its_mode(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "out.ipynb"
    path.touch()
    path.chmod(bits)
    FileSink(path).save(b"x")
    assert mode(path) == bits


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "out.ipynb", tmp_path / "link.ipynb"
    link.symlink_to(target)
    FileSink(link).save(b"x")
    assert link.is_symlink()
    assert target.read_bytes() == b"x"


def test_a_save_that_fails_leaves_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.ipynb"
    sink = FileSink(path)
    sink.save(b"first")
    path.unlink()
    path.mkdir()  # a file cannot take its place
    with pytest.raises(OSError, match="directory"):
        sink.save(b"second")
    assert os.listdir(tmp_path) == ["out.ipynb"]


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileSink(tmp_path / "gone" / "out.ipynb").save(b"x")


def test_a_stream_gets_the_last_save_only() -> None:
    stream = io.BytesIO()
    sink = StreamSink(stream)
    sink.save(b"first")
    sink.save(b"second")
    assert stream.getvalue() == b""
    sink.close()
    assert stream.getvalue() == b"second"


def test_who_wants_one_save_gets_the_last_one_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.ipynb"
    sink = LastSink(FileSink(path))
    sink.save(b"first")
    sink.save(b"second")
    assert not path.exists()
    sink.close()
    assert path.read_bytes() == b"second"


def test_a_run_that_saves_nothing_writes_nothing(tmp_path: Path) -> None:
    LastSink(FileSink(tmp_path / "out.ipynb")).close()
    assert [] == os.listdir(tmp_path)


def test_a_copy_is_kept_of_what_is_written_and_of_what_is_not() -> None:
    stream = io.BytesIO()
    for sink in (CopySink(StreamSink(stream)), CopySink(None)):
        sink.save(b"first")
        sink.save(b"second")
        sink.close()
        assert b"second" == sink.last
    assert b"second" == stream.getvalue()
