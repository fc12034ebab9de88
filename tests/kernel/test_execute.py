"""`kernel_gateway.execute` in a program: within its loop, with its files, on real kernels."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

import kernel_gateway.execute
from kernel_gateway.errors import (
    KernelSpecNotFound,
    KernelStartFailed,
    NotebookUnreadable,
    NotebookUnwritable,
    Refused,
)
from kernel_gateway.execute import NotebookFailed, execute_notebook

if TYPE_CHECKING:
    from nbformat import NotebookNode

PARAMETERS = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "x = 1"}


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a program that nobody has configured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERNEL_GATEWAY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path


def notebook(*cells: str | dict[str, Any]) -> NotebookNode:
    whole = [
        {"cell_type": "code", "metadata": {}, "source": cell} if isinstance(cell, str) else cell
        for cell in cells
    ]
    rest: dict[str, Any] = {"id": "", "outputs": [], "execution_count": None}
    page = [{**rest, **cell, "id": f"c{number}"} for number, cell in enumerate(whole)]
    node: NotebookNode = nbformat.from_dict(  # type: ignore[no-untyped-call]
        {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": page}
    )
    return node


def statuses(cells: Any) -> list[str]:
    return [cell["metadata"]["papermill"]["status"] for cell in cells]


def test_parameters_are_values_of_json(in_folder: Path) -> None:
    values: dict[str, Any] = {"x": (1, {2: None})}
    node = execute_notebook(
        notebook(PARAMETERS, "print(x)"), None, parameters=values, progress_bar=False
    )
    assert {"x": [1, {"2": None}]} == node["metadata"]["papermill"]["parameters"]
    for value in (Path("a"), b"a", {1}, 1j):
        with pytest.raises(TypeError, match="The parameter 'x' is no value of JSON: Object of"):
            execute_notebook("none.ipynb", "out.ipynb", parameters={"x": value})  # type: ignore[dict-item]
    assert not (in_folder / "out.ipynb").exists()


def test_its_names_are_these() -> None:
    assert ["NotebookFailed", "execute_notebook"] == kernel_gateway.execute.__all__


async def test_it_works_in_a_running_loop_and_leaves_the_program_as_it_was(
    in_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kernel_gateway.execute")
    (in_folder / "here").mkdir()
    nbformat.write(notebook(PARAMETERS, "import os; print(x, os.getcwd())"), "in.ipynb")  # type: ignore[no-untyped-call]
    before = sys.getswitchinterval(), gc.get_threshold()
    said = io.StringIO()
    found = execute_notebook(
        Path("in.ipynb"),
        "out-{x}.ipynb",
        parameters={"x": 2, "y": 3},
        stdout_file=said,
        cwd="here",
        progress_bar=False,
        report_mode=True,
    )
    assert f"2 {in_folder / 'here'}\n" == said.getvalue()
    assert before == (sys.getswitchinterval(), gc.get_threshold())
    assert found == nbformat.read("out-2.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    told = found.metadata.papermill
    assert ("in.ipynb", "out-2.ipynb") == (told.input_path, told.output_path)
    assert {"x": 2, "y": 3} == told.parameters
    assert [True, True, True] == [cell.metadata.jupyter.source_hidden for cell in found.cells]
    assert "Passed unknown parameter: y" in caplog.messages
    assert "Output Notebook: out-2.ipynb" in caplog.messages


def test_a_cell_that_fails_is_raised_and_the_output_is_complete() -> None:
    cells = ["'fine'", "1 / 0", "'never'"]
    with pytest.raises(NotebookFailed) as caught:
        execute_notebook(notebook(*cells), "out.ipynb", progress_bar=False)
    failed = caught.value
    assert (1, 2, "ZeroDivisionError") == (failed.cell_index, failed.exec_count, failed.ename)
    banner, *page = json.loads(Path("out.ipynb").read_text())["cells"]
    assert ["papermill-error-cell-tag"] == banner["metadata"]["tags"]
    code = [cell for cell in page if cell["cell_type"] == "code"]
    assert ["completed", "failed", "pending"] == statuses(code)


def test_ctrl_c_interrupts_the_cell_and_goes_on_when_the_output_is_complete() -> None:
    class Pressing(io.StringIO):
        def write(self, text: str) -> int:
            os.kill(os.getpid(), signal.SIGINT)
            return super().write(text)

    cells = ["import time; print('begun', flush=True); time.sleep(600)", "'never'"]
    with pytest.raises(KeyboardInterrupt):
        execute_notebook(
            notebook(*cells),
            "out.ipynb",
            progress_bar=False,
            stdout_file=Pressing(),
            request_save_on_cell_execute=False,
        )
    found = json.loads(Path("out.ipynb").read_text())
    told = found["metadata"]["kernel_gateway"]["run"]
    assert ("cancelled", "interrupted") == (told["outcome"], told["reason"]["message"])
    assert ["failed", "pending"] == statuses(found["cells"])


def test_preparing_executes_nothing(in_folder: Path) -> None:
    found = execute_notebook(
        notebook(PARAMETERS, "open('made', 'w')"), "out.ipynb", {"x": 2}, prepare_only=True
    )
    assert ["x = 1", "# Parameters\nx = 2\n", "open('made', 'w')"] == [
        cell.source for cell in found.cells
    ]
    assert {"x": 2} == found.metadata.papermill.parameters
    assert ["pending"] * 3 == statuses(found.cells)
    assert "python3" == found.metadata.kernelspec.name
    assert ["data", "out.ipynb"] == sorted(os.listdir(in_folder))


def test_settings_are_found_where_the_commands_find_them(in_folder: Path) -> None:
    spec = in_folder / "specs" / "broken"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        json.dumps({"argv": ["false"], "display_name": "Broken", "language": "broken"})
    )
    config = {"Kernels": {"spec_folders": [str(spec.parent)]}}
    (in_folder / "kernel_gateway_config.json").write_text(json.dumps(config))
    with pytest.raises(KernelStartFailed):
        execute_notebook(notebook("1"), None, language="broken", progress_bar=False)


def test_a_configuration_that_makes_no_sense_is_told(in_folder: Path) -> None:
    (in_folder / "kernel_gateway_config.py").write_text("c.Runs.start_limit_s = 'soon'")
    with pytest.raises(Refused, match="start_limit_s"):
        execute_notebook(notebook("1"), None)


def test_what_cannot_be_run_or_written_is_told_before_anything_starts(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KernelSpecNotFound, match="no kernel 'gone'"):
        execute_notebook(notebook("1"), None, kernel_name="gone", progress_bar=False)
    with pytest.raises(NotebookUnreadable):
        execute_notebook("gone.ipynb", None)
    with pytest.raises(NotebookUnwritable):
        execute_notebook(notebook("1"), "gone/out.ipynb")
    in_folder.joinpath("file").touch()
    monkeypatch.setenv("KERNEL_GATEWAY_DATA_DIR", str(in_folder / "file/data"))
    with pytest.raises(Refused, match=r"file\S* cannot be made"):
        execute_notebook(notebook("1"), None)
    with pytest.raises(ValueError, match="no engine 'other'"):
        execute_notebook(notebook("1"), None, engine_name="other")
