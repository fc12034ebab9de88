"""papermill beside us: the same notebook by both, and our engine below papermill.

papermill's packages are those of `.clients/jupyter`; they are found behind our own, as if it had
been installed where we are.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.e2e.commands import LIMIT_S, ROOT, environment

DRIVER = Path(__file__).with_name("driver.py")
(PEERS,) = (ROOT / ".clients/jupyter/lib").glob("python*/site-packages")
BESIDE = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_path(sys.argv[1])"

CELLS = {
    "parameters": "x = 1",
    "text": "# A title",
    "streams": "import sys; print('out', x); print('err', file=sys.stderr)",
    "value": "{'x': x}",
    "shown": "display({'text/html': '<b>x</b>', 'text/plain': 'x'}, raw=True)",
    "last": "'last'",
}


def written(path: Path, cells: dict[str, str]) -> None:
    page = []
    for name, source in cells.items():
        kind = "markdown" if name == "text" else "code"
        cell: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": {}, "source": source}
        if kind == "code":
            cell |= {"outputs": [], "execution_count": None, "metadata": {"tags": [name]}}
        page.append(cell)
    spec = {"name": "python3", "display_name": "Python", "language": "python"}
    metadata = {"kernelspec": spec, "language_info": {"name": "python"}}
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": page}
    path.write_text(json.dumps(whole))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papermill")
    written(folder / "ok.ipynb", CELLS)
    dying = {"a": "print('here')", "b": "import os; os._exit(0)", "c": "'never'"}
    written(folder / "dying.ipynb", dying)
    written(folder / "failing.ipynb", {"a": "'fine'", "b": "1 / 0", "text": "text", "c": "'never'"})
    return folder


@pytest.fixture(scope="module")
def raised(folder: Path) -> Any:
    """By all of them, once for this module."""
    done = subprocess.run(
        [sys.executable, "-c", BESIDE, str(PEERS), str(DRIVER), str(folder)],
        cwd=folder,
        env=environment(folder) | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def by(folder: Path, raised: Any) -> Any:
    """What somebody made of a notebook."""

    def read(notebook: str, who: str) -> Any:
        found = nbformat.read(folder / f"{notebook}.{who}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(found)
        return found

    return read


def of_papermill(node: Any, name: str) -> Any:
    return node.metadata.get("papermill", {}).get(name)


@pytest.mark.parametrize("who", ["ours", "engine"])
def test_the_outputs_are_the_same(by: Any, who: str) -> None:
    theirs, found = by("ok", "papermill"), by("ok", who)
    assert [cell.source for cell in theirs.cells] == [cell.source for cell in found.cells]
    for expected, cell in zip(theirs.cells, found.cells, strict=True):
        assert expected.get("outputs") == cell.get("outputs")
        assert expected.get("execution_count") == cell.get("execution_count")


@pytest.mark.parametrize("notebook", ["ok", "failing"])
@pytest.mark.parametrize("who", ["ours", "engine"])
def test_the_metadata_has_the_same_fields(by: Any, notebook: str, who: str) -> None:
    theirs, found = by(notebook, "papermill"), by(notebook, who)
    assert set(theirs.metadata.papermill) == set(found.metadata.papermill)
    for name in ("parameters", "exception", "default_parameters", "environment_variables"):
        assert theirs.metadata.papermill[name] == found.metadata.papermill[name]
    for expected, cell in zip(theirs.cells, found.cells, strict=True):
        fields = expected.metadata.get("papermill", {})
        assert set(fields) == set(cell.metadata.get("papermill", {}))
        for name in ("status", "exception"):
            assert fields.get(name) == of_papermill(cell, name)


@pytest.mark.parametrize("who", ["ours", "engine"])
def test_the_error_banner_is_where_papermill_has_it(by: Any, who: str) -> None:
    theirs, found = by("failing", "papermill"), by("failing", who)
    tags = [cell.metadata.get("tags", []) for cell in theirs.cells]
    ours = [cell.metadata.get("tags", []) for cell in found.cells]
    marked = ["papermill-error-cell-tag"]
    assert [one == marked for one in tags] == [one == marked for one in ours]
    assert theirs.cells[0].source == found.cells[0].source


def test_who_catches_papermills_error_catches_ours_and_reads_the_same(raised: Any) -> None:
    assert {} == raised["ok"]
    assert raised["failing"]["papermill"] == raised["failing"]["ours"]
    assert raised["failing"]["papermill"] == raised["failing"]["engine"]


def test_a_kernel_that_dies_is_told_by_each_in_its_own_way(raised: Any) -> None:
    place, count, ename, _ = raised["dying"]["ours"]
    assert (1, None, "kernel_died") == (place, count, ename)
    assert "DeadKernelError" == raised["dying"]["engine"]  # the command exits with 138 for it


@pytest.mark.parametrize("who", ["ours", "engine"])
def test_a_kernel_that_dies_leaves_the_truth(by: Any, who: str) -> None:
    page = by("dying", who).cells
    code = [cell for cell in page if cell.cell_type == "code"]
    assert ["completed", "failed", "pending"] == [of_papermill(cell, "status") for cell in code]
    assert "here\n" == code[0].outputs[0].text
    assert ">The kernel died at " in page[0].source
