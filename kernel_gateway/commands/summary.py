"""How notebook runs ended, for the person who waited: a line for one, a table for several. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.commands.table import aligned, harmless
from kernel_gateway.runs.view import Outcome, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.notebook.batch import Done
    from kernel_gateway.notebook.runner import NotebookResult

_UNWRITABLE = "not written"

#: Where an interrupt was not enough.
_ENDED = {"terminate": ", the kernel was terminated", "kill": ", the kernel was killed"}

#: Where the run came to its end.
_HIT = frozenset(
    {StepOutcome.ERROR, StepOutcome.TIMED_OUT, StepOutcome.CANCELLED, StepOutcome.DIED}
)


def summary(result: NotebookResult, duration_s: float, output: str, attempt: int = 1) -> str:
    """One line: how it ended and why, how long it took, where the output is."""
    why = "" if result.outcome is Outcome.OK else f" {reason(result)}"
    tries = "" if attempt == 1 else f", attempt {attempt}"
    took = f"{duration_s:.1f} s"
    return f"{result.outcome}:{why} {_cells(result)} in {took}{tries} -> {output}"


def reason(result: NotebookResult) -> str:
    """Of a bad end: in which cell, and why."""
    return f"{_where(result)}{_why(result)}"


def table(all_done: Sequence[Done]) -> list[str]:
    """A line each, and one for all."""
    head = ("OUTPUT", "OUTCOME", "CELLS", "TIME", "WHY")
    lines = aligned([head, *map(_row, all_done)])
    ok = sum(done.result is not None and done.result.outcome is Outcome.OK for done in all_done)
    return [*lines, f"{ok} of {len(all_done)} notebooks are ok."]


def _row(done: Done) -> tuple[str, ...]:
    name, took = harmless(done.order.name), f"{done.duration_s:.1f} s"
    if done.result is None:
        return name, _UNWRITABLE, "", took, harmless(str(done.fault))
    result = done.result
    good = sum(step.state is StepOutcome.OK for step in result.steps)
    why = "" if result.outcome is Outcome.OK else harmless(reason(result))
    tries = "" if done.attempt == 1 else f"(attempt {done.attempt})"
    cells = f"{good}/{len(result.steps)}"
    return name, result.outcome.value, cells, took, " ".join(filter(None, (why, tries)))


def _where(result: NotebookResult) -> str:
    hit = next((step.index + 1 for step in result.steps if step.state in _HIT), None)
    return f"cell {hit}: " if hit is not None else ""


def _why(result: NotebookResult) -> str:
    told = result.reason
    text = " ".join((told.message or told.code).split())
    ended = _ENDED.get(told.worked or "", "")
    return f"{text.rstrip('.')}{ended}."


def _cells(result: NotebookResult) -> str:
    """How many, and what became of them when not all are ok."""
    states = [step.state for step in result.steps]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    cells = f"{len(states)} cell{'' if len(states) == 1 else 's'}"
    return cells if set(states) <= {StepOutcome.OK} else f"{cells} ({counts})"
