"""What of a notebook is executed: one step a code cell, in the order of the page.

Knows notebooks as nbformat 4 dictionaries, and the tags that mean something. Must not know files,
kernels or services: a plan is decided before anything starts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

SKIP_TAG = "skip-execution"
ERROR_TAG = "raises-exception"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    allow_errors: bool = False  # in every cell, as if each were tagged
    allow_stdin: bool = False  # nobody is there to answer: a cell that asks fails at once
    limits: Limits = field(default_factory=Limits)


def plan(notebook: Mapping[str, Any], options: PlanOptions) -> RunPlan:
    """Markdown and raw cells are no steps; an empty code cell is one, and ok at once."""
    return RunPlan(
        mode=Mode.NOTEBOOK,
        steps=tuple(_step(cell, options) for cell in code_cells(notebook)),
        allow_stdin=options.allow_stdin,
        limits=options.limits,
    )


def code_cells(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells that are steps: the index of a step is its place in this list."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _step(cell: Mapping[str, Any], options: PlanOptions) -> StepPlan:
    tags = cell["metadata"].get("tags", ())
    return StepPlan(
        code=cell["source"],
        name=cell["id"],
        allow_error=options.allow_errors or ERROR_TAG in tags,
        skip=SKIP_TAG in tags,
    )
