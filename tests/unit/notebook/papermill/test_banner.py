"""`notebook/papermill/banner.py`: two cells that lead to the one that failed, and away again."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_gateway.notebook.papermill.banner import TAG, remove_banner, with_banner
from kernel_gateway.runs.view import StepOutcome, StepView


def page(*cells: tuple[str, str]) -> dict[str, Any]:
    """Kind and ID each."""
    return {
        "cells": [
            {"cell_type": kind, "id": name, "metadata": {}, "source": name} for kind, name in cells
        ]
    }


def steps(*states: StepOutcome, count: int | None = 7) -> list[StepView]:
    return [
        StepView(index=index, name="", state=state, execution_count=count)
        for index, state in enumerate(states)
    ]


PAGE = page(("markdown", "title"), ("code", "a"), ("code", "b"), ("markdown", "end"))
OK, ERROR = StepOutcome.OK, StepOutcome.ERROR


def test_a_link_is_at_the_top_and_its_target_right_above_the_cell() -> None:
    cells = with_banner(PAGE, steps(OK, ERROR))["cells"]
    names = ["papermill-error-cell-banner", "title", "a", "papermill-error-cell-above", "b", "end"]
    assert names == [cell["id"] for cell in cells]
    assert "at '<a href=\"#papermill-error-cell\">In [7]</a>'." in cells[0]["source"]
    assert '<span id="papermill-error-cell" style=' in cells[3]["source"]
    assert [[TAG], [TAG]] == [cells[place]["metadata"]["tags"] for place in (0, 3)]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (StepOutcome.ERROR, "An Exception was encountered"),
        (StepOutcome.TIMED_OUT, "A time limit struck"),
        (StepOutcome.DIED, "The kernel died"),
    ],
)
def test_what_happened_is_said_as_it_was(state: StepOutcome, words: str) -> None:
    assert f">{words} at " in with_banner(PAGE, steps(state))["cells"][0]["source"]


def test_a_cell_without_a_number_has_none() -> None:
    found = with_banner(PAGE, steps(ERROR, count=None))["cells"][0]["source"]
    assert ">In [ ]</a>" in found


def test_only_the_first_of_several_is_led_to() -> None:
    cells = with_banner(PAGE, steps(ERROR, ERROR))["cells"]
    assert ["title", "papermill-error-cell-above", "a", "b"] == [one["id"] for one in cells[1:5]]


@pytest.mark.parametrize(
    "state",
    [OK, StepOutcome.ALLOWED_ERROR, StepOutcome.CANCELLED, StepOutcome.SKIPPED],
)
def test_where_nothing_failed_the_notebook_stays_as_it_is(state: StepOutcome) -> None:
    assert PAGE is with_banner(PAGE, steps(state, StepOutcome.NOT_RUN))


def test_no_id_is_there_twice() -> None:
    taken = page(
        ("markdown", "papermill-error-cell-banner"), ("code", "papermill-error-cell-above")
    )
    names = [cell["id"] for cell in with_banner(taken, steps(ERROR))["cells"]]
    assert "papermill-error-cell-banner-2" == names[0]
    assert "papermill-error-cell-above-2" == names[2]


def test_the_notebook_that_is_given_stays_as_it_is_and_the_next_run_takes_the_banner_off() -> None:
    shown = dict(with_banner(PAGE, steps(ERROR)))
    assert 4 == len(PAGE["cells"])
    remove_banner(shown)
    assert PAGE == shown


def test_tags_that_are_none_are_no_banner() -> None:
    odd = {"cells": [{"metadata": {"tags": None}}, {}]}
    remove_banner(odd)
    assert 2 == len(odd["cells"])
