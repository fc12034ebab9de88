"""Writes `docs/reference/run-states.md` from the tables of `kernel_gateway/runs/state.py`.

    python -m tests.docs.make_state_diagram

A test compares the file with what this would write, so the page cannot say what the code does not.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kernel_gateway.runs import state
from kernel_gateway.runs.state import (
    RUN_TABLE,
    STEP_TABLE,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "run-states.md"

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

HEAD = """\
# The states of a run

<!-- Made by tests/docs/make_state_diagram.py out of kernel_gateway/runs/state.py. -->

What is told of a run (its `state`, its `outcome`) is in the reference of the runs resource. This
page is for whoever wants to know why a run is where it is: both tables that decide it, and their
theory.
"""
TABLE_NOTE = """\
A row is a state, a column an event, a cell the state that follows. `-` cannot happen: such an event
is refused as a bug of the gateway (`ImpossibleTransition`), and the state stays as it was.
"""
DIAGRAM_NOTE = "Events that leave the state as it is are in the table alone.\n"


def page() -> str:
    theory = _theory()
    return "\n".join(
        [
            HEAD,
            theory[""],
            "## The run",
            "",
            theory["The run table"],
            _diagram(RUN_TABLE, first=RunState.QUEUED, last={RunState.FINISHED}),
            DIAGRAM_NOTE,
            TABLE_NOTE,
            _table(RUN_TABLE, RunState, RunEvent),
            "## One step of it",
            "",
            theory["The step table"],
            _diagram(STEP_TABLE, first=StepState.PENDING, last=state.STEP_OVER),
            DIAGRAM_NOTE,
            _table(STEP_TABLE, StepState, StepEvent),
        ]
    )


def _theory() -> dict[str, str]:
    """The prose of the module, by heading: what stands under `Theory of operation` has none."""
    assert state.__doc__ is not None
    lines = state.__doc__.splitlines()
    parts: dict[str, list[str]] = {"": []}
    heading = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if following and not following.strip("=-"):
            heading = "" if following.startswith("=") else line
            parts[heading] = []
        elif line.strip("=-") or not line:
            parts[heading].append(line)
    return {name: _markdown("\n".join(part).strip("\n")) + "\n" for name, part in parts.items()}


def _markdown(text: str) -> str:
    """An indented block is a drawing: fenced, and not a paragraph."""
    blocks = [
        f"```text\n{_dedented(block)}\n```" if block.startswith("    ") else block
        for block in text.split("\n\n")
    ]
    return "\n\n".join(blocks)


def _dedented(block: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in block.splitlines())


def _diagram(table: Mapping[S, Mapping[E, S]], *, first: S, last: set[S] | frozenset[S]) -> str:
    arrows: dict[tuple[S, S], list[str]] = {}
    for before, row in table.items():
        for event, after in row.items():
            if after is not before:
                arrows.setdefault((before, after), []).append(event.value)
    return "\n".join(
        [
            "```mermaid",
            "stateDiagram-v2",
            *(f'    state "{state_.value}" as {state_.name}' for state_ in table),
            f"    [*] --> {first.name}",
            *(
                f"    {before.name} --> {after.name}: {' / '.join(events)}"
                for (before, after), events in arrows.items()
            ),
            *(f"    {state_.name} --> [*]" for state_ in table if state_ in last),
            "```",
            "",
        ]
    )


def _table(table: Mapping[S, Mapping[E, S]], states: type[S], events: type[E]) -> str:
    def cells(before: S) -> str:
        row = table[before]
        return " | ".join(row[event].value if event in row else "-" for event in events)

    return "\n".join(
        [
            f"| state | {' | '.join(event.value for event in events)} |",
            f"|---|{'---|' * len(events)}",
            *(f"| **{before.value}** | {cells(before)} |" for before in states),
            "",
        ]
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
