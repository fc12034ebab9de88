"""How a kernel is, on the kernel in memory: what is asked, what follows, and what nobody sees."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.execution.health import Health, check_of, verdict_of
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.fake import FakeBehaviour
from kernel_gateway.messaging.facts import Replied
from kernel_gateway.messaging.message import VALUE
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.runs.records import KernelEvent
from kernel_gateway.service import HealthCheck, KernelRequest, Vitality
from tests.fake.execution.clients import Client
from tests.fake.execution.conftest import ME, Bench, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Body

LIMIT_S = 5.0
STILL_RUNS = "no answer within 5 s: the last check still runs"


class Patient:
    """A kernel and who asks how it is."""

    def __init__(self, bench: Bench, kernel_id: str, expression: str | None) -> None:
        self.bench = bench
        self.id = kernel_id
        ids = count(1)
        self.health = Health(
            bench.service._sessions.of(ME, kernel_id),
            EngineSettings(health_limit_s=LIMIT_S),
            clock=bench.clock,
            new_id=lambda: f"health-{next(ids)}",
            expression=expression,
        )

    def asks(self, msg_type: str) -> int:
        """How often it was asked so."""
        return sum(request.msg_type == msg_type for request in self.bench.kernel.requests)

    async def evaluates(self, number: int = 1) -> None:
        """The check with this number has been sent."""
        await self.bench.until(lambda: self._evaluations() == number)

    def _evaluations(self) -> int:
        return sum(
            not isinstance(request, RawMessage) and bool(request.content.get("user_expressions"))
            for request in self.bench.kernel.requests
        )

    async def check(self, expression: str | None = None) -> HealthCheck | None:
        self.health.set_expression(expression)
        return (await self.health.check()).check

    async def told(self, run_id: str) -> list[Body]:
        log = await self.bench.service.log(ME, run_id)
        return [record.body for record in log.records]


@pytest.fixture
def expression() -> str | None:
    """What the kernelspec asks for."""
    return None


@pytest.fixture
async def patient(bench: Bench, expression: str | None) -> AsyncIterator[Patient]:
    patient = Patient(bench, await bench.a_kernel(), expression)
    yield patient
    await patient.health.close()


# -- does it answer? ------------------------------------------------------------------------------


async def test_a_kernel_that_answers_is_healthy_also_while_it_executes(patient: Patient) -> None:
    await patient.bench.started(patient.id, "sleep", "r1")
    await patient.bench.until_state("r1", "running")
    found = await patient.health.check()
    assert (Vitality.HEALTHY, "", None) == (found.status, found.message, found.check)
    assert patient.bench.clock.now().wall == found.checked_at
    patient.bench.kernel.release()


async def test_callers_at_the_same_time_share_one_question(patient: Patient) -> None:
    asked = patient.asks("kernel_info_request")
    one, other = await asyncio.gather(patient.health.check(), patient.health.check())
    assert one is other
    assert asked + 1 == patient.asks("kernel_info_request")
    await patient.health.check()
    assert asked + 2 == patient.asks("kernel_info_request")


async def test_a_caller_that_leaves_takes_the_answer_from_nobody(patient: Patient) -> None:
    patient.bench.kernel.freeze()
    leaving = asyncio.create_task(patient.health.check())
    staying = asyncio.create_task(patient.health.check())
    await patient.bench.until(lambda: patient.asks("kernel_info_request"))
    leaving.cancel()
    patient.bench.kernel.thaw()
    assert Vitality.HEALTHY == (await staying).status


async def test_a_kernel_that_does_not_answer_in_time_is_unresponsive(patient: Patient) -> None:
    found = await _unresponsive(patient)
    assert Vitality.UNRESPONSIVE == found.status
    assert "The kernel is unresponsive: no answer within 5 s." == found.message
    patient.bench.kernel.thaw()
    await patient.bench.until(lambda: patient.health._probe and patient.health._probe.done())
    assert Vitality.HEALTHY == (await patient.health.check()).status


async def test_a_kernel_that_owes_an_answer_is_not_asked_again(patient: Patient) -> None:
    await _unresponsive(patient)
    asked = patient.asks("kernel_info_request")
    await _unresponsive(patient)
    assert asked == patient.asks("kernel_info_request")


async def test_a_run_in_flight_is_told_once_that_its_kernel_does_not_answer_and_when_it_does(
    patient: Patient,
) -> None:
    await patient.bench.started(patient.id, "print before\nsleep", "r1")
    await patient.bench.started(patient.id, "print waits", "r2")
    await patient.bench.until_told("r1", "before")
    await _unresponsive(patient)
    await _unresponsive(patient)
    patient.bench.kernel.thaw()
    await patient.bench.until_told("r1", "responsive")
    await patient.bench.until_told("r1", "answers again")
    patient.bench.kernel.release()
    await patient.bench.ended(patient.id, "r1")
    await patient.bench.ended(patient.id, "r2")
    assert ["unresponsive", "responsive"] == _events(await patient.told("r1"))
    assert [] == _events(await patient.told("r2"))


async def test_a_run_that_is_over_by_then_is_not_told_that_it_answers(patient: Patient) -> None:
    await patient.bench.started(patient.id, "sleep", "r1")
    await patient.bench.until_state("r1", "running")
    await _unresponsive(patient)
    await patient.bench.kernel.kill()
    await patient.bench.ended(patient.id, "r1")
    assert ["unresponsive", "died"] == _events(await patient.told("r1"))


async def test_a_kernel_that_starts_or_is_dead_is_asked_nothing(
    bench: Bench, gate: asyncio.Event
) -> None:
    gate.clear()
    view = await bench.service.create_kernel(ME, KernelRequest())
    patient = Patient(bench, view.id, "ok")
    assert Vitality.STARTING == (await patient.health.check()).status
    await bench.kernel.kill()
    await bench.until_kernel(view.id, "dead")
    found = await patient.health.check()
    assert Vitality.DEAD == found.status
    assert found.message
    assert [] == bench.kernel.requests
    gate.set()


async def test_a_kernel_that_dies_while_it_is_asked_is_not_unresponsive(patient: Patient) -> None:
    patient.bench.kernel.freeze()
    asking = asyncio.create_task(patient.health.check())
    await patient.bench.until(lambda: patient.asks("kernel_info_request"))
    await patient.bench.kernel.kill()
    assert (await asking).status in {Vitality.STARTING, Vitality.HEALTHY}


async def test_who_asks_while_the_kernel_is_deleted_is_told_that_it_is_dead(
    patient: Patient,
) -> None:
    kernel = patient.bench.kernel
    kernel.freeze()
    health = patient.bench.service._sessions.of(ME, patient.id).watched(None)
    asking = asyncio.create_task(health.check())
    await patient.bench.until(lambda: patient.asks("kernel_info_request"))
    await patient.bench.service.delete_kernel(ME, patient.id)
    assert Vitality.DEAD == (await asking).status


# -- its own check --------------------------------------------------------------------------------


async def test_a_check_that_comes_to_true_is_ok(patient: Patient) -> None:
    patient.bench.kernel.expressions["ready()"] = "true"
    patient.health.set_expression("ready()")
    found = await patient.health.check()
    assert (Vitality.HEALTHY, HealthCheck(ok=True)) == (found.status, found.check)


async def test_a_check_that_comes_to_something_else_is_unhealthy_and_shows_it(
    patient: Patient,
) -> None:
    patient.bench.kernel.expressions["ready()"] = "None" * 1000
    patient.health.set_expression("ready()")
    found = await patient.health.check()
    assert Vitality.UNHEALTHY == found.status
    assert HealthCheck(ok=False, message="None" * 250) == found.check


async def test_a_check_that_fails_shows_its_error(patient: Patient) -> None:
    found = await patient.check("model.ready")
    assert HealthCheck(ok=False, message="NameError: name 'model.ready' is not defined") == found


@pytest.mark.parametrize("expression", ["ready()"])
async def test_the_kernelspec_may_have_a_check_until_somebody_has_another(
    patient: Patient,
) -> None:
    patient.bench.kernel.expressions |= {"ready()": "true", "mine": "false"}
    assert HealthCheck(ok=True) == await patient.check()
    assert HealthCheck(ok=False, message="false") == await patient.check("mine")
    assert HealthCheck(ok=True) == await patient.check(None)


async def test_a_check_runs_beside_the_cell_that_is_executed(patient: Patient) -> None:
    await patient.bench.started(patient.id, "sleep", "r1")
    await patient.bench.until_state("r1", "running")
    patient.bench.kernel.expressions["ready()"] = "true"
    assert HealthCheck(ok=True) == await patient.check("ready()")
    patient.bench.kernel.release()


async def test_a_check_that_sleeps_delays_no_run_and_is_not_started_twice(
    patient: Patient,
) -> None:
    patient.bench.kernel.expressions["sleep"] = "true"
    assert HealthCheck(ok=False, message="no answer within 5 s") == await _late(patient, 1)
    answer = await patient.bench.run(patient.id, "print done", "r1")
    assert "done\n" == text(answer)
    assert HealthCheck(ok=False, message=STILL_RUNS) == await patient.check("sleep")
    assert 1 == patient._evaluations()
    patient.bench.kernel.release()
    evaluation = patient.health._evaluation
    await patient.bench.until(lambda: evaluation and evaluation.done())
    patient.bench.kernel.expressions["ready()"] = "true"
    assert HealthCheck(ok=True) == await patient.check("ready()")


async def test_a_new_check_waits_for_the_one_that_is_made(patient: Patient) -> None:
    patient.bench.kernel.expressions |= {"sleep": "true", "mine": "false"}
    patient.health.set_expression("sleep")
    first = asyncio.create_task(patient.health.check())
    await patient.evaluates()
    patient.health.set_expression("mine")
    second = asyncio.create_task(patient.health.check())
    patient.bench.kernel.release()
    assert HealthCheck(ok=True) == (await first).check
    assert HealthCheck(ok=False, message="false") == (await second).check


async def test_a_new_generation_has_a_subshell_of_its_own(patient: Patient) -> None:
    patient.bench.kernel.expressions["ready()"] = "true"
    for _ in range(2):
        assert HealthCheck(ok=True) == await patient.check("ready()")
    assert 1 == patient.asks("create_subshell_request")
    await patient.bench.service.restart_kernel(ME, patient.id)
    await patient.bench.service.kernel_ready(ME, patient.id)
    patient.bench.kernel.expressions["ready()"] = "true"
    assert HealthCheck(ok=True) == await patient.check("ready()")
    assert 1 == patient.asks("create_subshell_request")


async def test_a_kernel_that_dies_within_a_check_frees_who_waits(patient: Patient) -> None:
    patient.health.set_expression("sleep")
    checking = asyncio.create_task(patient.health.check())
    await patient.evaluates()
    await patient.bench.kernel.kill()
    found = await checking
    assert found.status in {Vitality.STARTING, Vitality.HEALTHY}


@pytest.mark.parametrize("behaviour", [FakeBehaviour(subshells=False)])
async def test_a_kernel_without_subshells_is_not_checked_and_well(patient: Patient) -> None:
    patient.health.set_expression("ready()")
    found = await patient.health.check()
    assert Vitality.HEALTHY == found.status
    assert found.check is not None
    assert found.check.ok is None
    assert "no subshells" in found.check.message
    assert 0 == patient.asks("create_subshell_request")


async def test_a_kernel_that_makes_no_subshell_though_it_could_is_not_checked(
    patient: Patient,
) -> None:
    """It is asked once, and once more when somebody wants a check again."""
    kernel = patient.bench.kernel
    kernel.behaviour = FakeBehaviour(subshells=False)
    for number in (1, 2):
        found = await patient.check("ready()")
        assert HealthCheck(ok=None, message="The kernel has made no subshell.") == found
        assert number == patient.asks("create_subshell_request")


async def test_a_subshell_that_is_long_in_coming_is_waited_for_the_next_time(
    patient: Patient,
) -> None:
    patient.bench.kernel.expressions["ready()"] = "true"
    patient.bench.kernel.freeze(after=1)
    checking = asyncio.create_task(patient.check("ready()"))
    await patient.bench.until(lambda: patient.asks("create_subshell_request"))
    patient.bench.clock.advance(LIMIT_S)
    found = await checking
    assert HealthCheck(ok=None, message="The kernel has made no subshell.") == found
    patient.bench.kernel.thaw()
    assert HealthCheck(ok=True) == await patient.check("ready()")
    assert 1 == patient.asks("create_subshell_request")


async def test_nothing_of_a_check_is_in_a_log_or_told_to_clients(patient: Patient) -> None:
    client = Client()
    client.link = patient.bench.service.channels(ME, patient.id, client)
    await patient.bench.started(patient.id, "sleep", "r1")
    await patient.bench.until_state("r1", "running")
    patient.bench.kernel.expressions["ready()"] = "true"
    await patient.check("ready()")
    patient.bench.kernel.release()
    await patient.bench.ended(patient.id, "r1")
    assert {"state", "step", "completed"} == {body.kind for body in await patient.told("r1")}
    assert client.told
    assert not [message for message in client.told if b"health-" in b"".join(message.parts)]
    client.leave()


# -- its parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"metadata": {"kernel_gateway": {"health_check": "ready()"}}}, "ready()"),
        ({"metadata": {"kernel_gateway": {"health_check": ""}}}, None),
        ({"metadata": {"kernel_gateway": {"health_check": 1}}}, None),
        ({"metadata": {"kernel_gateway": None}}, None),
        ({"metadata": None}, None),
        ({}, None),
    ],
)
def test_a_kernelspec_says_its_check_in_its_metadata(
    spec: dict[str, Any], expected: str | None
) -> None:
    assert expected == check_of(spec)


def _value(text: str) -> Replied:
    data: dict[str, Json] = {"text/plain": text}
    return Replied("ok", expressions={VALUE: {"status": "ok", "data": data, "metadata": {}}})


@pytest.mark.parametrize(
    ("language", "text", "ok"),
    [
        ("python", "True", True),
        ("python", "1", False),
        ("r", "[1] TRUE", True),
        ("r", "[1] 1", False),
        ("javascript", "true\n", True),
        ("", "1", True),
        ("", "", False),
    ],
)
def test_each_language_shows_in_its_own_way_that_something_is_true(
    language: str, text: str, ok: bool
) -> None:
    assert ok is verdict_of(_value(text), language).ok


@pytest.mark.parametrize(
    ("replied", "ok", "message"),
    [
        (None, None, "The kernel died meanwhile."),
        (Replied("aborted"), None, "The kernel put it aside, after an error of a cell."),
        (Replied("ok"), None, "The kernel evaluates no expressions."),
        (Replied("error", ename="E", evalue="why"), False, "E: why"),
        (Replied("ok", expressions={VALUE: {"status": "ok", "data": []}}), False, ""),
        (_value("\ud800"), False, "\ufffd"),
    ],
)
def test_a_check_that_cannot_be_made_is_neither_well_nor_ill(
    replied: Replied | None, ok: bool | None, message: str
) -> None:
    assert HealthCheck(ok=ok, message=message) == verdict_of(replied, "python")


async def _unresponsive(patient: Patient) -> Any:
    """What is found when it hears nothing for as long as is waited."""
    patient.bench.kernel.freeze()
    alarms = len(patient.bench.clock._alarms)
    checking = asyncio.create_task(patient.health.check())
    await patient.bench.until(lambda: len(patient.bench.clock._alarms) > alarms)
    patient.bench.clock.advance(LIMIT_S)
    return await checking


async def _late(patient: Patient, number: int) -> HealthCheck | None:
    checking = asyncio.create_task(patient.check("sleep"))
    await patient.evaluates(number)
    patient.bench.clock.advance(LIMIT_S)
    return await checking


def _events(bodies: list[Body]) -> list[str]:
    return [body.what for body in bodies if isinstance(body, KernelEvent)]
