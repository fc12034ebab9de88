"""`GET /stream/session/{s}/execute`: one run over a WebSocket, which is the run for the client.

The client sends the code, then reads frames until `finished`; after `waiting-input` it sends the
raw text. Its socket is read all the time, and a loop beside it waits on the run: it never asks
again while there is nothing new. A client that leaves interrupts its run.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from kernel_gateway.errors import (
    Draining,
    GatewayError,
    NotWaiting,
    WrongPrompt,
)
from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.service import Cursor, ExecuteCall, ExecuteMode, RunId, Status
from kernel_gateway.web.auth import check_upgrade
from kernel_gateway.web.backendai import frames, render, schemas
from kernel_gateway.web.backendai.handler import BackendAIHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from kernel_gateway.service import Answer, RunInfo

log = logging.getLogger(__name__)

PACE_S = 0.2  # between two frames that say `continued`
PATIENCE_S = 2.0  # after which we look whether the key still holds: another process revokes it
LOOK_S = 1.0  # and not more often while there is much to tell


class Execute(BackendAIHandler, WebSocketHandler):
    """`on_get` lasts as long as the connection; the talk is a task of its own beside it."""

    _expected: asyncio.Future[str | bytes] | None = None  # the frame that is waited for
    _run: asyncio.Future[RunInfo] | None = None  # once it is asked for
    _over = False  # and has ended, as the client was told
    _looked = 0.0  # when we last asked whether the key still holds

    async def on_get(self, name: str) -> None:
        self._session_id = (await self.session(name)).id
        check_upgrade(self.request)
        first = self._expect()
        async with asyncio.TaskGroup() as tasks:
            talk = tasks.create_task(self._talk(first))
            await WebSocketHandler.get(self, name)  # until the connection is closed
            talk.cancel()
            if self._run is not None and not self._over:
                await self._interrupt(self._run)

    # -- the socket ------------------------------------------------------------------------------

    def check_origin(self, origin: str) -> bool:
        """Nothing is done here for a cookie: whoever comes in has a key or the token."""
        return True

    def open(self, *path: str, **named: str) -> Awaitable[None] | None:
        self.set_nodelay(True)
        return None

    def on_message(self, message: str | bytes) -> None:
        """At once, so that the next frame, and the close, are read while the run goes on."""
        if self._expected is None or self._expected.done():
            log.debug("a frame that nothing waits for is not kept")
        else:
            self._expected.set_result(message)

    def _expect(self) -> asyncio.Future[str | bytes]:
        """From now on a frame is kept: to be called before the client knows that it may send."""
        self._expected = asyncio.get_running_loop().create_future()
        return self._expected

    async def _send(self, frame: bytes) -> None:
        """Returns when the client has taken it, as far as buffers let us know."""
        await self.write_message(frame.decode())

    async def _say(self, status: str, message: str) -> None:
        await self._send(encode({"status": status, "msg": message}))

    # -- the talk --------------------------------------------------------------------------------

    async def _talk(self, first: asyncio.Future[str | bytes]) -> None:
        """Has its say about every end of itself: nobody else looks at it."""
        try:
            with suppress(WebSocketClosedError):  # then `on_get` is about to end
                await self._tell_all(await first)
        except Exception:
            log.exception("a stream of session %s failed on our side", self._session_id)
            with suppress(WebSocketClosedError):
                await self._say("error", "Something went wrong on our side; see the log.")
        self.close()

    async def _tell_all(self, message: str | bytes) -> None:
        try:
            call = self._first_call(message)
            # Not torn by a client that leaves at once: the run would be there, and nobody know it.
            self._run = asyncio.ensure_future(self._begin(call))
            self._over = await self._follow(await asyncio.shield(self._run))
        except Draining as fault:
            await self._say("server-restarting", fault.message)
        except GatewayError as fault:
            await self._say("error", fault.message)

    def _first_call(self, message: str | bytes) -> ExecuteCall:
        body = schemas.parse_frame(message)
        limit = self.door.settings.max_code_bytes
        run_id = RunId(uuid.uuid4().hex)
        return schemas.stream_call(self._session_id, body, run_id, max_code_bytes=limit)

    async def _begin(self, call: ExecuteCall) -> RunInfo:
        await self.service.execute(self.owner, call)
        assert call.run_id is not None
        return await self.service.run(self.owner, call.run_id, self._session_id)

    async def _follow(self, run: RunInfo) -> bool:
        """Tell all that there is to tell. Gives whether the run came to its end."""
        prompt: int | None = None  # that the client knows of
        answer = await self._ask(run, Cursor(), PACE_S)
        while True:
            await self._tell(answer, prompt)
            if answer.status is Status.FINISHED:
                return True
            if (
                answer.prompt_id is not None
            ):  # else there may be so much to tell that it is further on
                prompt = answer.prompt_id
            news = await self._news(run, answer, prompt)
            if news is None:
                await self._say("error", "The access key does not hold any more.")
                return False
            answer = news

    async def _tell(self, answer: Answer, prompt: int | None) -> None:
        if answer.status is Status.WAITING_INPUT and answer.prompt_id != prompt:
            self._expect()
        for frame in frames.frames(render.told(_shown(answer, prompt)), time.time()):
            await self._send(frame)

    async def _news(self, run: RunInfo, answer: Answer, prompt: int | None) -> Answer | None:
        """The next answer that says something; None when the key does not hold any more."""
        may_tell = _now() + PACE_S
        while await self._is_welcome():
            answer = await self._next(run, answer, may_tell)
            shown = _shown(answer, prompt)
            if shown.console or shown.status is not Status.CONTINUED:
                return answer
        return None

    async def _is_welcome(self) -> bool:
        if _now() - self._looked < LOOK_S:
            return True
        self._looked = _now()
        return await self.still_welcome()

    async def _next(self, run: RunInfo, answer: Answer, may_tell: float) -> Answer:
        """When something has happened, but not before another frame may be sent."""
        if answer.status is Status.WAITING_INPUT and self._expected is not None:
            await self._input_or_change(run, self._expected, answer.cursor)
            if self._expected.done():
                return await self._give(run, self._expected.result(), answer)
        else:
            await self._change(run, answer.cursor)
        return await self._ask(run, answer.cursor, max(0.0, may_tell - _now()))

    async def _input_or_change(
        self, run: RunInfo, expected: asyncio.Future[str | bytes], cursor: Cursor
    ) -> None:
        changing = asyncio.ensure_future(self._change(run, cursor))
        either: set[asyncio.Future[Any]] = {expected, changing}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changing.cancel()
            await asyncio.wait({changing})
        if not changing.cancelled():
            changing.result()

    async def _change(self, run: RunInfo, cursor: Cursor) -> None:
        """Until there is a record behind the cursor, or it is time to look at the key again."""
        await self.service.log(
            self.owner,
            run.uid,
            after=cursor.seq,
            wait_s=PATIENCE_S,
            limit=1,
        )

    async def _give(self, run: RunInfo, text: str | bytes, answer: Answer) -> Answer:
        self._expected = None
        code = text if isinstance(text, str) else text.decode(errors="replace")
        with suppress(NotWaiting, WrongPrompt):  # something else has ended the wait just now
            return await self._ask(
                run,
                answer.cursor,
                PACE_S,
                mode=ExecuteMode.INPUT,
                code=code,
                prompt_id=answer.prompt_id,
            )
        return await self._ask(run, answer.cursor, 0.0)

    async def _ask(
        self,
        run: RunInfo,
        after: Cursor,
        wait_s: float,
        *,
        mode: ExecuteMode = ExecuteMode.CONTINUE,
        code: str = "",
        prompt_id: int | None = None,
    ) -> Answer:
        """From a place of our own: nobody who asks for the same run takes anything away."""
        call = ExecuteCall(
            kernel_id=self._session_id,
            mode=mode,
            run_id=run.id,
            code=code,
            prompt_id=prompt_id,
            wait_s=wait_s,
            after=after,
        )
        return await self.service.execute(self.owner, call)

    async def _interrupt(self, run: asyncio.Future[RunInfo]) -> None:
        """Nobody will read what it prints from now on."""
        with suppress(GatewayError):  # it was never taken, or has gone with its session
            uid = (await run).uid
            await self.service.cancel(
                self.owner, uid, escalate=False, message="the client has left"
            )


def _shown(answer: Answer, prompt: int | None) -> Answer:
    """To a client that was told of this prompt: it would ask its user a second time."""
    if answer.status is Status.WAITING_INPUT and answer.prompt_id == prompt:
        return replace(answer, status=Status.CONTINUED)
    return answer


def _now() -> float:
    return asyncio.get_running_loop().time()
