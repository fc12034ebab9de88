"""`execute/wishes.py`: papermill's options for an engine."""

from __future__ import annotations

import pytest

from kernel_gateway.execute.wishes import plan_options
from kernel_gateway.notebook.plan import PlanOptions
from kernel_gateway.runs.plan import Limits


def test_without_options_there_is_no_limit() -> None:
    assert PlanOptions() == plan_options({})


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({"execution_timeout": 30}, Limits(step=30.0)),
        ({"timeout": 20}, Limits(step=20.0)),
        ({"timeout": 20, "execution_timeout": 30}, Limits(step=30.0)),
        ({"timeout": 20, "execution_timeout": None}, Limits(step=20.0)),
        ({"timeout": -1}, Limits()),
        ({"timeout": None}, Limits()),
        ({"idle_timeout": 5, "total_timeout": 60.5}, Limits(idle=5.0, run=60.5)),
    ],
)
def test_time_limits_have_papermills_and_nbclients_names(
    options: dict[str, float | None], limits: Limits
) -> None:
    assert PlanOptions(limits=limits) == plan_options(options)


def test_errors_may_be_allowed() -> None:
    assert PlanOptions(allow_errors=True) == plan_options({"allow_errors": True})


def test_how_papermill_saves_and_nbclient_waits_is_of_no_meaning_here() -> None:
    assert PlanOptions() == plan_options({"autosave_cell_every": 0, "iopub_timeout": 4})


def test_an_option_that_nobody_knows_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"option time_out of this engine, only execution_timeout"):
        plan_options({"time_out": 3})
