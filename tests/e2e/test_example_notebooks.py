"""`notebooks/`: the examples run as their text promises, and are kept as they should be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.e2e.commands import ROOT, run

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = sorted((ROOT / "notebooks").glob("*.ipynb"))


def ran(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """The code cells of the output, by their IDs."""
    output = folder / name
    process = run(folder, "run", str(ROOT / "notebooks" / name), str(output))
    assert process.returncode == 0, process.stderr
    cells = json.loads(output.read_text())["cells"]
    return {cell["id"]: cell for cell in cells if cell["cell_type"] == "code"}


def text(cell: dict[str, Any], stream: str = "stdout") -> str:
    return "".join("".join(o["text"]) for o in cell["outputs"] if o.get("name") == stream)


def state(cell: dict[str, Any]) -> str:
    found: str = cell["metadata"]["kernel_gateway"]["state"]
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_clean_notebook(path: Path) -> None:
    notebook = json.loads(path.read_text())
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_every_example_is_tested_here() -> None:
    assert [path.name for path in EXAMPLES] == ["hello.ipynb", "long_log.ipynb", "outputs.ipynb"]


def test_hello(tmp_path: Path) -> None:
    cells = ran(tmp_path, "hello.ipynb")
    assert text(cells["count"]) == "".join(f"line {n} of 5\n" for n in range(1, 6))
    (result,) = cells["squares"]["outputs"]
    assert result["data"]["text/plain"] == ["285"]
    assert "text/html" in cells["table"]["outputs"][0]["data"]
    assert "image/svg+xml" in cells["chart"]["outputs"][0]["data"]


def test_outputs(tmp_path: Path) -> None:
    cells = ran(tmp_path, "outputs.ipynb")
    assert text(cells["two-streams"]) == "a result goes to standard output\n"
    assert text(cells["two-streams"], "stderr") == "a warning goes to standard error\n"
    assert text(cells["progress-line"]) == "working: 100 %\ndone\n"
    (display,) = cells["first-display"]["outputs"]
    assert display["data"]["text/markdown"] == ["**done**"]
    assert text(cells["clear-output"]) == "round 3 of 3\n"
    assert state(cells["allowed-error"]) == "allowed-error"
    assert state(cells["skipped-cell"]) == "skipped"


def test_long_log(tmp_path: Path) -> None:
    cells = ran(tmp_path, "long_log.ipynb")
    lines = text(cells["lines"]).splitlines()
    assert [line.split(":")[0] for line in lines] == [f"line {n:05}" for n in range(50_000)]
    late = "".join(f"late line {n}\n" for n in range(5))
    assert text(cells["thread"]) == f"the cell is over, the thread is not\n{late}"
