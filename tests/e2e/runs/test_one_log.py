"""All that a run prints is one log: whoever reads it, by whichever route, has the same bytes."""

from __future__ import annotations

import asyncio
import os
import random
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.main_job.gateway import Gate
from tests.e2e.runs.caller import parsed, path_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel, Talk
    from tests.e2e.runs.caller import Caller, Event

LINES = 200_000
CUTS = 50
RANGES = 8

#: What bytes leave the process beside Python's own stream comes when it comes, so it is waited for.
RAW = "import os; _ = os.write(1, b'raw \\xff\\xfe \\xf0\\x9f end\\n')"
PRINTS = f"""
import sys
for number in range({LINES}):
    print(number, 'é🙂 50 %\\r100 %')
    if number % 20_000 == 0: print(number, file=sys.stderr)
print('no newline', end='')
"""
PRINTED = "".join(f"{number} é🙂 50 %\r100 %\n" for number in range(LINES)) + "no newline"
COMPLAINED = "".join(f"{number}\n" for number in range(0, LINES, 20_000))

Texts = list[tuple[str, str]]


def merged(items: Iterable[tuple[str, str]]) -> Texts:
    """Neighbours of one stream as one: how they were parted is of no meaning."""
    return [
        (stream, "".join(text for _, text in group))
        for stream, group in groupby(items, key=lambda item: item[0])
    ]


def of_records(records: Iterable[Any]) -> Texts:
    return merged((item["stream"], item["text"]) for item in records if item["kind"] == "log")


def of_answers(talk: Talk) -> Texts:
    return merged((kind, text) for answer in talk.answers for kind, text in answer["console"])


async def of_log(caller: Caller, uid: str) -> Texts:
    items: list[Any] = []
    page = {"next": 0, "finished": False}
    while not page["finished"]:
        page = (await caller.call("GET", path_of(uid, f"/log?after={page['next']}"))).json
        items += page["items"]
    return merged((stream, text) for _, stream, text in items)


async def plain(caller: Caller, uid: str, query: str = "", **headers: str) -> bytes:
    async with caller.stream(
        path_of(uid, f"/log{query}"), {"Accept": "text/plain", **headers}
    ) as answer:
        assert answer.status == (206 if headers else 200)
        return await answer.read()


async def cut_events(caller: Caller, uid: str, cuts: Iterable[int]) -> list[Event]:
    """The stream, cut after so many bytes each time and resumed with the last ID it brought."""
    events: list[Event] = []
    for limit in (*cuts, None):
        events += await caller.events(uid, last_id=events[-1].id if events else None, limit=limit)
    return events


@pytest.mark.parametrize("seed", [os.urandom(8).hex()])
async def test_polls_events_records_log_and_text_have_the_same_bytes(
    kernel: Kernel, caller: Caller, tmp_path: Path, seed: str
) -> None:
    """The seed stands in the name of a test that has failed."""
    chance = random.Random(seed)
    gate = Gate(tmp_path)
    talk = await kernel.begin(f"{RAW}\n{gate.code}{PRINTS}", wait=0.0)
    uid = (await talk.standing())["uid"]
    await caller.printed(uid, "end\n")
    # Together they are shorter than the text alone, so that the stream does not end before them.
    cuts = [chance.randint(1, len(PRINTED) // CUTS) for _ in range(CUTS)]
    reading = asyncio.create_task(cut_events(caller, uid, cuts))
    await gate.open()
    await talk.to_the_end()
    events = await reading
    records = await caller.records(uid)
    told = of_records(records)

    streams = {name: "".join(text for stream, text in told if stream == name) for name, _ in told}
    raw, _, printed = streams["stdout"].partition("end\n")
    assert "raw \ufffd\ufffd \ufffd " == raw
    assert (PRINTED, COMPLAINED) == (printed, streams["stderr"])

    assert told == of_answers(talk)
    assert told == of_records(event.data for event in events)
    assert told == await of_log(caller, uid)
    numbers = [event.id for event in events]
    assert list(range(1, len(numbers) + 1)) == numbers
    assert "completed" == events[-1].event
    assert [event.data for event in events[:-1]] == records[: len(events) - 1]

    text = "".join(text for _, text in told).encode()
    assert text == await plain(caller, uid)
    for stream, expected in streams.items():
        assert expected.encode() == await plain(caller, uid, f"?stream={stream}")
    run = await caller.run(uid)
    assert (len(text), 0) == (run["log"]["bytes"], run["log"]["dropped"])
    marks = [0, *sorted(chance.sample(range(1, len(text)), RANGES - 1)), len(text)]
    pieces = [
        await plain(caller, uid, Range=f"bytes={first}-{end - 1}") for first, end in pairwise(marks)
    ]
    assert text == b"".join(pieces)

    # Far fewer than lines: what gathers while the store is busy is one record.
    assert len(records) < LINES / 100


async def test_events_resume_at_every_record_of_a_run_that_is_over(caller: Caller) -> None:
    run = await caller.done(code="for n in range(20): print(n, flush=True); display(n)")
    data = await whole_stream(caller, run["uid"])
    whole = parsed(data)
    for number, event in enumerate(whole[:-1], start=1):
        rest = await caller.events(run["uid"], last_id=event.id)
        assert whole[number:] == rest
        after = await whole_stream(caller, run["uid"], f"?after={event.id}")
        assert whole[number:] == parsed(after)
    # Who has seen the end is told not to come again.
    async with caller.stream(
        path_of(run["uid"], "/events"), {"Last-Event-ID": str(whole[-1].id)}
    ) as stream:
        assert 204 == stream.status


async def whole_stream(caller: Caller, uid: str, query: str = "") -> bytes:
    async with caller.stream(path_of(uid, f"/events{query}"), {}) as stream:
        return await stream.read()


async def test_a_reader_that_does_not_read_holds_up_nobody_and_finds_everything(
    kernel: Kernel, caller: Caller, tmp_path: Path
) -> None:
    """The flood is more than the sockets between them take."""
    gate = Gate(tmp_path)
    flood = await kernel.begin(f"{gate.code}; print('\\n'.join(['x' * 1023] * 16 * 1024))")
    async with caller.stream(path_of(flood.run_id, "/events"), {}) as asleep:
        await gate.open()
        await flood.to_the_end()
        assert "next\n" == (await kernel.run("print('next')")).text()
        events = parsed(await asleep.read())
    assert ("x" * 1023 + "\n") * 16 * 1024 == text_of(events) == flood.text()
    assert "completed" == events[-1].event
