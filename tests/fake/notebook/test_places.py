"""`notebook/places.py`: where notebooks are read and written, and what is said when they cannot."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import pytest

from kernel_gateway.errors import NotebookUnreadable, NotebookUnwritable
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.places import (
    default_output,
    folder_of,
    read_notebook,
    shown,
    sink_for,
)

SIGNED = "memory://ada:secret@bucket/a.ipynb?signature=secret"
SCRIPT = b'# %% tags=["parameters"]\nx = 1\n\n# %% [markdown]\n# Text\n'


@pytest.fixture
def memory() -> fsspec.AbstractFileSystem:
    storage = fsspec.filesystem("memory")
    storage.store.clear()
    return storage


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where local copies are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


class Standard:
    """A standard stream, as a pipe has it."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)


# -- files and streams -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_file_is_read_and_replaced_as_a_whole(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a b.ipynb"
    path.write_bytes(b"{}")
    name = form.format(str(path).replace(" ", "%20") if "://" in form else path)
    assert b"{}" == read_notebook(name)
    with path.open("rb") as reader:
        sink_for(name).save(b"new")
        assert (b"{}", b"new") == (reader.read(), path.read_bytes())


def test_the_home_folder_may_be_abbreviated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    sink_for("~/a.ipynb").save(b"{}")
    assert b"{}" == read_notebook("~/a.ipynb")


def test_a_dash_is_standard_input_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Standard()
    monkeypatch.setattr(sys, "stdin", Standard(b"{}"))
    monkeypatch.setattr(sys, "stdout", out)
    assert b"{}" == read_notebook("-")
    sink = sink_for("-")
    sink.save(b"first")
    sink.save(b"last")
    sink.close()
    assert b"last" == out.buffer.getvalue()


def test_a_pipe_gets_the_last_save(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = sink_for(str(pipe))
    sink.save(b"first")
    sink.save(b"last")
    sink.close()
    assert b"last" == os.read(reader, 100)
    os.close(reader)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(NotebookUnreadable, match=r"gone\.ipynb cannot be read: No such file"):
        read_notebook(str(tmp_path / "gone.ipynb"))


def test_an_output_that_cannot_be_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(NotebookUnwritable, match="is a folder; name a file in it"):
        sink_for(str(tmp_path))
    with pytest.raises(NotebookUnwritable, match=r"has no folder: make \S+/gone first"):
        sink_for(str(tmp_path / "gone/a.ipynb"))
    with pytest.raises(NotebookUnwritable, match="cannot be written: File name too long"):
        sink_for(str(tmp_path / ("x" * 256)))
    with pytest.raises(NotebookUnwritable, match="is no name of a file"):
        sink_for(str(tmp_path / "a\0b"))


def test_a_device_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "it"))
        with pytest.raises(NotebookUnwritable, match="it cannot be written: No such device"):
            sink_for(str(tmp_path / "it"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("-", "-"),
        ("report.ipynb", "report.out.ipynb"),
        ("a.b/report.py", "a.b/report.out.ipynb"),
        ("report.Rmd", "report.out.ipynb"),
        ("report", "report.out.ipynb"),
        ("report.v2", "report.v2.out.ipynb"),
        ("s3://bucket/report.ipynb", "s3://bucket/report.out.ipynb"),
    ],
)
def test_an_output_without_a_name_is_beside_the_input(name: str, expected: str) -> None:
    assert expected == default_output(name)


def test_a_notebook_is_in_a_folder_only_if_that_is_here(tmp_path: Path) -> None:
    assert tmp_path == folder_of(str(tmp_path / "a.ipynb"))
    assert tmp_path == folder_of(f"file://{tmp_path}/a.ipynb")
    assert None is folder_of("-")
    assert None is folder_of("s3://bucket/a.ipynb")


# -- URLs ------------------------------------------------------------------------------------------


def test_a_url_is_read_and_written(memory: fsspec.AbstractFileSystem, temporary: Path) -> None:
    memory.pipe_file("/bucket/in.ipynb", b"{}")
    assert b"{}" == read_notebook("memory://bucket/in.ipynb")
    sink = sink_for("memory://bucket/out.ipynb")
    sink.save(b"first")
    assert b"first" == memory.cat_file("/bucket/out.ipynb")
    sink.save(b"second")
    sink.close()
    assert b"second" == memory.cat_file("/bucket/out.ipynb")
    assert [] == os.listdir(temporary)


