"""Sessions: names, folders, events, completion, logs; each belongs to one owner."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import (
    DiskFull,
    Draining,
    FileNotThere,
    KernelDead,
    KernelNotFound,
    KernelSpecNotFound,
    OurFault,
    RunIdConflict,
    SessionExists,
    SessionNotFound,
)
from kernel_gateway.execution.folder import SessionFolder
from kernel_gateway.execution.local import LocalService
from kernel_gateway.execution.session import WARM_UP_AFTER_S
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.service import BatchCommands, Owner, SessionEvent, SessionRequest
from kernel_gateway.store.values import PutKey, StoredKey
from tests.fake.execution.conftest import HANG_LIMIT_S, ME, Bench, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.kernels.fake import FakeBehaviour
    from kernel_gateway.store.store import Store

YOU = Owner("you")


async def test_a_name_finds_the_session_again(bench: Bench) -> None:
    made = await bench.a_session("main")
    again = await bench.a_session("main")
    assert (True, False, made.id) == (made.created, again.created, again.id)
    assert made.id == (await bench.service.session(ME, "main")).id
    assert made.id == (await bench.service.session(ME, made.id)).id


async def test_two_calls_at_once_make_one_session(bench: Bench) -> None:
    views = await asyncio.gather(*(bench.a_session("main") for _ in range(5)))
    assert 1 == len({view.id for view in views})
    assert 1 == sum(view.created for view in views)


async def test_a_name_is_not_used_again_for_another_image(bench: Bench) -> None:
    made = await bench.a_session("main")
    for request in (
        SessionRequest(image="python:3.9", name="main"),
        SessionRequest(image="python", name="main", reuse=False),
    ):
        with pytest.raises(SessionExists) as caught:
            await bench.service.create_session(ME, request)
        assert made.id == caught.value.session_id


async def test_a_session_of_somebody_else_does_not_exist(bench: Bench) -> None:
    mine = await bench.a_session("main")
    yours = await bench.a_session("main", owner=YOU)
    assert mine.id != yours.id
    for name in (mine.id, "nobody"):
        with pytest.raises(SessionNotFound):
            await bench.service.session(YOU, name)
    with pytest.raises(KernelNotFound):
        await bench.call(mine.id, "print x", owner=YOU)
    assert [yours.id] == [view.id for view in await bench.service.sessions(YOU)]


async def test_a_session_tells_how_it_stands(bench: Bench) -> None:
    request = SessionRequest(image="python:3.11", name="main", tag="mine", env={"A": "1"})
    made = await bench.service.create_session(ME, request)
    await bench.service.kernel_ready(ME, made.id)
    await bench.run(made.id, "print x")
    bench.clock.advance(5)
    view = await bench.service.session(ME, "main")
    assert ("python:3.11", "python", "mine", {"A": "1"}) == (
        view.image,
        view.language,
        view.tag,
        view.env,
    )
    assert (1, 5.0, "idle") == (view.run_count, view.age_s, view.kernel.state)
    assert {"A": "1"} == bench.kernel.request.env


async def test_an_image_that_nobody_knows_is_refused_and_leaves_nothing(
    bench: Bench, engine_settings: EngineSettings
) -> None:
    with pytest.raises(KernelSpecNotFound, match="no kernel for the image 'cobol'"):
        await bench.service.create_session(ME, SessionRequest(image="cobol"))
    assert [] == await bench.service.sessions(ME)
    assert engine_settings.sessions_dir is not None
    assert not engine_settings.sessions_dir.exists()


async def test_the_name_of_a_kernelspec_is_an_image_too(bench: Bench) -> None:
    request = SessionRequest(image="kernel-gateway-command")
    made = await bench.service.create_session(ME, request)
    assert "kernel-gateway-command" == made.kernel.name
    await bench.service.kernel_ready(ME, made.id)
    await bench.batch(made.id, "r", exec="print x")
    await bench.until_state("r", "finished")
    assert 1 == len(bench.launcher.kernels)  # its commands need no second one


async def test_a_language_whose_kernel_is_not_installed_is_refused(bench: Bench) -> None:
    with pytest.raises(KernelSpecNotFound):
        await bench.service.create_session(ME, SessionRequest(image="julia", name="main"))
    with pytest.raises(SessionNotFound):
        await bench.service.session(ME, "main")


async def test_files_stay_over_a_restart_and_go_with_the_session(bench: Bench) -> None:
    made = await bench.a_session("main")
    await bench.service.put_files(ME, made.id, {"a/b.txt": b"x"})
    await bench.service.restart_kernel(ME, made.id)
    listing = await bench.service.list_files(ME, "main", "a")
    assert ["b.txt"] == [entry.name for entry in listing.entries]
    (archive,) = await bench.service.archives(ME, made.id, ["a"])
    assert b"b.txt" in b"".join([piece async for piece in archive])
    with pytest.raises(FileNotThere):
        await bench.service.archives(ME, made.id, ["a", "missing"])
    await bench.service.delete_kernel(ME, made.id)
    assert not listing.path.exists()


async def test_a_folder_that_its_own_code_has_removed_is_there_again_after_a_restart(
    bench: Bench,
) -> None:
    made = await bench.a_session("main")
    folder = (await bench.service.list_files(ME, made.id, ".")).path
    folder.rmdir()
    await bench.service.restart_kernel(ME, made.id)
    assert folder.is_dir()


async def test_a_kernel_of_jupyters_clients_has_no_folder(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    with pytest.raises(FileNotThere):
        await bench.service.list_files(ME, kernel_id, ".")


async def test_folders_of_a_killed_gateway_are_removed(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    assert engine_settings.sessions_dir is not None
    left = engine_settings.sessions_dir / "left"
    left.mkdir(parents=True)
    service = LocalService(bench.launcher, store, engine_settings, clock=bench.clock)
    await service.start()
    await service.close()
    assert not left.exists()


# -- what goes wrong ------------------------------------------------------------------------------


class Held:
    """A step that waits in its thread until it is let go."""

    def __init__(self, step: Callable[..., None]) -> None:
        self._step = step
        self._gate = threading.Event()
        self.begun = threading.Event()

    def __call__(self, *arguments: object) -> None:
        self.begun.set()
        assert self._gate.wait(HANG_LIMIT_S)
        self._step(*arguments)

    def let_go(self) -> None:
        self._gate.set()


async def test_a_session_that_is_made_while_the_gateway_closes_is_refused(
    bench: Bench, engine_settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Held(SessionFolder.create)
    monkeypatch.setattr(SessionFolder, "create", lambda folder: create(folder))
    request = SessionRequest(image="python", name="main")
    making = asyncio.create_task(bench.service.create_session(ME, request))
    await bench.until(create.begun.is_set)
    await bench.service.close()
    create.let_go()
    with pytest.raises(Draining):
        await making
    assert [] == bench.launcher.kernels
    assert engine_settings.sessions_dir is not None
    assert [] == list(engine_settings.sessions_dir.iterdir())


async def test_the_end_of_the_gateway_waits_for_a_session_that_is_being_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await bench.a_session("main")
    remove = Held(SessionFolder.remove)
    monkeypatch.setattr(SessionFolder, "remove", lambda folder: remove(folder))
    ending = asyncio.create_task(bench.service.delete_kernel(ME, made.id))
    await bench.until(remove.begun.is_set)
    closing = asyncio.create_task(bench.service.close())
    await asyncio.sleep(0)
    assert not closing.done()
    remove.let_go()
    await asyncio.gather(ending, closing)


async def test_a_folder_that_cannot_be_removed_stops_neither_an_end_nor_a_start(
    bench: Bench,
    store: Store,
    engine_settings: EngineSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def remove(folder: SessionFolder) -> None:
        raise OurFault(f"{folder.path} cannot be removed")

    made = await bench.a_session("main")
    await bench.a_session("other")
    monkeypatch.setattr(SessionFolder, "remove", remove)
    events = bench.service.session_events(ME, "main")
    await bench.service.delete_kernel(ME, made.id)
    assert "terminated" == (await names(events))[-1]
    await bench.service.close()
    again = LocalService(bench.launcher, store, engine_settings, clock=bench.clock)
    await again.start()
    await again.close()
    # Of each session the folder and that of its artifacts, by its end and by the next start.
    assert 8 == caplog.text.count("cannot be removed")


async def test_a_folder_that_cannot_be_made_leaves_the_name_free(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(folder: SessionFolder) -> None:
        raise DiskFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(SessionFolder, "create", create)
        with pytest.raises(DiskFull):
            await bench.a_session("main")
    assert (await bench.a_session("main")).created


async def test_a_session_that_never_came_up_is_out_of_the_way_of_another_try(
    bench: Bench, behaviour: FakeBehaviour
) -> None:
    request = SessionRequest(image="python", name="main")
    bench.launcher.behaviour = replace(behaviour, dies_at_start=KernelExit(exit_code=1))
    first = await bench.service.create_session(ME, request)
    with pytest.raises(KernelDead):
        await bench.service.kernel_ready(ME, first.id)
    bench.launcher.behaviour = behaviour
    again = await bench.a_session("main")
    assert (True, [again.id]) == (
        again.created,
        [view.id for view in await bench.service.sessions(ME)],
    )


async def test_ready_means_ready_also_while_a_kernel_that_dies_again_and_again_has_a_rest(
    bench: Bench,
) -> None:
    made = await bench.a_session()
    for count in (1, 2):
        await bench.until_kernel(made.id, "idle")
        assert count == bench.kernel.generation
        await bench.kernel.kill()
        await bench.kernel.wait_dead()
    await bench.until_kernel(made.id, "autorestarting")
    ready = asyncio.create_task(bench.service.kernel_ready(ME, made.id))
    await asyncio.sleep(0)
    assert not ready.done()
    await bench.service.restart_kernel(ME, made.id)  # asked for: at once
    assert ("idle", 3) == ((await ready).state, (await ready).generation)


# -- events ---------------------------------------------------------------------------------------


async def names(events: AsyncIterator[SessionEvent]) -> list[str]:
    return [event.event.value async for event in events]


BEGINNING = ["enqueued", "scheduled", "preparing", "creating", "started"]


async def test_events_of_a_session_are_told_from_its_beginning_to_its_end(bench: Bench) -> None:
    made = await bench.a_session("main")
    events = bench.service.session_events(ME, "main")
    await bench.service.restart_kernel(ME, made.id)  # is no event of its own
    await bench.service.kernel_ready(ME, made.id)
    await bench.service.delete_kernel(ME, made.id)
    assert [*BEGINNING, "terminating", "terminated"] == await names(events)


async def test_a_kernel_that_never_comes_up_cancels_its_session(
    bench: Bench, behaviour: FakeBehaviour
) -> None:
    bench.launcher.behaviour = replace(behaviour, dies_at_start=KernelExit(exit_code=1))
    await bench.service.create_session(ME, SessionRequest(image="python", name="main"))
    told = await names(bench.service.session_events(ME, "main"))
    assert [*BEGINNING[:-1], "cancelled"] == told


async def test_events_of_all_sessions_are_told_to_their_owner_alone(bench: Bench) -> None:
    await bench.a_session("yours", owner=YOU)
    await bench.a_session("mine")
    events = bench.service.session_events(ME)
    told = [await anext(events) for _ in BEGINNING]
    await events.aclose()  # type: ignore[attr-defined]
    assert {"mine"} == {event.session_name for event in told}


async def test_a_name_is_free_when_its_session_ends(bench: Bench) -> None:
    made = await bench.a_session("main")
    await bench.service.delete_kernel(ME, made.id)
    assert made.id != (await bench.a_session("main")).id


# -- completion ------------------------------------------------------------------------------


async def test_a_completion_knows_what_could_stand_there(bench: Bench) -> None:
    made = await bench.a_session()
    found = await bench.service.complete(ME, made.id, "x\npri", 5)
    assert (("print",), 2, 5) == (found.matches, found.start, found.end)


async def test_a_completion_does_not_mind_a_batch_run(bench: Bench) -> None:
    made = await bench.a_session()
    commands = BatchCommands(exec="print go\nsleep")
    await bench.call(made.id, mode="batch", run_id="r", commands=commands)
    await bench.until_told("r", "go")
    assert ("print",) == (await bench.service.complete(ME, made.id, "pri", 3)).matches


async def test_a_completion_never_waits_behind_a_run(bench: Bench) -> None:
    made = await bench.a_session()
    await bench.started(made.id, "print go\nsleep", "r")
    await bench.until_told("r", "go")
    assert () == (await bench.service.complete(ME, made.id, "pri", 3)).matches


async def test_a_completion_ends_with_its_kernel_and_with_its_time(bench: Bench) -> None:
    made = await bench.a_session()
    for end in (bench.kernel.kill, _advance(bench)):
        await bench.until(lambda: bench.kernel._ready)
        bench.kernel._receive = lambda request: None  # type: ignore[method-assign]
        asked = asyncio.create_task(bench.service.complete(ME, made.id, "pri", 3))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await end()
        assert () == (await asked).matches


def _advance(bench: Bench):  # type: ignore[no-untyped-def]
    async def advance() -> None:
        bench.clock.advance(30)

    return advance


async def test_the_first_completion_is_made_warm_when_nobody_waits(bench: Bench) -> None:
    made = await bench.a_session()

    def warmed() -> int:
        return sum(request.msg_type == "complete_request" for request in bench.kernel.requests)

    await bench.started(made.id, "print go\nsleep", "r")
    await bench.until_told("r", "go")
    bench.clock.advance(WARM_UP_AFTER_S + 1)
    assert 0 == warmed()
    bench.kernel.release()
    await bench.until_state("r", "finished")
    bench.clock.advance(WARM_UP_AFTER_S + 1)
    assert 1 == warmed()
    bench.clock.advance(WARM_UP_AFTER_S + 1)
    await bench.run(made.id, "print x")
    bench.clock.advance(WARM_UP_AFTER_S + 1)
    assert 1 == warmed()


# -- runs ------------------------------------------------------------------------------------


async def test_the_log_of_a_session_is_the_end_of_all_its_runs(bench: Bench) -> None:
    made = await bench.a_session("main")
    await bench.run(made.id, "print one\nstderr two\nresult 2")
    bench.clock.advance(0.1)
    await bench.run(made.id, "print three")
    assert "one\ntwo\n2\nthree\n" == await bench.service.session_log(ME, "main", limit_chars=1000)
    assert "\n2\nthree\n" == await bench.service.session_log(ME, "main", limit_chars=9)


async def test_the_id_of_a_finished_run_may_be_used_anew_where_that_is_the_rule(
    bench: Bench,
) -> None:
    made = await bench.a_session()
    first = await bench.run(made.id, "print one", "r")
    uid = (await bench.service.run(ME, "r")).uid
    with pytest.raises(RunIdConflict):
        await bench.call(made.id, "print two", run_id="r")
    second = await bench.call(made.id, "print two", run_id="r", wait_s=9.0, reuse_finished=True)
    assert ("one\n", "two\n") == (text(first), text(second))
    assert uid != (await bench.service.run(ME, "r")).uid
    assert uid == (await bench.service.run(ME, uid)).uid
    same = await bench.call(made.id, "print two", run_id="r", wait_s=9.0, reuse_finished=True)
    assert "two\n" == text(same)
    assert 2 == (await bench.service.session(ME, made.id)).run_count


async def test_the_id_of_a_run_that_is_not_over_is_never_used_anew(bench: Bench) -> None:
    made = await bench.a_session()
    await bench.started(made.id, "sleep", "r")
    with pytest.raises(RunIdConflict):
        await bench.call(made.id, "print two", run_id="r", reuse_finished=True)
    bench.kernel.release()


# -- keys ------------------------------------------------------------------------------------


async def test_a_key_is_good_until_it_is_revoked(bench: Bench, store: Store) -> None:
    key = StoredKey(access_key="AK", secret="s", owner=ME, created_at=0.0, revoked_at=None)
    await store.write(PutKey(key))
    found = await bench.service.key("AK")
    assert found is not None
    assert ("s", ME) == (found.secret, found.owner)
    assert "'s'" not in repr(found)
    revoked = StoredKey(access_key="AK", secret="s", owner=ME, created_at=0.0, revoked_at=1.0)
    await store.write(PutKey(revoked))
    assert await bench.service.key("AK") is None
    assert await bench.service.key("other") is None
