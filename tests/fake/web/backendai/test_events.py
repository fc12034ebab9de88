"""What happens to sessions, as a stream of events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.web.backendai.handler import BackendAIHandler
from kernel_gateway.web.settings import BackendAISettings, WebSettings
from tests.fake.web.backendai.client import ACCESS_KEY, Caller, add_key
from tests.fake.web.backendai.test_access import check_problem
from tests.fake.web.gateway import TOKEN, running_gateway

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_life_of_a_session_is_told_to_its_end(caller: Caller) -> None:
    made = await caller.create()
    async with caller.events(f"sessionId={made['sessionId']}&scope=*") as events:
        assert "text/event-stream" in events.head
        told = await events.until("session_started")
        await caller.call("DELETE", "/session/mine")
        told += await events.until("server_close")
        assert await events.next() is None
    names = [name for name, _ in told]
    assert "session_enqueued" == names[0]
    assert [
        "kernel_terminating",
        "session_terminating",
        "kernel_terminated",
        "session_terminated",
        "server_close",
    ] == names[-5:]
    for name, data in told[:-1]:
        assert ("mine", ACCESS_KEY) == (data["sessionName"], data["ownerAccessKey"]), name
        assert (made["sessionId"], str) == (data["sessionId"], type(data["reason"])), name


async def test_the_first_event_says_when_to_come_back(caller: Caller) -> None:
    await caller.create()
    async with caller.events("sessionName=mine") as events:
        assert "retry: 5000\n" in await events.chunk()
        assert "retry" not in await events.chunk()


async def test_a_scope_leaves_the_others_out(caller: Caller) -> None:
    await caller.create()
    async with (
        caller.events("sessionName=mine&scope=kernel") as of_kernel,
        caller.events("sessionName=mine&scope=session") as of_session,
    ):
        await caller.call("DELETE", "/session/mine")
        for events, prefix in ((of_kernel, "kernel_"), (of_session, "session_")):
            told = [name for name, _ in await events.until("server_close")]
            assert all(name.startswith(prefix) for name in told[:-1])
            assert f"{prefix}terminated" == told[-2]


async def test_all_sessions_of_an_owner_and_of_nobody_else(caller: Caller, other: Caller) -> None:
    await other.create("theirs")
    await caller.create("first")
    async with caller.events("sessionName=*") as events:
        await caller.create("second")
        await caller.call("DELETE", "/session/first")
        told = await events.until("session_terminated")
        await caller.call("DELETE", "/session/second")
        told += await events.until("session_terminated")  # it goes on
    assert {"first", "second"} == {data["sessionName"] for _, data in told}


async def test_a_stream_that_is_silent_says_that_it_is_there(tmp_path: Path) -> None:
    settings = BackendAISettings(keep_alive_s=0.01)
    async with running_gateway(
        tmp_path, WebSettings(token=TOKEN, port=0, backendai=settings)
    ) as gateway:
        await add_key(gateway, ACCESS_KEY)
        caller = Caller(gateway)
        async with caller.events("") as events:
            assert ": still here\n\n" == await events.chunk()
            await caller.create()
            while (block := await events.chunk()).startswith(":"):
                pass
            assert block.startswith("event: session_enqueued\n")


async def test_a_reader_who_has_just_left_is_nobodys_fault(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway speaks before it has heard of it; what it logs as an error fails a test."""
    await caller.create()
    deleted = asyncio.Event()

    async def leave(handler: BackendAIHandler) -> bool:
        await deleted.wait()  # so that the next event has come, too
        handler._connection.stream.close()  # those who wait for its end hear of it a turn later
        return True

    monkeypatch.setattr(BackendAIHandler, "still_welcome", leave)
    async with caller.events("sessionName=mine") as events:
        await caller.call("DELETE", "/session/mine")
        deleted.set()
        with pytest.raises(asyncio.IncompleteReadError):
            await events.reader.readexactly(1)


async def test_a_revoked_key_hears_no_more(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, backendai=BackendAISettings(keep_alive_s=0.01))
    async with running_gateway(tmp_path, settings) as gateway:
        await add_key(gateway, ACCESS_KEY)
        async with Caller(gateway).events("") as events:
            await events.chunk()
            await add_key(gateway, ACCESS_KEY, revoked_at=1.0)
            while await events.chunk():
                pass


async def test_sessions_that_are_not_there_have_no_events(caller: Caller, other: Caller) -> None:
    await other.create("theirs")
    for query in ("sessionName=none", "sessionName=theirs", "sessionId=none"):
        check_problem(await caller.get(f"/events/session?{query}"), 404, "object-not-found")
    answer = await caller.get("/events/session?scope=other")
    check_problem(answer, 400, "invalid-api-params")
