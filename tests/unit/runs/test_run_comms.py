"""Comms in a run: records of notebook runs, and nothing at all to others."""

from __future__ import annotations

import pytest

from kernel_gateway.messaging import facts
from kernel_gateway.runs import records
from kernel_gateway.runs.plan import Limits, Mode
from tests.unit.runs.driver import ABORTED, BUSY, IDLE, OK, Played, printed

OPEN = facts.Comm("open", "c", {"state": {"a": 1}}, target_name="t", buffers=(b"\0",))
MSG = facts.Comm("msg", "c", {"method": "custom"})


def begun(*, mode: Mode = Mode.NOTEBOOK, limits: Limits | None = None) -> Played:
    run = Played("x", mode=mode, limits=limits or Limits())
    run.ready()
    run.says(BUSY)
    return run


def named(run: Played) -> list[str | None]:
    """The requests that steps are told to have begun with."""
    return [
        body.msg_id
        for body in run.bodies
        if isinstance(body, records.StepChanged) and body.state == "running"
    ]


def test_a_comm_of_a_notebook_run_is_a_record_of_its_step() -> None:
    run = begun()
    assert ["comm open c", "comm msg c"] == run.says(OPEN, MSG)
    assert run.run.keeps_comms
    (record, _) = (record for record in run.stored if isinstance(record.body, records.Comm))
    assert 0 == record.step
    assert (
        records.Comm(
            what="open",
            comm_id="c",
            target_name="t",
            data={"state": {"a": 1}},
            buffers=("AA==",),
        )
        == record.body
    )


@pytest.mark.parametrize("mode", [Mode.QUERY, Mode.BATCH])
def test_other_runs_know_no_comms(mode: Mode) -> None:
    run = begun(mode=mode)
    assert [] == run.says(OPEN, MSG)
    assert not run.run.keeps_comms
    assert [None] == named(run)


def test_a_comm_of_a_thread_is_late() -> None:
    run = begun()
    run.says(OK, IDLE)
    assert ["late comm msg c"] == run.says(MSG)


def test_a_widget_that_moves_is_a_sign_of_life_and_no_output() -> None:
    run = begun(limits=Limits(idle=5))
    assert ["comm msg c", "set idle 5"] == run.says(MSG)
    assert not run.run.view().is_stream


def test_what_has_sent_comms_was_executed() -> None:
    run = begun()
    run.says(MSG, ABORTED, IDLE)
    assert ("error", "exception", 1) == run.end


def test_a_step_of_a_notebook_begins_with_the_id_of_its_request() -> None:
    run = begun()
    assert ["m1"] == named(run)
    assert ["step 0 running", "execute m2 'x'"] == run.says(ABORTED, IDLE)[-2:]
    assert ["m1", "m2"] == named(run), "it was sent again"
    assert ["comm msg c"] == run.says(MSG, to="m1"), "of the first attempt"
    assert ["stdout 'x'"] == run.says(BUSY, printed("x"))
