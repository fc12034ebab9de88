"""Values of the environment that nobody is to see: in nothing that a run leaves behind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import InvalidField, RunIdConflict
from kernel_gateway.kernels.fake import FakeBehaviour
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.messaging.message import Channel
from kernel_gateway.runs.records import InputAnswered, Seq
from kernel_gateway.runs.run import IDLE_AFTER_S, IDLE_LIMIT_S
from kernel_gateway.service import Webhook
from tests.fake.execution.conftest import ME, Bench, Client

if TYPE_CHECKING:
    from kernel_gateway.service import RunInfo
    from kernel_gateway.store.store import Store

VALUE = "s3cr3t-of-ours"
OF_OWN: dict[str, Any] = {"env": {"KEY": VALUE, "PLAIN": "plain-text"}, "secrets": ("KEY",)}
SCRIPT = f"""print stdout {VALUE}
stderr stderr {VALUE}
write "in pieces s3cr3t"
write "-of-ours"
result result {VALUE}
display text/html <b>{VALUE}</b>
show {VALUE} shown {VALUE}
update {VALUE} updated {VALUE}
setup process {VALUE}
save {VALUE}.txt plain
password {VALUE}?
raise {VALUE} evalue {VALUE}"""


async def everything(bench: Bench, info: RunInfo) -> str:
    """That anybody can be told of a run, and of its kernel."""
    return repr([info, await bench.records(info.uid), await bench.service.run(ME, info.uid)])


async def test_the_kernel_has_them_and_nobody_else(
    bench: Bench, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    info = await bench.submit(SCRIPT, run_id="mine", **OF_OWN, allow_stdin=True)
    await bench.until_state("mine", "waiting-input")
    assert VALUE == bench.kernel.request.env["KEY"]
    kernel = await bench.service.kernel(ME, info.kernel_id)
    output = await bench.service.kernel_output(ME, info.kernel_id)
    assert "process ***" in output.text
    await bench.service.give_input(ME, "mine", f"<{VALUE}>", 1)
    over = await bench.over("mine")
    told = await everything(bench, over)
    assert "***: evalue ***" in told
    for text in ("stdout ***", "stderr ***", "in pieces ***", "result ***", "<b>***</b>"):
        assert text in told
    for text in ("shown ***", "updated ***", "prompt='***?'", "name='***.txt'"):
        assert text in told
    assert VALUE not in told + repr([kernel, output, bench.kernel.request, info])
    stored = await store.records(over.uid, after=Seq(0), limit=1000)
    assert VALUE not in repr([stored, await store.find_runs(ME, "mine")]).replace(repr(SCRIPT), "")
    assert VALUE not in caplog.text


async def test_an_answer_that_is_in_the_log_is_masked_and_arrives_whole(bench: Bench) -> None:
    await bench.submit("input Name?\necho", run_id="mine", **OF_OWN, allow_stdin=True)
    await bench.until_state("mine", "waiting-input")
    await bench.service.give_input(ME, "mine", VALUE, 1)
    await bench.over("mine")
    records = await bench.records("mine")
    answered = [one.body for one in records if isinstance(one.body, InputAnswered)]
    assert [InputAnswered(prompt_id=1, value="***")] == answered
    replies = [one for one in bench.kernel.requests if one.msg_type == "input_reply"]
    assert [VALUE] == [one.content["value"] for one in replies]


async def test_what_is_no_secret_stays(bench: Bench) -> None:
    await bench.submit("print plain-text", run_id="mine", **OF_OWN)
    await bench.over("mine")
    assert "plain-text" in repr(await bench.records("mine"))


@pytest.mark.parametrize(
    "behaviour",
    [
        FakeBehaviour(
            dies_at_start=KernelExit(
                exit_code=1, start_fault="it ended", stderr_tail=f"no way: {VALUE}"
            )
        )
    ],
)
async def test_the_last_words_of_a_kernel_that_did_not_start_are_masked(bench: Bench) -> None:
    await bench.submit("print 1", run_id="mine", **OF_OWN)
    over = await bench.over("mine")
    assert over.view.reason is not None
    assert "no way: ***" in over.view.reason.message
    assert VALUE not in await everything(bench, over)


FULL = f"{VALUE[5:]} is it\n" + "line\n" * 17 + f"{VALUE}\n" * 2


@pytest.mark.parametrize(
    "behaviour",
    [
        FakeBehaviour(
            setup=FULL,
            setup_dropped=1,
            dies_at_start=KernelExit(start_fault="it ended", stderr_tail=FULL.rstrip()),
        )
    ],
)
async def test_the_end_of_what_a_kernel_printed_may_begin_within_a_value(bench: Bench) -> None:
    await bench.submit("print 1", run_id="mine", **OF_OWN)
    over = await bench.over("mine")
    assert over.view.reason is not None
    assert "it ended\n*** is it\nline" in over.view.reason.message
    assert VALUE[5:] not in over.view.reason.message


MANY_LINES = "first-of-ours\nsecond-of-ours\n"


@pytest.mark.parametrize(
    "behaviour",
    [
        FakeBehaviour(
            dies_at_start=KernelExit(start_fault="it ended", stderr_tail=MANY_LINES + "line\n" * 19)
        )
    ],
)
async def test_a_value_is_hidden_before_the_last_lines_are_cut(bench: Bench) -> None:
    await bench.submit("print 1", run_id="mine", env={"KEY": MANY_LINES}, secrets=("KEY",))
    over = await bench.over("mine")
    assert over.view.reason is not None
    assert "of-ours" not in over.view.reason.message


@pytest.mark.parametrize("behaviour", [FakeBehaviour(setup=VALUE[3:], setup_dropped=1)])
async def test_what_is_kept_of_a_kernels_output_may_begin_within_a_value(bench: Bench) -> None:
    info = await bench.submit("sleep", run_id="mine", **OF_OWN)
    await bench.until_state("mine", "running")
    output = await bench.service.kernel_output(ME, info.kernel_id)
    assert ("***", 1) == (output.text, output.dropped)


async def test_the_session_of_its_kernel_shows_no_value(bench: Bench) -> None:
    info = await bench.submit("sleep", run_id="mine", **OF_OWN)
    await bench.until_state("mine", "running")
    view = await bench.service.session(ME, str(info.kernel_id))
    assert {"KEY": "***", "PLAIN": "plain-text"} == view.env
    assert VALUE not in repr(await bench.service.sessions(ME))


async def test_the_words_of_who_cancels_it_are_masked(bench: Bench) -> None:
    await bench.submit("sleep", run_id="mine", **OF_OWN)
    await bench.until_state("mine", "running")
    await bench.service.cancel(ME, "mine", message=f"without {VALUE}")
    over = await bench.over("mine")
    assert over.view.reason is not None
    assert "without ***" in over.view.reason.message
    assert VALUE not in await everything(bench, over)


async def test_text_behind_an_end_without_an_idle_is_not_held_back(bench: Bench) -> None:
    await bench.submit("sleep", run_id="mine", **OF_OWN, quiet_s=60.0)
    await bench.until(lambda: bench.launcher.kernels and bench.kernel.requests)
    (request,) = [one for one in bench.kernel.requests if one.msg_type == "execute_request"]
    parent = bench.kernel.parent_of(request)
    bench.kernel.tell(Channel.SHELL, "execute_reply", {"status": "ok"}, parent)
    bench.clock.advance(IDLE_AFTER_S)
    bench.clock.advance(IDLE_LIMIT_S)
    bench.kernel.tell(Channel.IOPUB, "stream", {"name": "stdout", "text": VALUE[:6]}, parent)
    await bench.until_told("mine", VALUE[:6])


async def test_cells_that_a_client_sends_to_the_kernel_are_masked(bench: Bench) -> None:
    info = await bench.submit("sleep", run_id="mine", **OF_OWN)
    await bench.until_state("mine", "running")
    Client(bench, info.kernel_id).execute(f"print a {VALUE}", "cell")
    bench.kernel.release()
    await bench.until(lambda: len(bench.service._live) == 2)
    uid = next(reversed(bench.service._live))
    await bench.over(uid)
    assert "a ***" in repr(await bench.records(uid))


async def test_a_check_of_its_health_does_not_tell_them(bench: Bench) -> None:
    info = await bench.submit("sleep", run_id="mine", **OF_OWN)
    await bench.until_state("mine", "running")
    bench.kernel.expressions["key"] = VALUE
    health = await bench.service.set_health_check(ME, info.kernel_id, "key")
    assert health.check is not None
    assert "***" == health.check.message


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"secrets": ("OTHER",)}, "secrets"),
        ({"env": {"KEY": "abc"}}, "env.KEY"),
        ({"context": {"of": f"with {VALUE}"}}, "context"),
        ({"labels": {f"{VALUE}": "x"}}, "labels"),
        ({"run_id": f"nightly-{VALUE}"}, "runId"),
        ({"webhook": Webhook(url=f"http://host/{VALUE}")}, "webhook.url"),
    ],
)
async def test_what_could_not_be_hidden_is_refused(
    bench: Bench, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        await bench.submit("print 1", **{**OF_OWN, **wrong})
    assert [field] == list(refused.value.fields)
    assert VALUE not in repr(refused.value) + str(refused.value)


async def test_the_same_id_with_another_value_is_the_same_run(bench: Bench) -> None:
    """What is kept to know a body again must not tell whether a value was guessed."""
    first = await bench.submit("print 1", run_id="mine", **OF_OWN)
    again = await bench.submit(
        "print 1", run_id="mine", env={**OF_OWN["env"], "KEY": "another value"}, secrets=("KEY",)
    )
    assert first.uid == again.uid
    with pytest.raises(RunIdConflict):
        await bench.submit(
            "print 1", run_id="mine", env={**OF_OWN["env"], "PLAIN": "x"}, secrets=("KEY",)
        )


# -- nobody has an answer --------------------------------------------------------------------------


async def test_a_run_that_is_told_that_there_is_no_answer_ends(bench: Bench) -> None:
    await bench.submit("input Name?", "print 2", run_id="mine", allow_stdin=True)
    await bench.until_state("mine", "waiting-input")
    await bench.service.give_input(ME, "mine", None, 1)
    over = await bench.over("mine")
    assert over.view.reason is not None
    assert ("error", "no_input") == (over.view.outcome, over.view.reason.code)
    assert ["error", "not-run"] == [step.state for step in over.view.steps]
