"""`notebook/plan.py`: which cells are steps, which of them are selected, what their tags mean."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_gateway.errors import InvalidField, NotebookUnreadable
from kernel_gateway.notebook.plan import PlanOptions, code_cells, plan
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan


def cell(source: str = "1", kind: str = "code", **metadata: Any) -> dict[str, Any]:
    return {"cell_type": kind, "id": f"id-{source}", "source": source, "metadata": metadata}


def tagged(source: str, *tags: str, kind: str = "code") -> dict[str, Any]:
    return cell(source, kind, tags=list(tags))


def planned(*cells: dict[str, Any], execution: Any = None, **options: Any) -> RunPlan:
    metadata = {} if execution is None else {"execution": execution}
    return plan({"cells": list(cells), "metadata": metadata}, PlanOptions(**options))


def steps(*cells: dict[str, Any], **options: Any) -> tuple[StepPlan, ...]:
    return planned(*cells, **options).steps


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
    assert () == steps(cell("text", "markdown"))
    assert () == steps()


def test_a_tag_skips_a_cell() -> None:
    first, second = steps(tagged("a", "other", "skip-execution"), tagged("b", "other"))
    assert (True, False) == (first.skip, second.skip)


def test_the_tag_that_skips_a_cell_may_be_another_one() -> None:
    first, second = steps(tagged("a", "skip-execution"), tagged("b", "slow"), skip_tag="slow")
    assert (False, True) == (first.skip, second.skip)


def test_a_tag_allows_an_error() -> None:
    first, second = steps(tagged("a", "raises-exception"), cell("b"))
    assert (True, False) == (first.allow_error, second.allow_error)


def test_an_option_allows_errors_everywhere() -> None:
    assert all(step.allow_error for step in steps(cell(), cell(), allow_errors=True))


def test_a_tag_makes_a_cell_one_that_cleans_up() -> None:
    first, second = steps(tagged("a", "always"), cell("b"))
    assert (True, False) == (first.always, second.always)


def test_nobody_answers_prompts_unless_somebody_does() -> None:
    assert planned().allow_stdin is False
    assert planned(allow_stdin=True).allow_stdin


# -- limits ---------------------------------------------------------------------------------------


def test_limits_are_those_of_the_options() -> None:
    limits = Limits(step=1.0, run=2.0)
    made = planned(limits=limits)
    assert (Mode.NOTEBOOK, limits) == (made.mode, made.limits)


def test_a_tag_gives_a_cell_a_limit_of_its_own() -> None:
    made = steps(
        tagged("a", "timeout=30"),
        tagged("b", "timeout=0.5", "other"),
        tagged("c", "timeout", "my-timeout=9"),
        cell("d"),
    )
    assert [30.0, 0.5, None, None] == [step.limit for step in made]


def test_the_shortest_of_several_limits_of_a_cell_counts() -> None:
    (step,) = steps(tagged("a", "timeout=30", "timeout=20", "timeout=40"))
    assert 20.0 == step.limit


@pytest.mark.parametrize("seconds", ["", "soon", "0", "-1", "nan", "inf"])
def test_a_tag_that_gives_no_limit_is_an_error_that_names_its_cell(seconds: str) -> None:
    with pytest.raises(NotebookUnreadable) as caught:
        steps(cell("a"), tagged("b", f"timeout={seconds}"))
    assert (
        f"The tag 'timeout={seconds}' of the cell 'id-b' must give a number of seconds above 0, "
        "as timeout=30 does."
    ) == caught.value.message


def test_a_notebook_may_bring_the_limit_of_its_cells() -> None:
    made = planned(cell(), execution={"timeout": 30}, limits=Limits(run=99.0))
    assert Limits(step=30.0, run=99.0) == made.limits


def test_the_limit_of_an_option_is_before_that_of_the_notebook() -> None:
    made = planned(cell(), execution={"timeout": "nonsense"}, limits=Limits(step=5.0))
    assert 5.0 == made.limits.step


@pytest.mark.parametrize("execution", [{"timeout": -1}, {"timeout": None}, {}, "fast", []])
def test_a_notebook_may_say_that_there_is_no_limit_or_nothing(execution: Any) -> None:
    assert None is planned(cell(), execution=execution).limits.step


@pytest.mark.parametrize("limit", [0, -2, "30", True, [1], float("nan"), 10**400])
def test_a_limit_of_a_notebook_that_is_none_is_an_error(limit: Any) -> None:
    with pytest.raises(NotebookUnreadable, match=r"^Its metadata says execution\.timeout is "):
        planned(cell(), execution={"timeout": limit})


# -- a selection ----------------------------------------------------------------------------------

PAGE = (
    tagged("title", "intro", kind="markdown"),
    tagged("defaults", "parameters"),
    tagged("given", "injected-parameters"),
    tagged("load", "data"),
    tagged("clean", "data", "slow"),
    tagged("heading", "model", kind="markdown"),
    tagged("fit", "slow"),
    tagged("plot", "figures"),
)


def selected(**options: Any) -> list[str]:
    return [step.code for step in steps(*PAGE, **options) if not step.skip]


def test_without_a_selection_all_is_executed() -> None:
    assert ["defaults", "given", "load", "clean", "fit", "plot"] == selected()


def test_cells_are_executed_until_the_last_one_with_a_tag() -> None:
    assert ["defaults", "given", "load", "clean"] == selected(until="data")


def test_cells_are_executed_from_the_first_one_with_a_tag() -> None:
    assert ["defaults", "given", "load", "clean", "fit", "plot"] == selected(from_="data")
    assert ["defaults", "given", "fit", "plot"] == selected(from_="model")


def test_both_ends_may_be_cell_ids() -> None:
    assert ["defaults", "given", "clean", "fit"] == selected(from_="id-clean", until="id-fit")
    assert ["defaults", "given", "fit"] == selected(from_="id-fit", until="id-fit")


def test_only_cells_with_one_of_the_tags_are_executed() -> None:
    assert ["defaults", "given", "clean", "fit"] == selected(only=("slow",))
    assert ["defaults", "given", "clean", "fit", "plot"] == selected(only=("slow", "figures"))


def test_what_is_selected_is_so_by_all_options() -> None:
    assert ["defaults", "given", "fit"] == selected(only=("slow",), from_="model")


def test_parameters_are_executed_unless_their_cell_is_skipped_by_its_tag() -> None:
    skipped = tagged("p", "parameters", "skip-execution")
    first, second = steps(skipped, tagged("b", "x"), only=("x",))
    assert (True, False) == (first.skip, second.skip)


def test_what_is_left_out_is_skipped_also_when_it_cleans_up() -> None:
    first, second = steps(cell("a"), tagged("b", "always"), until="id-a")
    assert (False, True) == (first.skip, second.skip)


@pytest.mark.parametrize(
    ("options", "faults"),
    [
        ({"from_": "x"}, {"from": "no cell has the tag or ID 'x'"}),
        ({"until": "x"}, {"until": "no cell has the tag or ID 'x'"}),
        ({"only": ("data", "x", "y")}, {"only": "no code cell has the tag 'x' or 'y'"}),
        ({"only": ("intro",)}, {"only": "no code cell has the tag 'intro'"}),
        ({"from_": "slow", "until": "id-load"}, {"until": "'id-load' is above 'slow'"}),
        (
            {"from_": "x", "until": "y", "only": ("z",)},
            {
                "from": "no cell has the tag or ID 'x'",
                "until": "no cell has the tag or ID 'y'",
                "only": "no code cell has the tag 'z'",
            },
        ),
    ],
)
def test_a_selection_that_does_not_fit_the_notebook_is_an_error_that_says_all(
    options: dict[str, Any], faults: dict[str, str]
) -> None:
    with pytest.raises(InvalidField) as caught:
        selected(**options)
    assert faults == caught.value.fields
