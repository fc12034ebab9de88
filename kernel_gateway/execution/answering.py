"""When an execute call is answered, and from which place in the log.

Knows runs as readers do. Must not know kernels, nor what an answer looks like (`runs/answer.py`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeAlias

from kernel_gateway.execution.live import LiveRun
from kernel_gateway.execution.past import PastRun
from kernel_gateway.runs.answer import Answer, Cursor, Standing, Status, answer
from kernel_gateway.service import ExecuteMode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_gateway.execution.clock import Clock
    from kernel_gateway.service import ExecuteCall

Found: TypeAlias = LiveRun | PastRun

PAGE = 1000  # records read at once


async def answer_call(found: Found, call: ExecuteCall, clock: Clock, deadline: float) -> Answer:
    """The first answer worth giving, or what there is at the deadline (of the monotonic clock)."""
    start = call.after
    if start is None and call.mode in {ExecuteMode.QUERY, ExecuteMode.BATCH}:
        start = Cursor()  # a call that is repeated is told from the beginning
    while True:
        async with _turn(found, start):
            at = start if start is not None else _behind_last_answer(found)
            given = await _answer_from(found, at)
            left = deadline - clock.now().mono
            if left <= 0 or _is_news(call, at, given) or _is_full(found, given):
                if isinstance(found, LiveRun) and call.after is None:
                    found.cursor = given.cursor
                return given
        assert isinstance(found, LiveRun)
        if found.told <= given.cursor.seq:
            await found.changed(left)


async def _answer_from(found: Found, at: Cursor) -> Answer:
    page = await found.read(at.seq, PAGE)
    end = page[-1].seq if page else at.seq
    standing = found.standing if end >= found.told else Standing()
    return answer(found.identity.run_id, page, at, standing)


def _behind_last_answer(found: Found) -> Cursor:
    """For a run that is past: behind its end, so that the final answer is given once more."""
    return found.cursor if isinstance(found, LiveRun) else Cursor(found.told)


@contextlib.asynccontextmanager
async def _turn(found: Found, start: Cursor | None) -> AsyncIterator[None]:
    """Callers without a place of their own take turns: each piece of the console goes to one."""
    if start is None and isinstance(found, LiveRun):
        async with found.answering:
            yield
    else:
        yield


def _is_news(call: ExecuteCall, at: Cursor, given: Answer) -> bool:
    """A prompt that was told already is no news to somebody who only continues."""
    if given.status is Status.CONTINUED:
        return False
    told = given.status is Status.WAITING_INPUT and given.cursor == at and not given.console
    return not (told and call.mode is ExecuteMode.CONTINUE)


def _is_full(found: Found, given: Answer) -> bool:
    """More is there already: the next answer needs no waiting, so neither does this one."""
    return isinstance(found, PastRun) or given.cursor.seq < found.told
