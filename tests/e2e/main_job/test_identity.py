"""Which run a call means, and in which order runs have their turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import Counter, Gate, console

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Client, Kernel


async def test_the_same_call_sent_twice_runs_once_and_gets_the_same_answer(
    shared: Kernel, tmp_path: Path
) -> None:
    counter = Counter(tmp_path)
    code = f"{counter.code()}; print('ran'); 1 / 0"
    first = await shared.execute(mode="query", code=code, runId="once")
    again = await shared.execute(mode="query", code=code, runId="once")
    assert (200, "finished", 1) == (first.status, first.json["status"], first.json["exitCode"])
    assert first.json == again.json
    assert "ran\n" == console(first.json)
    assert ["x"] == counter.marks


async def test_fifty_calls_at_once_with_one_run_id_are_one_run(
    shared: Kernel, tmp_path: Path
) -> None:
    counter = Counter(tmp_path)
    code = f"print('ran'); {counter.code()}"
    calls = [shared.execute(mode="query", code=code, runId="one of 50") for _ in range(50)]
    answers = [answer.json for answer in await asyncio.gather(*calls)]
    assert {"finished"} == {answer["status"] for answer in answers}
    assert all(answer == answers[0] for answer in answers)
    assert ["x"] == counter.marks


async def test_the_same_call_during_a_run_attaches_to_it_and_hears_it_from_its_beginning(
    shared: Kernel, tmp_path: Path
) -> None:
    counter, gate = Counter(tmp_path), Gate(tmp_path)
    code = f"{counter.code()}; print('before'); {gate.code}; print('after')"
    talk = await shared.begin(code, "attached")
    opening = await gate.held()
    while talk.text() != "before\n":
        await talk.go_on()
    second = await shared.begin(code, "attached", wait=0.0)
    assert "before\n" == second.text()
    gate.pass_(opening)
    await second.to_the_end()
    assert "before\nafter\n" == second.text()
    assert ["x"] == counter.marks


async def test_a_run_id_with_other_code_is_a_conflict_and_nothing_runs(
    shared: Kernel, tmp_path: Path
) -> None:
    counter = Counter(tmp_path)
    await shared.run("print('mine')", "taken")
    refused = await shared.execute(mode="query", code=counter.code(), runId="taken")
    assert (409, "run_id_conflict") == (refused.status, refused.error["code"])
    assert "mine\n" == (await shared.run("print('mine')", "taken")).text()
    assert [] == counter.marks


async def test_continue_of_an_unknown_run_is_not_found_and_creates_none(shared: Kernel) -> None:
    for mode in ("continue", "input"):
        refused = await shared.execute(mode=mode, code="x", runId="nobody's")
        assert (404, "run_not_found") == (refused.status, refused.error["code"])
    assert "made\n" == (await shared.run("print('made')", "nobody's")).text()


async def test_run_ids_are_any_text(shared: Kernel, client: Client) -> None:
    for run_id in ("a/b c", "..", "ünï 🙂", "%2e%2e", "' OR 1=1 --", "x" * 255):
        talk = await shared.run("print('fine')", run_id)
        assert (run_id, "fine\n") == (talk.last["runId"], talk.text())
        uid = (await client.run(run_id, within=shared))["uid"] if run_id != ".." else None
        assert uid is None or run_id == (await client.run(uid))["id"]


async def test_overlapping_runs_come_in_their_order_and_a_failure_stops_none_behind_it(
    shared: Kernel, client: Client, tmp_path: Path
) -> None:
    counter, gate = Counter(tmp_path), Gate(tmp_path)
    first = await shared.begin(f"{counter.code('1')}; {gate.code}; 1 / 0")
    second = await shared.begin(f"{counter.code('2')}; print('second')")
    third = await shared.begin(f"{counter.code('3')}; print('third')")
    opening = await gate.held()
    standing = [await talk.standing() for talk in (first, second, third)]
    assert ["running", "queued", "queued"] == [run["state"] for run in standing]
    assert [None, 0, 1] == [run["queue_position"] for run in standing]
    assert "continued" == (await third.go_on(wait=0))["status"]
    gate.pass_(opening)
    await asyncio.gather(*(talk.to_the_end() for talk in (third, second, first)))
    assert [1, 0, 0] == [talk.exit_code for talk in (first, second, third)]
    assert ("second\n", "third\n") == (second.text(), third.text())
    assert ["1", "2", "3"] == counter.marks
    assert 1 == await shared.generation()


async def test_one_run_id_in_two_kernels_is_two_runs(shared: Kernel, client: Client) -> None:
    other = await client.kernel()
    here = await shared.run("print('here')", "twice")
    there = await other.run("print('there')", "twice")
    assert ("here\n", "there\n") == (here.text(), there.text())
    refused = await client.call("GET", "/api/runs/twice")
    assert (409, "run_id_ambiguous") == (refused.status, refused.error["code"])
    assert shared.id == (await client.run("twice", within=shared))["kernel"]["id"]
    assert 204 == (await other.delete()).status
