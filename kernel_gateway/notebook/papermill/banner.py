"""The two cells that lead a reader to the one that failed: at the top, and right above it.

Knows notebooks and the states of steps. Has papermill's tag, link and looks, so that its users and
their tools find them; its words only where they are true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel_gateway.notebook.plan import code_cells
from kernel_gateway.runs.view import StepOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from kernel_gateway.runs.view import StepView

TAG = "papermill-error-cell-tag"
ANCHOR = "papermill-error-cell"

_LOOKS = (
    'style="color:red; font-family:Helvetica Neue, Helvetica, Arial, sans-serif; font-size:2em;"'
)
#: What is said at the top, and right above the cell.
_WORDS: Mapping[StepOutcome, tuple[str, str]] = {
    StepOutcome.ERROR: (
        "An Exception was encountered",
        "Execution encountered an exception here and stopped:",
    ),
    StepOutcome.TIMED_OUT: (
        "A time limit struck",
        "A time limit struck here and the execution stopped:",
    ),
    StepOutcome.DIED: (
        "The kernel died",
        "The kernel died here and the execution stopped:",
    ),
}


def with_banner(notebook: Mapping[str, Any], steps: Sequence[StepView]) -> Mapping[str, Any]:
    """The notebook to show, with the same cells; the same notebook when none of them failed."""
    failed = next((step for step in steps if step.state in _WORDS), None)
    if failed is None:
        return notebook
    head, above = _WORDS[failed.state]
    count = " " if failed.execution_count is None else failed.execution_count
    link = f"'<a href=\"#{ANCHOR}\">In [{count}]</a>'"
    taken = {cell["id"] for cell in notebook["cells"]}
    cells = list(notebook["cells"])
    failing = code_cells(notebook)[failed.index]
    place = next(index for index, cell in enumerate(cells) if cell is failing)
    anchor = f'<span id="{ANCHOR}" {_LOOKS}>{above}</span>'
    cells.insert(place, _cell(f"{ANCHOR}-above", taken, anchor))
    cells.insert(0, _cell(f"{ANCHOR}-banner", taken, f"<span {_LOOKS}>{head} at {link}.</span>"))
    return {**notebook, "cells": cells}


def remove_banner(notebook: MutableMapping[str, Any]) -> None:
    """That of an earlier run, papermill's or ours."""
    notebook["cells"] = [cell for cell in notebook["cells"] if not is_banner(cell)]


def is_banner(cell: Mapping[str, Any]) -> bool:
    return TAG in (cell.get("metadata", {}).get("tags") or ())


def _cell(wish: str, taken: set[str], source: str) -> dict[str, Any]:
    numbered = (f"{wish}-{number}" for number in range(2, len(taken) + 3))
    return {
        "cell_type": "markdown",
        "id": next(name for name in (wish, *numbered) if name not in taken),
        "metadata": {"tags": [TAG]},
        "source": source,
    }
