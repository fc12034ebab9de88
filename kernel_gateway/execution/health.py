"""How a kernel is: asked when somebody wants to know, and never at the cost of what it executes.

A kernel that answers on control is there, whatever it executes; its own check, an expression that
users give, says more. The check is made in a subshell, beside all cells: so it delays no run and no
cancel, and a kernel that has no subshells cannot be checked so. Nothing of it is in any log, but
that a run in flight is told when its kernel stops answering, and when it does again. Knows a
session and its kernel; must not know who asks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.kernels.kernel import told_us
from kernel_gateway.messaging.facts import SUBSHELLS, KernelInfo, Replied, SubshellMade
from kernel_gateway.messaging.message import (
    VALUE,
    Channel,
    MsgId,
    create_subshell_request,
    evaluate_request,
    kernel_info_request,
)
from kernel_gateway.messaging.strict_json import clean_text
from kernel_gateway.runs.records import KernelEvent
from kernel_gateway.runs.state import RunState
from kernel_gateway.service import HealthCheck, KernelHealth, Vitality

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernel_gateway.execution.clock import Clock
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.execution.session import Session
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.kernels.kernel import Generation

SHOWN_CHARS = 1000  # of a value that is not true

_EXECUTES = frozenset({RunState.RUNNING, RunState.WAITING, RunState.CANCELLING})


class Health:
    """Of the kernel of one session, over all its generations. Await `close` when it is deleted.

    `expression`: the check that its kernelspec asks for; see `check_of`.
    """

    def __init__(
        self,
        session: Session,
        settings: EngineSettings,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        expression: str | None = None,
    ) -> None:
        self._session = session
        self._limit_s = settings.health_limit_s
        self._clock = clock
        self._new_id = new_id
        self._expression_of_spec = expression
        self._expression: str | None = None
        self._tasks = Tasks(f"health of kernel {session.id}")
        self._checking: asyncio.Task[KernelHealth] | None = None
        self._probe: asyncio.Future[KernelInfo | None] | None = None
        self._told: list[LiveRun] = []  # that it does not answer
        self._subshell: tuple[Generation, asyncio.Future[SubshellMade | None]] | None = None
        self._evaluation: asyncio.Future[Replied | None] | None = None
        self._is_late = False  # the evaluation: nobody waits for it any more

    def set_expression(self, expression: str | None) -> None:
        """What is evaluated from now on; None: what the kernelspec says, if it says something."""
        self._expression = expression
        self._checking = None  # what is under way asks for something else

    async def check(self) -> KernelHealth:
        """Now; callers at the same time share one question."""
        if self._checking is None or self._checking.done():
            self._checking = self._tasks.start(self._check())
        return await asyncio.shield(self._checking)

    async def close(self) -> None:
        """Whoever waits is told what can be told now."""
        for asked in (self._probe, self._evaluation, self._subshell and self._subshell[1]):
            if asked is not None and not asked.done():
                asked.set_result(None)
        await self._tasks.join()

    async def _check(self) -> KernelHealth:
        expression = self._expression or self._expression_of_spec
        is_there = self._state() is None and await self._answers()
        check = None
        if is_there and expression and self._state() is None:
            check = await self._checked(expression)
        if (state := self._state()) is not None:
            return self._said(state, self._session.kernel.reason or "")
        if not is_there:
            return self._said(Vitality.UNRESPONSIVE, self._unresponsive)
        unhealthy = check is not None and check.ok is False
        return self._said(Vitality.UNHEALTHY if unhealthy else Vitality.HEALTHY, check=check)

    def _state(self) -> Vitality | None:
        """What can be told without a question."""
        kernel = self._session.kernel
        if kernel.closed_by is not None:
            return Vitality.DEAD
        return None if kernel.takes_requests else Vitality.STARTING

    def _said(
        self, status: Vitality, message: str = "", check: HealthCheck | None = None
    ) -> KernelHealth:
        now = self._clock.now().wall
        return KernelHealth(status=status, checked_at=now, message=message, check=check)

    @property
    def _no_answer(self) -> str:
        return f"no answer within {self._limit_s:g} s"

    @property
    def _unresponsive(self) -> str:
        return f"The kernel is unresponsive: {self._no_answer}."

    # -- does it answer? ---------------------------------------------------------------------------

    async def _answers(self) -> bool:
        """One question at a time: a kernel that has not answered the last is not asked more."""
        probe = self._probe
        if probe is None or probe.done():
            request = kernel_info_request(self._new_msg_id(), Channel.CONTROL)
            probe = self._probe = self._session.kernel.ask(request, KernelInfo)
            probe.add_done_callback(self._on_answer)
        if not await self._within_limit(probe):
            self._tell_unresponsive()
            return False
        return probe.result() is not None

    def _tell_unresponsive(self) -> None:
        kernel = self._session.kernel
        for live in self._session.lives_on(kernel):
            if live.machine.state in _EXECUTES and live not in self._told:
                self._told.append(live)
                self._tell(live, KernelEvent(what="unresponsive", message=self._unresponsive))

    def _on_answer(self, probe: asyncio.Future[KernelInfo | None]) -> None:
        """However late it is."""
        told, self._told = self._told, []
        if probe.result() is not None:
            for live in told:
                self._tell(
                    live, KernelEvent(what="responsive", message="The kernel answers again.")
                )

    def _tell(self, live: LiveRun, event: KernelEvent) -> None:
        if not live.machine.finished:
            self._session.kernel.tell_text()
            live.append(event, None, self._clock.now())

    # -- its own check -----------------------------------------------------------------------------

    async def _checked(self, expression: str) -> HealthCheck:
        if not await self._is_free():
            return HealthCheck(ok=False, message=f"{self._no_answer}: the last check still runs")
        subshell_id = await self._made_subshell()
        if subshell_id is None:
            return HealthCheck(ok=None, message=self._why_no_subshell)
        request = evaluate_request(self._new_msg_id(), expression, subshell_id=subshell_id)
        evaluation = self._evaluation = self._session.kernel.ask(request, Replied)
        self._is_late = not await self._within_limit(evaluation)
        if self._is_late:
            return HealthCheck(ok=False, message=self._no_answer)
        return verdict_of(evaluation.result(), self._language)

    async def _is_free(self) -> bool:
        """One check at a time: that of somebody else, maybe of another expression, goes first."""
        last = self._evaluation
        if last is None or last.done():
            return True
        return not self._is_late and await self._within_limit(last)

    async def _made_subshell(self) -> str | None:
        """One for each generation."""
        kernel = self._session.kernel
        if not self._has_subshells:
            return None
        if not self._has_subshell_of(kernel.generation):
            request = create_subshell_request(self._new_msg_id())
            self._subshell = kernel.generation, kernel.ask(request, SubshellMade)
        assert self._subshell is not None
        made = self._subshell[1]
        if not await self._within_limit(made):
            return None
        answer = made.result()
        return None if answer is None else answer.subshell_id

    def _has_subshell_of(self, generation: Generation) -> bool:
        """Or will have."""
        if self._subshell is None or self._subshell[0] != generation:
            return False
        made = self._subshell[1]
        return not made.done() or bool((answer := made.result()) and answer.subshell_id)

    @property
    def _has_subshells(self) -> bool:
        info = self._session.kernel.info
        return info is not None and SUBSHELLS in info.features

    @property
    def _why_no_subshell(self) -> str:
        if self._has_subshells:
            return "The kernel has made no subshell."
        return "The kernel has no subshells, and a check must not stand in line with its cells."

    @property
    def _language(self) -> str:
        info = self._session.kernel.info
        return str(info.language_info.get("name", "")).lower() if info else ""

    # -- waiting -----------------------------------------------------------------------------------

    async def _within_limit(self, asked: asyncio.Future[Any]) -> bool:
        """Whether it is answered by then; it goes on if not."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        alarm = self._clock.call_later(self._limit_s, lambda: over.set_result(None))
        try:
            await asyncio.wait({asked, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
        return asked.done()

    def _new_msg_id(self) -> MsgId:
        return MsgId(self._new_id())


def check_of(spec: Mapping[str, object]) -> str | None:
    """The expression that a kernel.json asks for: `metadata.kernel_gateway.health_check`."""
    asked = told_us(spec).get("health_check")
    return asked if isinstance(asked, str) and asked else None


def verdict_of(replied: Replied | None, language: str) -> HealthCheck:
    """None: the kernel died before it had answered."""
    if replied is None:
        return HealthCheck(ok=None, message="The kernel died meanwhile.")
    if replied.aborted:
        return HealthCheck(ok=None, message="The kernel put it aside, after an error of a cell.")
    if replied.status != "ok":
        return HealthCheck(ok=False, message=_shown(f"{replied.ename}: {replied.evalue}"))
    value = replied.expressions.get(VALUE)
    if not isinstance(value, dict):
        return HealthCheck(ok=None, message="The kernel evaluates no expressions.")
    if value.get("status") == "error":
        return HealthCheck(ok=False, message=_shown(f"{value.get('ename')}: {value.get('evalue')}"))
    data = value.get("data")
    text = str(data.get("text/plain", "")).strip() if isinstance(data, dict) else ""
    ok = text in _TRUE.get(language, _TRUE_ELSEWHERE)
    return HealthCheck(ok=ok, message="" if ok else _shown(text))


#: How a language shows that something is true.
_TRUE: Mapping[str, frozenset[str]] = {
    "python": frozenset({"True"}),
    "r": frozenset({"TRUE", "[1] TRUE"}),
}
_TRUE_ELSEWHERE = frozenset({"true", "True", "TRUE", "1"})


def _shown(text: str) -> str:
    return clean_text(text[:SHOWN_CHARS])
