"""What of a notebook is executed: one step a code cell, in the order of the page.

Knows notebooks as nbformat 4 dictionaries, and the tags that mean something. Must not know files,
kernels or services: a plan is decided before anything starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import InvalidField, NotebookUnreadable
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

SKIP_TAG = "skip-execution"
ERROR_TAG = "raises-exception"
ALWAYS_TAG = "always"  # to clean up
LIMIT_TAG = "timeout="  # and seconds
LONGEST_S = 10.0**9  # 31 years
#: Selected or not, they are executed: others are written for what these define.
PARAMETER_TAGS = frozenset({"parameters", "injected-parameters"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    allow_errors: bool = False  # in every cell, as if each were tagged
    allow_stdin: bool = False  # nobody is there to answer: a cell that asks fails at once
    limits: Limits = field(default_factory=Limits)
    skip_tag: str = SKIP_TAG  # of cells that are left out
    # What is selected; the rest is left out.
    from_: str | None = None  # a tag or cell ID: from the first cell on that has it, of any kind
    until: str | None = None  # ... and to the last one
    only: tuple[str, ...] = ()  # tags, of which a cell must have one


def plan(notebook: Mapping[str, Any], options: PlanOptions) -> RunPlan:
    """Markdown and raw cells are no steps; an empty code cell is one, and ok at once.

    Raises `NotebookUnreadable` for a limit that is none, and `InvalidField` for a selection that
    does not fit the notebook.
    """
    selected = _selected(notebook["cells"], options)
    return RunPlan(
        mode=Mode.NOTEBOOK,
        steps=tuple(
            _step(cell, options, skip=cell["id"] not in selected) for cell in code_cells(notebook)
        ),
        allow_stdin=options.allow_stdin,
        limits=_limits(notebook, options.limits),
    )


def code_cells(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells that are steps: the index of a step is its place in this list."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _step(cell: Mapping[str, Any], options: PlanOptions, *, skip: bool) -> StepPlan:
    tags = _tags(cell)
    return StepPlan(
        code=cell["source"],
        name=cell["id"],
        allow_error=options.allow_errors or ERROR_TAG in tags,
        skip=options.skip_tag in tags or (skip and PARAMETER_TAGS.isdisjoint(tags)),
        always=ALWAYS_TAG in tags,
        limit=_limit(cell),
    )


def _tags(cell: Mapping[str, Any]) -> Sequence[str]:
    tags: Sequence[str] = cell["metadata"].get("tags", ())
    return tags


# -- what is selected ------------------------------------------------------------------------------


def _selected(cells: Sequence[Mapping[str, Any]], options: PlanOptions) -> Collection[str]:
    """IDs. All faults at once."""
    begin, end = _places(cells, options.from_), _places(cells, options.until)
    code_tags = {tag for cell in cells if cell["cell_type"] == "code" for tag in _tags(cell)}
    faults: dict[str, str] = {}
    if not begin:
        faults["from"] = f"no cell has the tag or ID {options.from_!r}"
    if not end:
        faults["until"] = f"no cell has the tag or ID {options.until!r}"
    if unknown := [repr(tag) for tag in options.only if tag not in code_tags]:
        faults["only"] = f"no code cell has the tag {' or '.join(unknown)}"
    if not faults and begin[0] > end[-1]:
        faults["until"] = f"{options.until!r} is above {options.from_!r}"
    if faults:
        raise InvalidField(faults)
    between = cells[begin[0] : end[-1] + 1]
    wanted = set(options.only)
    return {cell["id"] for cell in between if not wanted or wanted.intersection(_tags(cell))}


def _places(cells: Sequence[Mapping[str, Any]], name: str | None) -> Sequence[int]:
    """Of the cells that have it as a tag or ID; of all when none is named."""
    if name is None:
        return range(len(cells)) or [0]
    return [at for at, cell in enumerate(cells) if name == cell["id"] or name in _tags(cell)]


# -- limits ----------------------------------------------------------------------------------------


def _limits(notebook: Mapping[str, Any], asked: Limits) -> Limits:
    """What somebody asks for is before what the notebook says, as Jupyter Book has it."""
    said = notebook["metadata"].get("execution")
    limit = said.get("timeout") if isinstance(said, dict) else None
    if limit is None or asked.step is not None or limit == -1:  # its way to say that there is none
        return asked
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not _is_limit(limit):
        raise NotebookUnreadable(
            f"Its metadata says execution.timeout is {limit!r}, and not a number of seconds."
        )
    return replace(asked, step=float(limit))


def _limit(cell: Mapping[str, Any]) -> float | None:
    """The shortest, should there be several."""
    limits = [_seconds(cell, tag) for tag in _tags(cell) if tag.startswith(LIMIT_TAG)]
    return min(limits, default=None)


def _seconds(cell: Mapping[str, Any], tag: str) -> float:
    try:
        seconds = float(tag.removeprefix(LIMIT_TAG))
    except ValueError:
        seconds = math.nan
    if not _is_limit(seconds):
        raise NotebookUnreadable(
            f"The tag {tag!r} of the cell {cell['id']!r} must give a number of seconds above 0, "
            f"as {LIMIT_TAG}30 does."
        )
    return seconds


def _is_limit(seconds: float) -> bool:
    return 0 < seconds <= LONGEST_S
