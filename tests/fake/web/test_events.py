"""`/api/runs/{id}/events`: the records of a run as they happen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.runs.records import Record, Seq, StateChanged
from kernel_gateway.web.runs import events, reading
from kernel_gateway.web.settings import OriginSettings, WebSettings
from tests.fake.web.events import listening
from tests.fake.web.gateway import TOKEN, Gateway, running_gateway

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from kernel_gateway.service import LogPage, Owner


async def started(gateway: Gateway, code: str, **more: Any) -> str:
    """The uid of a run that is being executed."""
    uid: str = (await gateway.run(code, wait=0, **more))["uid"]
    return uid


async def test_a_run_is_told_up_to_its_end_as_its_records_are(gateway: Gateway) -> None:
    uid = await started(gateway, "print a\nsleep\nprint b\nresult 5")
    async with listening(gateway, f"/api/runs/{uid}/events") as stream:
        assert 200 == stream.status
        assert "Content-Type: text/event-stream\r\n" in stream.head
        assert "X-Accel-Buffering: no\r\n" in stream.head
        assert "Cache-Control: no-store\r\n" in stream.head
        told = await stream.until("log")
        gateway.kernel.release()
        told += await stream.rest()
    items = (await gateway.get(f"/api/runs/{uid}/records")).json["items"]
    assert items == [event.data for event in told]
    assert [item["seq"] for item in items] == [event.id for event in told]
    assert [item["kind"] for item in items] == [event.kind for event in told]
    run = (await gateway.get(f"/api/runs/{uid}?outputs=false")).json
    assert run == told[-1].data["run"]


async def test_a_stream_is_open_before_anything_has_happened(gateway: Gateway) -> None:
    uid = await started(gateway, "sleep")
    async with listening(gateway, f"/api/runs/{uid}/events?after=1000") as stream:
        assert ": ping\nretry: 1000" == await stream.block()
        gateway.kernel.release()
        assert [] == await stream.rest()


async def test_a_silent_stream_says_that_it_is_there(tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, events_ping_s=0.01)
    async with running_gateway(tmp_path, settings) as gateway:
        uid = await started(gateway, "print a\nsleep")
        async with listening(gateway, f"/api/runs/{uid}/events") as stream:
            await stream.until("log")
            assert ": ping" == await stream.block()
            assert ": ping" == await stream.block()
            gateway.kernel.release()
            assert "completed" == (await stream.rest())[-1].kind


@pytest.mark.parametrize("how", ["header", "query", "both"])
async def test_a_stream_goes_on_where_it_was_cut(gateway: Gateway, how: str) -> None:
    uid = (await gateway.run("print a\nresult 1\nprint b"))["uid"]
    async with listening(gateway, f"/api/runs/{uid}/events") as stream:
        whole = await stream.rest()
    for seen in range(whole[-1].id):
        headers = {"Last-Event-ID": str(seen)} if how != "query" else {}
        query = {"header": "", "query": f"?after={seen}", "both": "?after=1"}[how]
        path = f"/api/runs/{uid}/events{query}"
        async with listening(gateway, path, headers) as stream:
            assert whole[seen:] == await stream.rest()


async def test_who_has_seen_the_end_is_told_to_ask_no_more(gateway: Gateway) -> None:
    run = await gateway.run("print a\nlate b")
    uid = run["uid"]
    page = (await gateway.get(f"/api/runs/{uid}/records")).json["items"]
    end = next(item["seq"] for item in page if item["kind"] == "completed")
    for seen in (end, end + 1, end + 1000):
        answer = await gateway.get(f"/api/runs/{uid}/events", headers={"Last-Event-ID": str(seen)})
        assert (204, b"") == (answer.status, answer.body)
    async with listening(gateway, f"/api/runs/{uid}/events?after={end - 1}") as stream:
        assert ["completed"] == [event.kind for event in await stream.rest()]


async def test_the_end_is_found_before_any_number_of_late_records(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAGE", 1)
    run = await gateway.run("result 1\nlate a")
    while "late" not in (await gateway.get(f"/api/runs/{run['uid']}/records")).body.decode():
        await asyncio.sleep(0)
    page = (await gateway.get(f"/api/runs/{run['uid']}/records")).json["items"]
    end = next(item["seq"] for item in page if item["kind"] == "completed")
    assert end < page[-1]["seq"]
    assert 204 == (await gateway.get(f"/api/runs/{run['uid']}/events?after={end}")).status
    async with listening(gateway, f"/api/runs/{run['uid']}/events") as stream:
        assert "completed" == (await stream.rest())[-1].kind


@pytest.mark.parametrize("seen", ["x", "-1", "1.5", "9" * 20])
async def test_an_id_that_was_never_told_is_422(gateway: Gateway, seen: str) -> None:
    uid = (await gateway.run("print a"))["uid"]
    answer = await gateway.get(f"/api/runs/{uid}/events", headers={"Last-Event-ID": seen})
    assert (422, "Last-Event-ID") == (answer.status, answer.error["field"])


async def test_a_browser_brings_its_token_in_the_address(tmp_path: Path) -> None:
    page = "https://notes.example"
    origins = OriginSettings(allow_origin=(page,))
    settings = WebSettings(token="plain", port=0, origins=origins)
    async with running_gateway(tmp_path, settings) as gateway:
        body = {"mode": "query", "code": "print a"}
        uid = (await gateway.post("/api/runs", body, token="plain")).json["uid"]
        path = f"/api/runs/{uid}/events?token=plain"
        async with listening(gateway, path, {"Origin": page}, token=None) as stream:
            assert f"Access-Control-Allow-Origin: {page}\r\n" in stream.head
            assert "completed" == (await stream.rest())[-1].kind
        async with listening(gateway, f"/api/runs/{uid}/events", token=None) as stream:
            assert 401 == stream.status


async def test_a_reader_that_leaves_changes_nothing(gateway: Gateway) -> None:
    uid = await started(gateway, "print a\nsleep\nprint b")
    async with listening(gateway, f"/api/runs/{uid}/events") as stream:
        await stream.until("log")
    gateway.kernel.release()
    async with listening(gateway, f"/api/runs/{uid}/events") as stream:
        assert "ok" == (await stream.rest())[-1].data["outcome"]


async def test_only_the_last_reader_to_leave_is_told_of(gateway: Gateway) -> None:
    """A slow one is there even while it is not waiting for more."""
    uid = await started(gateway, "print a\nsleep", cancel_on_disconnect=True)
    left: list[str] = []

    async def reader_left(owner: Owner, run_id: str) -> None:
        left.append(run_id)

    gateway.service.reader_left = reader_left  # type: ignore[method-assign]
    live = gateway.service._live[uid]
    async with listening(gateway, f"/api/runs/{uid}/events") as slow:
        await slow.until("log")
        async with listening(gateway, f"/api/runs/{uid}/events") as fast:
            await fast.until("log")
            while live.readers < 2:
                await asyncio.sleep(0)
        while live.readers > 1:
            await asyncio.sleep(0)
    while live.readers or not left:
        await asyncio.sleep(0)
    await gateway.get("/healthz")
    assert [uid] == left


async def test_the_last_reader_that_leaves_takes_a_run_along_that_asked_for_it(
    gateway: Gateway,
) -> None:
    uid = await started(gateway, "print a\nsleep", cancel_on_disconnect=True)
    async with listening(gateway, f"/api/runs/{uid}/events") as other:
        async with listening(gateway, f"/api/runs/{uid}/events") as stream:
            await stream.until("log")
        await other.until("log")
        assert "running" == (await gateway.get(f"/api/runs/{uid}")).json["state"]
    while (run := (await gateway.get(f"/api/runs/{uid}?outputs=false")).json)[
        "state"
    ] != "finished":
        await asyncio.sleep(0)  # and nobody reads meanwhile
    assert "cancelled" == run["outcome"]


async def test_a_run_that_is_removed_ends_its_streams(gateway: Gateway) -> None:
    """The client asks again, and is told 410."""
    uid = (await gateway.run("\n".join(f"result {n}" for n in range(400))))["uid"]
    log = gateway.service.log

    async def removed_meanwhile(owner: Any, run_id: str, **more: Any) -> LogPage:
        page = await log(owner, run_id, **more)
        if page.next == reading.PAGE:
            await gateway.service.delete_run(owner, run_id)
        return page

    gateway.service.log = removed_meanwhile  # type: ignore[method-assign]
    async with listening(gateway, f"/api/runs/{uid}/events") as stream:
        told = await stream.rest()
    assert "completed" not in [event.kind for event in told]
    assert 410 == (await gateway.get(f"/api/runs/{uid}/events")).status


async def test_what_the_store_no_longer_has_is_a_gap(gateway: Gateway) -> None:
    uid = (await gateway.run("print a"))["uid"]
    log = gateway.service.log

    async def begins_late(owner: Any, run_id: str, *, after: Seq, **more: Any) -> LogPage:
        return await log(owner, run_id, after=max(after, Seq(2)), **more)

    gateway.service.log = begins_late  # type: ignore[method-assign, assignment]
    async with listening(gateway, f"/api/runs/{uid}/events?after=0") as stream:
        first, second, *_ = await stream.rest()
    assert ("gap", 2) == (first.kind, first.id)
    assert {"run_id": uid, "uid": uid, "kind": "gap", "from": 1, "to": 2} == first.data
    assert 3 == second.id


async def test_a_slow_reader_costs_a_page_and_holds_nobody(gateway: Gateway) -> None:
    big = "x" * 2**20
    uid = await started(gateway, "\n".join(f'write "{big}\\n"' for _ in range(30)))
    asked = [0]
    log = gateway.service.log

    async def noted(owner: Any, run_id: str, *, after: Seq, **more: Any) -> LogPage:
        asked.append(after)
        return await log(owner, run_id, after=after, **more)

    while (await gateway.get(f"/api/runs/{uid}?outputs=false")).json["state"] != "finished":
        await asyncio.sleep(0)
    gateway.service.log = noted  # type: ignore[method-assign, assignment]
    async with listening(gateway, f"/api/runs/{uid}/events", limit=2**18) as stream:
        assert 200 == stream.status
        quiet = 0
        while quiet < 20:  # calls of others, and it has asked for no more
            before = asked[-1]
            assert 200 == (await gateway.get("/healthz")).status
            quiet = quiet + 1 if asked[-1] == before else 0
        last = (await gateway.get(f"/api/runs/{uid}?outputs=false")).json["log"]["next"] - 1
        assert before < last - reading.PAGE
        assert [*range(1, last + 1)] == [event.id for event in await stream.rest()]


def test_an_event_is_one_line_of_data_whatever_is_in_it() -> None:
    record = Record(seq=Seq(7), at=0.0, step=None, body=StateChanged(state="running"))
    told = events.event(record.seq, {"kind": "log", "text": "a\r\n\n\u2028é"})
    head = "id: 7\nevent: log\ndata: "
    assert f'{head}{{"kind":"log","text":"a\\r\\n\\n\u2028é"}}\n\n'.encode() == told
