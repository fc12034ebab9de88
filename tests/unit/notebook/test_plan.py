"""`notebook/plan.py`: which cells are steps, and what their tags mean."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_gateway.notebook.plan import PlanOptions, code_cells, plan
from kernel_gateway.runs.plan import Limits, Mode, StepPlan


def cell(source: str = "1", kind: str = "code", **metadata: Any) -> dict[str, Any]:
    return {"cell_type": kind, "id": f"id-{source}", "source": source, "metadata": metadata}


def steps(*cells: dict[str, Any], **options: Any) -> tuple[StepPlan, ...]:
    return plan({"cells": list(cells)}, PlanOptions(**options)).steps


def test_each_code_cell_is_a_step_named_by_its_id() -> None:
    expected = (StepPlan(code="a", name="id-a"), StepPlan(code="b", name="id-b"))
    assert expected == steps(cell("a"), cell("b"))


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_other_cells_are_no_steps(kind: str) -> None:
    cells = [cell("text", kind), cell("a"), cell("more", kind)]
    assert ["a"] == [step.code for step in steps(*cells)]
    assert [cells[1]] == code_cells({"cells": cells})


def test_an_empty_code_cell_is_a_step() -> None:
    assert ["", "  \n"] == [step.code for step in steps(cell(""), cell("  \n"))]


def test_a_notebook_without_code_has_no_steps() -> None:
    assert not steps(cell("text", "markdown"))


def test_a_tag_skips_a_cell() -> None:
    first, second = steps(cell(tags=["other", "skip-execution"]), cell(tags=["other"]))
    assert (True, False) == (first.skip, second.skip)


def test_a_tag_allows_an_error() -> None:
    first, second = steps(cell(tags=["raises-exception"]), cell())
    assert (True, False) == (first.allow_error, second.allow_error)


def test_an_option_allows_errors_everywhere() -> None:
    assert all(step.allow_error for step in steps(cell(), cell(), allow_errors=True))


def test_nobody_answers_prompts_unless_somebody_does() -> None:
    assert plan({"cells": []}, PlanOptions()).allow_stdin is False
    assert plan({"cells": []}, PlanOptions(allow_stdin=True)).allow_stdin


def test_limits_are_those_of_the_options() -> None:
    limits = Limits(step=1.0, run=2.0)
    made = plan({"cells": []}, PlanOptions(limits=limits))
    assert (Mode.NOTEBOOK, limits) == (made.mode, made.limits)
