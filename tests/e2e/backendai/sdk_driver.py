"""Lets the tests use Backend.AI's SDK: a program for the environment of the client alone.

A line of standard input asks for something, `{"id": 1, "do": "create", "with": {...}}`; its answer
is a line of standard output, when it is there: `{"id": 1, "value": ...}`, or "refused" with what
the server has said, or "failed". Many may be asked for at one time. Knows the SDK and nothing of
the gateway; settings are those of the environment, as the SDK reads them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import count
from typing import Any

# They are in the environment of the client, where the type checker is not.
from ai.backend.client.exceptions import BackendAPIError  # type: ignore[import-not-found]
from ai.backend.client.output.fields import session_fields  # type: ignore[import-not-found]
from ai.backend.client.session import AsyncSession  # type: ignore[import-not-found]

LINE_LIMIT = 2**26


class Driver:
    """What can be asked for, by its name: one method each."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._sessions: dict[str, Any] = {}
        self._streams: dict[int, tuple[Any, Any, Any]] = {}  # its context, itself, its iterator
        self._numbers = count(1)

    async def create(self, image: str, name: str, **options: Any) -> dict[str, Any]:
        session = await self._api.ComputeSession.get_or_create(image, name=name, **options)
        self._sessions[name] = session
        return {
            "id": str(session.id),
            "name": session.name,
            "created": session.created,
            "status": session.status,
            "service_ports": session.service_ports,
        }

    async def call(self, session: str, method: str, args: list[Any], more: dict[str, Any]) -> Any:
        value = await getattr(self._session(session), method)(*args, **more)
        return {"status": value.status} if method == "upload" else value

    async def list(self, *fields: str) -> list[Any]:
        page = await self._api.ComputeSession.paginated_list(
            "RUNNING", fields=[session_fields[name] for name in fields]
        )
        assert page.total_count == len(page.items)
        items: list[Any] = page.items
        return items

    async def version(self) -> Any:
        return (await self._api.ComputeSession.hello())["version"]

    # -- streams: of execute, and of events

    async def stream(self, session: str, **how: Any) -> int:
        return await self._open(self._session(session).stream_execute(**how))

    async def events(self, session: str, **how: Any) -> int:
        return await self._open(self._session(session).listen_events(**how))

    async def frame(self, stream: int) -> Any:
        """Null after the last."""
        message = await anext(self._streams[stream][2], None)
        return None if message is None else message.json()

    async def event(self, stream: int) -> Any:
        message = await anext(self._streams[stream][2], None)
        return None if message is None else [message.event, json.loads(message.data or "null")]

    async def send(self, stream: int, text: str) -> None:
        await self._streams[stream][1].send_str(text)

    async def leave(self, stream: int) -> None:
        """As a user does who leaves the `async with`."""
        await self._streams.pop(stream)[0].__aexit__(None, None, None)

    async def _open(self, context: Any) -> int:
        opened = await context.__aenter__()
        number = next(self._numbers)
        self._streams[number] = (context, opened, aiter(opened))
        return number

    def _session(self, name: str) -> Any:
        return self._sessions.get(name) or self._api.ComputeSession(name)


async def main() -> None:
    reader = asyncio.StreamReader(LINE_LIMIT)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async with AsyncSession() as api:
        driver = Driver(api)
        tasks = set()
        async for line in reader:
            task = asyncio.create_task(perform(driver, **json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in tasks:  # nobody is there any more to be answered
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def perform(driver: Driver, **asked: Any) -> None:
    method = getattr(driver, asked["do"])
    try:
        answer = {"value": await method(*asked["args"], **asked["with"])}
    except BackendAPIError as error:
        answer = {"refused": [error.status, error.data]}
    except Exception as error:  # whatever it is: the test is to see it
        answer = {"failed": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps({"id": asked["id"], **answer}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
