"""Sessions: made, looked at, interrupted, restarted, ended; and what a running one can be asked."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.errors import KernelDead, TooLarge
from kernel_gateway.service import BatchCommands, ExecuteCall, ExecuteMode, KernelState
from kernel_gateway.web.backendai import render, schemas, versions
from kernel_gateway.web.backendai.handler import BackendAIHandler
from kernel_gateway.web.handler import NoSuchRoute

if TYPE_CHECKING:
    from kernel_gateway.service import SessionView
    from kernel_gateway.web.backendai.schemas import NewSession

LOG_CHARS = 524_288  # of the end of all that a session has printed


class Probe(NoSuchRoute):
    """`GET /`, which the client asks for the version before it signs anything. Nothing else is
    served at the root."""

    def _admit(self) -> None:
        if self.request.method == "GET":
            self.door.hosts.check(self.request.host)
            self._check_size(self._announced_size())
        else:
            super()._admit()

    def _check_size(self, size: int) -> None:
        """Nobody has to say who they are: so nothing is kept of what they send."""
        if size > 0 and self.request.method == "GET":
            raise TooLarge("This call has no body.")
        super()._check_size(size)

    async def on_get(self) -> None:
        self.answer({"version": versions.SPOKEN, "manager": self.door.version})


class Announcement(BackendAIHandler):
    async def on_get(self) -> None:
        self.answer({"enabled": False, "message": ""})


class Sessions(BackendAIHandler):
    async def on_post(self) -> None:
        asked = schemas.new_session(self.body())
        self.check_owner(asked.owner_access_key)
        session = await self.service.create_session(self.owner, asked.request)
        if asked.command and session.created:
            await self._run(session, asked.command)
        status = await self._status(session, asked)
        code = HTTPStatus.CREATED if session.created else HTTPStatus.OK
        self.answer(render.created_json(session, status), code)

    async def _status(self, session: SessionView, asked: NewSession) -> str:
        """The client stops at anything but RUNNING, so that is said when runs can be taken."""
        if asked.at_once:
            is_up = session.kernel.state in {KernelState.IDLE, KernelState.BUSY}
            return "RUNNING" if is_up else "PENDING"
        try:
            async with asyncio.timeout(asked.max_wait_s):
                await self.held(self.service.kernel_ready(self.owner, session.id))
        except TimeoutError:
            return "TIMEOUT"
        except KernelDead:
            await self._give_up(session)
            raise  # with its reason, which the status ERROR would not tell
        return "RUNNING"

    async def _give_up(self, session: SessionView) -> None:
        """One that never came up does not keep its name. One that is found dead has files."""
        if session.created:
            await self.service.delete_kernel(self.owner, session.id)

    async def _run(self, session: SessionView, command: str) -> None:
        call = ExecuteCall(
            kernel_id=session.id,
            mode=ExecuteMode.BATCH,
            run_id=None,
            commands=BatchCommands(exec=command),
            wait_s=0.0,
        )
        await self.service.execute(self.owner, call)


class Session(BackendAIHandler):
    async def on_get(self, name: str) -> None:
        self.answer(render.info_json(await self.session(name)))

    async def on_post(self, name: str) -> None:
        """One call of the execute API, held until its answer is there."""
        session = await self.session(name)
        limit = self.door.settings.max_code_bytes
        call = schemas.execute_call(session.id, self.body(), max_code_bytes=limit)
        answer = await self.held(self.service.execute(self.owner, call))
        self.answer(render.result_json(answer))

    async def on_patch(self, name: str) -> None:
        session = await self.session(name)
        await self.service.restart_kernel(self.owner, session.id)
        await self.held(self.service.kernel_ready(self.owner, session.id))
        self.set_status(HTTPStatus.NO_CONTENT)

    async def on_delete(self, name: str) -> None:
        session = await self.session(name)
        await self.service.delete_kernel(self.owner, session.id)
        # Empty but for the key that the client takes out before it shows the rest.
        self.answer({"stats": {"status": "terminated"}})


class Interrupt(BackendAIHandler):
    async def on_post(self, name: str) -> None:
        session = await self.session(name)
        await self.service.interrupt_kernel(self.owner, session.id)
        self.set_status(HTTPStatus.NO_CONTENT)


class Complete(BackendAIHandler):
    async def on_post(self, name: str) -> None:
        session = await self.session(name)
        place = schemas.place(self.body())
        completing = self.service.complete(self.owner, session.id, place.code, place.cursor)
        self.answer(render.completion_json(await self.held(completing)))


class Logs(BackendAIHandler):
    async def on_get(self, name: str) -> None:
        session = await self.session(name)
        text = await self.service.session_log(self.owner, session.id, limit_chars=LOG_CHARS)
        self.answer({"result": {"logs": text}})
