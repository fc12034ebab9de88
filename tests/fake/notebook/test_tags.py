"""What the tags of cells mean while a notebook runs, from the page to the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernel_gateway.notebook.plan import PlanOptions
from tests.fake.notebook.conftest import code

if TYPE_CHECKING:
    from kernel_gateway.notebook.runner import NotebookResult
    from tests.fake.notebook.conftest import Bench


def end(result: NotebookResult) -> tuple[str, str]:
    return (result.outcome.value, result.reason.code)


def states(result: NotebookResult) -> list[str]:
    return [step.state.value for step in result.steps]


def texts(bench: Bench, source: str) -> list[str]:
    """Of the cell with this source."""
    cells = [cell for cell in bench.shelf.last["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    return bench.shelf.texts(sources.index(source))


async def test_behind_an_error_the_cells_that_clean_up_are_executed(bench: Bench) -> None:
    result = await bench.run("raise E e", "print b", code("print clean", "always"), "print d")
    assert ("error", "exception") == end(result)
    assert ["error", "not-run", "ok", "not-run"] == states(result)
    assert ["clean\n"] == texts(bench, "print clean")
    assert "E: e" == result.reason.message


@pytest.mark.parametrize("by", ["tag", "metadata"])
async def test_behind_a_limit_of_a_cell_too(bench: Bench, by: str) -> None:
    tags = ["timeout=0.05"] if by == "tag" else []
    metadata = {"execution": {"timeout": 0.05}} if by == "metadata" else {}
    cells = code("print a\nsleep", *tags), code("print b"), code("print clean", "always")
    result = await bench.run(*cells, metadata=metadata)
    assert ("timeout", "step_limit") == end(result)
    assert ["timed-out", "not-run", "ok"] == states(result)
    assert "The step limit of 0.05 s was reached.\n" == texts(bench, "print a\nsleep")[-1]
    assert ["clean\n"] == texts(bench, "print clean")
    assert 0.05 == result.reason.limit


async def test_what_is_not_selected_is_skipped_and_empty(bench: Bench) -> None:
    cells = code("print a", "slow"), code("print p", "parameters"), code("print b", "model")
    result = await bench.run(*cells, options=PlanOptions(only=("model",)))
    assert ("ok", "done") == end(result)
    assert ["skipped", "ok", "ok"] == states(result)
    assert [] == texts(bench, "print a")
