"""`notebook/metadata.py`: what the output says of its run."""

from __future__ import annotations

from kernel_gateway.notebook import metadata
from kernel_gateway.notebook.choice import Choice, Wish
from kernel_gateway.notebook.document import Source
from kernel_gateway.notebook.job import Attempt
from kernel_gateway.runs.plan import Mode
from kernel_gateway.runs.records import KernelIntroduced, Reason, Seq
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome, RunView, StepOutcome, StepView
from kernel_gateway.service import KernelSpecView, Owner, RunId, RunInfo, RunUid

SOURCE = Source(
    notebook={}, wish=Wish(name="old", language="python"), digest="sha256:ab", version="4.2"
)


def info(**view: object) -> RunInfo:
    fields: dict[str, object] = {
        "state": RunState.RUNNING,
        "outcome": None,
        "reason": None,
        "exit_code": None,
        "created_at": 0.0,
        "started_at": None,
        "finished_at": None,
        "queue_time": None,
        "predict_time": None,
        "prompt": None,
        "steps": (),
        "history": (),
        "is_stream": False,
    }
    return RunInfo(
        id=RunId("mine"),
        uid=RunUid("u"),
        owner=Owner("me"),
        mode=Mode.NOTEBOOK,
        kernel_id="k",
        kernel_name="python3",
        generation=1,
        queue_position=None,
        view=RunView(**(fields | view)),  # type: ignore[arg-type]
        log_next=Seq(1),
        log_bytes=0,
        log_dropped=0,
    )


def test_before_there_is_a_run_only_the_input_is_known() -> None:
    expected = {
        "format": 1,
        "version": "1.2",
        "input": {"digest": "sha256:ab", "nbformat": "4.2"},
    }
    assert expected == metadata.of_notebook("1.2", SOURCE)


def test_the_kernel_and_a_fallback_are_told() -> None:
    spec = KernelSpecView(name="python3", display_name="Python", language="python")
    told = metadata.of_notebook(
        "1", SOURCE, choice=Choice(spec=spec, fallback="why"), run={"state": "x"}
    )
    kernel = {"name": "python3", "language": "python", "asked": "old", "fallback": "why"}
    assert (kernel, {"state": "x"}) == (told["kernel"], told["run"])


def test_attempts_that_failed_are_kept() -> None:
    reason = Reason(code="kernel_died", message="It died.", signal="SIGKILL")
    failed = Attempt(uid=RunUid("u1"), outcome=Outcome.LOST, reason=reason)
    told = metadata.of_notebook("1", SOURCE, earlier=[failed])
    assert 2 == told["attempt"]
    assert [
        {
            "uid": "u1",
            "state": "finished",
            "outcome": "lost",
            "reason": {"code": "kernel_died", "message": "It died.", "signal": "SIGKILL"},
        }
    ] == told["attempts"]


def test_a_run_under_way_has_no_end() -> None:
    expected = {
        "id": "mine",
        "uid": "u",
        "state": "running",
        "created_at": "1970-01-01T00:00:00.000000Z",
    }
    assert expected == metadata.of_run(info())


def test_the_end_of_a_run_is_told_with_its_reason() -> None:
    told = metadata.of_run(
        info(
            state=RunState.FINISHED,
            outcome=Outcome.LOST,
            reason=Reason(code="kernel_died", message="It died.", signal="SIGKILL"),
            started_at=1.5,
            finished_at=2.25,
            queue_time=0.5,
            predict_time=0.25,
        )
    )
    assert {"code": "kernel_died", "message": "It died.", "signal": "SIGKILL"} == told["reason"]
    assert ("lost", "1970-01-01T00:00:02.250000Z") == (told["outcome"], told["finished_at"])
    assert (0.5, 0.25) == (told["queue_time"], told["predict_time"])


def test_a_step_tells_what_is_known_of_it() -> None:
    pending = StepView(index=0, name="a", state=StepOutcome.PENDING)
    assert {"state": "pending"} == metadata.of_step(pending)
    done = StepView(
        index=0,
        name="a",
        state=StepOutcome.OK,
        started_at=0.0,
        finished_at=1.0,
        duration=0.75,
        exit_code=0,
        execution_count=3,
        msg_id="m",
    )
    assert {
        "state": "ok",
        "started_at": "1970-01-01T00:00:00.000000Z",
        "finished_at": "1970-01-01T00:00:01.000000Z",
        "duration": 0.75,
        "exit_code": 0,
        "execution_count": 3,
        "msg_id": "m",
    } == metadata.of_step(done)


def test_a_kernel_is_told_as_it_was_chosen_and_as_it_introduces_itself() -> None:
    introduced = KernelIntroduced(
        name="python3", implementation="ipython", version="9.2.0", language_info={}
    )
    told = metadata.of_notebook("1", SOURCE, kernel=introduced, parameters={"alpha": 1})
    assert {"name": "python3", "implementation": "ipython", "version": "9.2.0"} == told["kernel"]
    assert {"alpha": 1} == told["parameters"]
