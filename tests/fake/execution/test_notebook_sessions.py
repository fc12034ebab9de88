"""Sessions of notebooks: a path, its kernel, and what becomes of both."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import (
    KernelNotFound,
    KernelSpecNotFound,
    SessionExists,
    SessionNotFound,
    TooManyKernels,
)
from kernel_gateway.execution.local import LocalService
from kernel_gateway.kernels.kernel import KernelExit
from kernel_gateway.service import (
    KernelRequest,
    NotebookSessionChange,
    NotebookSessionRequest,
    NotebookSessionView,
    Owner,
)
from tests.fake.execution.conftest import ME, Bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.kernels.fake import FakeBehaviour
    from kernel_gateway.store.store import Store

YOU = Owner("you")
DAY_S = 86_400.0


async def opened(
    bench: Bench, path: str = "a.ipynb", owner: Owner = ME, **request: Any
) -> NotebookSessionView:
    return await bench.service.open_notebook_session(
        owner, NotebookSessionRequest(path=path, **request)
    )


async def changed(bench: Bench, session_id: str, **change: Any) -> NotebookSessionView:
    return await bench.service.change_notebook_session(
        ME, session_id, NotebookSessionChange(**change)
    )


async def listed(bench: Bench, owner: Owner = ME) -> list[NotebookSessionView]:
    return await bench.service.notebook_sessions(owner)


def is_up(session: NotebookSessionView) -> bool:
    """Or on its way."""
    return session.kernel.state in {"starting", "idle"}


async def kernels(bench: Bench) -> list[str]:
    return [kernel.id for kernel in await bench.service.kernels(ME)]


@asynccontextmanager
async def restarted(bench: Bench, store: Store, settings: EngineSettings) -> AsyncIterator[Bench]:
    """The next gateway on the same store."""
    await bench.service.close()
    service = LocalService(bench.launcher, store, settings, clock=bench.clock)
    await service.start()
    yield Bench(service, bench.launcher, bench.clock)
    await service.close()


# -- opening --------------------------------------------------------------------------------------


async def test_a_path_is_opened_once_and_found_again(bench: Bench) -> None:
    made = await opened(bench, name="A", type="notebook")
    again = await opened(bench, name="other", type="console")
    assert (True, False) == (made.created, again.created)
    assert (made.id, made.name, made.kernel.id) == (again.id, again.name, again.kernel.id)
    assert ("a.ipynb", "A", "notebook") == (made.path, made.name, made.type)
    assert is_up(made)
    assert [again] == await listed(bench)
    assert [made.kernel.id] == await kernels(bench)


async def test_two_calls_at_once_make_one_session_with_one_kernel(bench: Bench) -> None:
    views = await asyncio.gather(*(opened(bench) for _ in range(5)))
    assert 1 == len({view.id for view in views})
    assert 1 == len({view.kernel.id for view in views})
    assert 1 == sum(view.created for view in views)
    assert 1 == len(bench.launcher.kernels)


async def test_a_session_is_attached_to_a_kernel_that_is_there(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    made = await opened(bench, kernel_id=kernel_id)
    assert kernel_id == made.kernel.id
    assert [kernel_id] == await kernels(bench)


@pytest.mark.parametrize("owner", [ME, YOU])
async def test_a_kernel_that_is_not_there_or_of_somebody_else_is_not_found(
    bench: Bench, owner: Owner
) -> None:
    kernel_id = await bench.a_kernel() if owner == YOU else "nobody"
    with pytest.raises(KernelNotFound):
        await opened(bench, owner=owner, kernel_id=kernel_id)
    assert [] == await listed(bench, owner)


async def test_a_kernel_that_cannot_be_made_leaves_no_session(bench: Bench) -> None:
    with pytest.raises(KernelSpecNotFound):
        await opened(bench, kernel=KernelRequest(name="cobol"))
    assert [] == await listed(bench)
    assert (await opened(bench)).created


async def test_sessions_of_somebody_else_do_not_exist(bench: Bench) -> None:
    mine, yours = await opened(bench), await opened(bench, owner=YOU)
    assert mine.id != yours.id
    assert [mine.id] == [view.id for view in await listed(bench)]
    with pytest.raises(SessionNotFound):
        await bench.service.notebook_session(ME, yours.id)
    with pytest.raises(SessionNotFound):
        await changed(bench, yours.id, path="mine")
    with pytest.raises(SessionNotFound):
        await bench.service.end_notebook_session(ME, yours.id)


async def test_sessions_are_listed_oldest_first(bench: Bench) -> None:
    first, second = await opened(bench, "z"), await opened(bench, "a")
    await changed(bench, first.id, path="y")
    assert ["y", "a"] == [view.path for view in await listed(bench)]
    assert second.id == (await opened(bench, "a")).id


# -- changing -------------------------------------------------------------------------------------


async def test_a_session_is_moved_and_renamed_and_keeps_its_kernel(bench: Bench) -> None:
    made = await opened(bench)
    moved = await changed(bench, made.id, path="b.ipynb", name="B", type="file")
    assert (made.id, "b.ipynb", "B", "file") == (moved.id, moved.path, moved.name, moved.type)
    assert made.kernel.id == moved.kernel.id
    assert moved == await bench.service.notebook_session(ME, made.id)
    assert made.id == (await opened(bench, "b.ipynb")).id
    assert made.id != (await opened(bench, "a.ipynb")).id


async def test_a_change_of_nothing_changes_nothing(bench: Bench) -> None:
    made = await opened(bench, name="A")
    same = await changed(bench, made.id, path="a.ipynb")
    assert replace(made, created=False, kernel=same.kernel) == same  # it may have come up by now
    assert made.kernel.id == same.kernel.id


async def test_a_path_that_is_taken_is_refused(bench: Bench) -> None:
    first, second = await opened(bench, "a"), await opened(bench, "b")
    with pytest.raises(SessionExists) as caught:
        await changed(bench, second.id, path="a", name="new")
    assert first.id == caught.value.session_id
    assert "" == (await bench.service.notebook_session(ME, second.id)).name


async def test_a_new_kernel_takes_the_place_of_the_old_one(bench: Bench) -> None:
    made = await opened(bench)
    other = await changed(bench, made.id, kernel=KernelRequest(name="kernel-gateway-command"))
    assert "kernel-gateway-command" == other.kernel.name
    assert [other.kernel.id] == await kernels(bench)


async def test_another_kernel_takes_the_place_of_the_old_one(bench: Bench) -> None:
    made, other = await opened(bench), await bench.a_kernel()
    assert other == (await changed(bench, made.id, kernel_id=other)).kernel.id
    assert other == (await changed(bench, made.id, kernel_id=other)).kernel.id  # no change
    assert [other] == await kernels(bench)


async def test_a_kernel_that_another_session_has_is_not_ended_by_a_change(bench: Bench) -> None:
    first = await opened(bench, "a")
    second = await opened(bench, "b", kernel_id=first.kernel.id)
    await changed(bench, second.id, kernel=KernelRequest())
    assert first.kernel.id in await kernels(bench)


async def test_a_change_to_a_kernel_that_cannot_be_had_changes_nothing(bench: Bench) -> None:
    made = await opened(bench)
    with pytest.raises(KernelSpecNotFound):
        await changed(bench, made.id, path="b", kernel=KernelRequest(name="cobol"))
    with pytest.raises(KernelNotFound):
        await changed(bench, made.id, path="b", kernel_id="nobody")
    assert replace(made, created=False) == await bench.service.notebook_session(ME, made.id)


# -- ending ---------------------------------------------------------------------------------------


async def test_a_session_ends_with_its_kernel_and_once(bench: Bench) -> None:
    made = await opened(bench)
    await bench.service.end_notebook_session(ME, made.id)
    assert [] == await listed(bench)
    assert [] == await kernels(bench)
    with pytest.raises(SessionNotFound):
        await bench.service.end_notebook_session(ME, made.id)
    assert made.id != (await opened(bench)).id


async def test_of_two_ends_at_once_one_finds_nothing(bench: Bench) -> None:
    made = await opened(bench)
    ends = [bench.service.end_notebook_session(ME, made.id) for _ in range(2)]
    first, second = await asyncio.gather(*ends, return_exceptions=True)
    assert (None, SessionNotFound) == (first, type(second))


async def test_a_session_can_be_ended_while_its_kernel_starts(
    bench: Bench, gate: asyncio.Event
) -> None:
    gate.clear()
    made = await opened(bench)
    await bench.service.end_notebook_session(ME, made.id)
    assert [] == await kernels(bench)
    assert (await bench.kernel.wait_dead()).start_fault is not None


async def test_a_session_whose_kernel_was_deleted_says_so_and_gets_another(bench: Bench) -> None:
    made = await opened(bench, kernel=KernelRequest(name="kernel-gateway-command"))
    await bench.service.delete_kernel(ME, made.kernel.id)
    (left,) = await listed(bench)
    assert (made.id, made.kernel.id, "dead", "The kernel was deleted.") == (
        left.id,
        left.kernel.id,
        left.kernel.state,
        left.kernel.reason,
    )
    again = await opened(bench)
    assert (made.id, False, True) == (again.id, again.created, is_up(again))
    assert "kernel-gateway-command" == again.kernel.name  # as before, where nobody says otherwise
    assert made.kernel.id != again.kernel.id


async def test_a_kernel_that_never_came_up_is_replaced(
    bench: Bench, behaviour: FakeBehaviour
) -> None:
    bench.launcher.behaviour = replace(behaviour, dies_at_start=KernelExit(exit_code=1))
    made = await opened(bench)
    await bench.until_kernel(made.kernel.id, "dead")
    (left,) = await listed(bench)
    assert left.kernel.reason is not None
    assert "did not start" in left.kernel.reason
    bench.launcher.behaviour = behaviour
    again = await opened(bench)
    assert (made.id, True) == (again.id, is_up(again))
    assert [again.kernel.id] == await kernels(bench)


async def test_the_end_of_a_session_with_a_gone_kernel_is_an_end_too(bench: Bench) -> None:
    made = await opened(bench)
    await bench.service.delete_kernel(ME, made.kernel.id)
    await bench.service.end_notebook_session(ME, made.id)
    assert [] == await listed(bench)


async def test_sessions_that_share_a_kernel_lose_it_together(bench: Bench) -> None:
    first = await opened(bench, "a")
    await opened(bench, "b", kernel_id=first.kernel.id)
    await bench.service.end_notebook_session(ME, first.id)
    (left,) = await listed(bench)
    assert ("b", "dead") == (left.path, left.kernel.state)
    assert is_up(await opened(bench, "b"))


# -- over a restart of the gateway ----------------------------------------------------------------


async def test_sessions_outlive_the_gateway_and_their_kernels_do_not(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    made = await opened(bench, name="A", kernel=KernelRequest(name="kernel-gateway-command"))
    await changed(bench, made.id, path="b.ipynb")
    ended = await opened(bench, "ended")
    await bench.service.end_notebook_session(ME, ended.id)
    yours = await opened(bench, owner=YOU)
    async with restarted(bench, store, engine_settings) as later:
        (left,) = await listed(later)
        assert (made.id, "b.ipynb", "A", "notebook") == (left.id, left.path, left.name, left.type)
        assert (made.kernel.id, "dead", "The kernel ended with the gateway.") == (
            left.kernel.id,
            left.kernel.state,
            left.kernel.reason,
        )
        assert [yours.id] == [view.id for view in await listed(later, YOU)]
        again = await opened(later, "b.ipynb")
        assert (made.id, "kernel-gateway-command", True) == (
            again.id,
            again.kernel.name,
            is_up(again),
        )
        new = await changed(later, made.id, kernel=KernelRequest())
        assert [new.kernel.id] == await kernels(later)


async def test_a_session_whose_kernel_is_long_gone_is_forgotten(
    bench: Bench, store: Store, engine_settings: EngineSettings
) -> None:
    old = await opened(bench, "old")
    bench.clock.advance(1)
    used = await opened(bench, "used")
    await bench.service.delete_kernel(ME, old.kernel.id)
    bench.clock.advance(6.9 * DAY_S)
    async with restarted(bench, store, engine_settings) as later:
        assert [old.id, used.id] == [view.id for view in await listed(later)]
    bench.clock.advance(0.2 * DAY_S)
    service = LocalService(bench.launcher, store, engine_settings, clock=bench.clock)
    await service.start()
    last = Bench(service, bench.launcher, bench.clock)
    while len(await listed(last)) > 1:  # the first sweep follows the start
        await asyncio.sleep(0)
    assert [used.id] == [view.id for view in await listed(last)]
    await service.close()
    assert [used.id] == [one.id for one in await store.notebook_sessions()]


# -- limits ---------------------------------------------------------------------------------------


class TestWithRoomForOne:
    @pytest.fixture
    def engine_settings(self, engine_settings: EngineSettings) -> EngineSettings:
        return replace(engine_settings, max_kernels=1)

    async def test_a_session_whose_kernel_does_not_fit_leaves_nothing(self, bench: Bench) -> None:
        await bench.a_kernel()
        with pytest.raises(TooManyKernels):
            await opened(bench)
        assert [] == await listed(bench)
        assert 1 == len(await kernels(bench))

    async def test_a_kernel_that_is_replaced_makes_room(self, bench: Bench) -> None:
        made = await opened(bench)
        other = await changed(bench, made.id, kernel=KernelRequest())
        assert [other.kernel.id] == await kernels(bench)
        with pytest.raises(TooManyKernels):
            await opened(bench, "b")

    async def test_a_dead_kernel_is_no_hindrance_to_its_own_session(
        self, bench: Bench, behaviour: FakeBehaviour
    ) -> None:
        bench.launcher.behaviour = replace(behaviour, dies_at_start=KernelExit(exit_code=1))
        made = await opened(bench)
        await bench.until_kernel(made.kernel.id, "dead")
        bench.launcher.behaviour = behaviour
        assert is_up(await opened(bench))