def test_a_sink_that_was_never_written_leaves_nothing(temporary: Path) -> None:
    sink_for("memory://bucket/out.ipynb").close()
    assert [] == os.listdir(temporary)


def test_what_cannot_be_sent_is_kept_here(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    def refuse(path: str, data: bytes) -> None:
        raise PermissionError(f"not {SIGNED}")

    monkeypatch.setattr(memory, "pipe_file", refuse)
    sink = sink_for(SIGNED)
    with pytest.raises(OSError, match="the notebook is kept in") as caught:
        sink.save(b"whole")
    said, _, kept = str(caught.value).rpartition("; the notebook is kept in ")
    assert "not memory://bucket/a.ipynb" == said
    assert temporary in Path(kept).parents
    assert b"whole" == Path(kept).read_bytes()


def test_nobody_is_shown_what_lets_in() -> None:
    assert "memory://bucket/a.ipynb" == shown(SIGNED)
    assert "s3://bucket/a.ipynb" == shown("s3://bucket/a.ipynb#x")
    assert "a@b?c#d.ipynb" == shown("a@b?c#d.ipynb")
    assert "s3://host/x" == shown("s3://user:p@s?s@host/x")
    with pytest.raises(NotebookUnreadable) as caught:
        read_notebook(SIGNED)
    assert "secret" not in str(caught.value)


def test_a_password_is_hidden_however_storage_quotes_it(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> bytes:
        raise PermissionError("no p%40ss for ada, nor p@ss, nor ada:p@ss@bucket")

    monkeypatch.setattr(memory, "cat_file", refuse)
    with pytest.raises(NotebookUnreadable, match=r": no \*\*\* for ada, nor \*\*\*, nor bucket\.$"):
        read_notebook("memory://ada:p%40ss@bucket/a.ipynb")


@pytest.mark.parametrize("name", ["nothing://bucket/a.ipynb", "nothing::memory://a.ipynb"])
def test_storage_that_nobody_knows_is_told_as_fsspec_tells_it(name: str) -> None:
    with pytest.raises(NotebookUnreadable, match=r"cannot be read: .*[Pp]rotocol"):
        read_notebook(name)
    with pytest.raises(NotebookUnwritable, match=r"cannot be written: .*[Pp]rotocol"):
        sink_for(name)


def test_without_fsspec_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(NotebookUnreadable, match=r"not installed: pip install fsspec"):
        read_notebook("s3://bucket/a.ipynb")
    with pytest.raises(NotebookUnwritable, match=r"not installed: pip install fsspec"):
        sink_for("s3://bucket/a.ipynb")


# -- notebooks that are text -----------------------------------------------------------------------


def test_a_script_is_a_notebook_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(SCRIPT)
    data = read_notebook(str(path))
    assert data == read_notebook(str(path))
    source = read(data)
    assert ["cell-1", "cell-2"] == [cell["id"] for cell in source.notebook["cells"]]
    assert ["parameters"] == source.notebook["cells"][0]["metadata"]["tags"]
    assert "python" == source.wish.language


def test_a_text_names_its_kernel_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(
        "---\njupyter:\n  kernelspec:\n    name: ir\n    display_name: R\n    language: R\n---\n"
        "# Text\n\n```r\n1 + 1\n```\n"
    )
    wish = read(read_notebook(str(path))).wish
    assert ("ir", "R") == (wish.name, wish.language)


def test_a_notebook_is_one_whatever_its_name(tmp_path: Path) -> None:
    for name in ("a.py", "a.txt"):
        (tmp_path / name).write_text(json.dumps({"nbformat": 4}))
        assert {"nbformat": 4} == json.loads(read_notebook(str(tmp_path / name)))


def test_a_text_that_jupytext_cannot_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xff")
    with pytest.raises(NotebookUnreadable, match=r"a\.py cannot be read: .*utf-8"):
        read_notebook(str(tmp_path / "a.py"))


def test_without_jupytext_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.qmd").write_text("text")
    monkeypatch.setitem(sys.modules, "jupytext", None)
    with pytest.raises(NotebookUnreadable, match=r"a\.qmd is a notebook as text.*pip install"):
        read_notebook(str(tmp_path / "a.qmd"))
