"""How many kernels there may be; and many calls at once that make, restart and delete them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import KernelNotFound, TooManyKernels
from kernel_gateway.process_limits import KERNEL_DESCRIPTORS
from kernel_gateway.service import (
    KernelRequest,
    NotebookSessionRequest,
    Owner,
    SessionRequest,
)
from tests.fake.execution.conftest import ME, Bench
from tests.shared.limits import descriptors_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.execution.settings import EngineSettings

YOU = Owner("you")
COMMANDS = "kernel-gateway-command"


@pytest.fixture
def limits(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    given: Mapping[str, Any] = getattr(request, "param", {})
    return given


@pytest.fixture
def engine_settings(engine_settings: EngineSettings, limits: Mapping[str, Any]) -> EngineSettings:
    return replace(engine_settings, **limits)


async def kernel(bench: Bench, owner: Owner = ME, name: str | None = None) -> str:
    return (await bench.service.create_kernel(owner, KernelRequest(name=name))).id


async def session(bench: Bench, owner: Owner = ME, name: str | None = None) -> str:
    request = SessionRequest(image=name or "python")
    return (await bench.service.create_session(owner, request)).id


async def notebook(bench: Bench, owner: Owner = ME, name: str | None = None) -> str:
    request = NotebookSessionRequest(path=bench.service._new_id(), kernel=KernelRequest(name=name))
    return (await bench.service.open_notebook_session(owner, request)).kernel.id


DOORS = (kernel, session, notebook)


@pytest.mark.parametrize("limits", [{"max_kernels": 3}], indirect=True)
async def test_the_limit_of_all_holds_for_each_door(bench: Bench) -> None:
    for make in DOORS:
        await make(bench)
    for make in DOORS:
        with pytest.raises(TooManyKernels, match=r"Runs\.max_kernels is 3"):
            await make(bench, YOU)
    assert [] == await bench.service.kernels(YOU)
    assert [] == await bench.service.notebook_sessions(YOU)


@pytest.mark.parametrize("limits", [{"max_kernels_per_owner": 2}], indirect=True)
async def test_the_limit_of_an_owner_is_of_each(bench: Bench) -> None:
    for owner in (ME, YOU):
        first = await session(bench, owner)
        await notebook(bench, owner)
        for make in DOORS:
            with pytest.raises(TooManyKernels, match="max_kernels_per_owner is 2"):
                await make(bench, owner)
        await bench.service.delete_kernel(owner, first)
        await kernel(bench, owner)


@pytest.mark.parametrize(
    "limits", [{"max_kernels_per_spec": {"Kernel-Gateway-Command": 1}}], indirect=True
)
async def test_the_limit_of_a_kernelspec_is_of_all_owners_however_it_is_written(
    bench: Bench,
) -> None:
    for make in DOORS:
        await make(bench)
    await notebook(bench, YOU, COMMANDS)
    for make in DOORS:
        with pytest.raises(TooManyKernels, match="'kernel-gateway-command' already"):
            await make(bench, ME, COMMANDS)


@pytest.mark.parametrize("limits", [{"max_kernels_per_spec": {"python3": 0}}], indirect=True)
async def test_a_kernelspec_may_be_forbidden(bench: Bench) -> None:
    with pytest.raises(TooManyKernels):
        await kernel(bench)
    await kernel(bench, name=COMMANDS)


async def test_without_descriptors_for_another_kernel_none_is_made(bench: Bench) -> None:
    with descriptors_left(KERNEL_DESCRIPTORS - 1) as limit:
        for make in DOORS:
            with pytest.raises(TooManyKernels, match=rf"of {limit} descriptors \(ulimit -n\)"):
                await make(bench)
    assert [] == bench.launcher.kernels
    await kernel(bench)


async def test_kernels_that_are_starting_have_their_descriptors_kept_for_them(
    bench: Bench, gate: asyncio.Event
) -> None:
    gate.clear()
    with descriptors_left(2 * KERNEL_DESCRIPTORS):
        await kernel(bench)
        first = await session(bench, YOU)
        with pytest.raises(TooManyKernels):
            await kernel(bench)
        await bench.service.delete_kernel(YOU, first)
        await kernel(bench)


@pytest.mark.parametrize("limits", [{"max_kernels_per_owner": 3}], indirect=True)
async def test_of_many_calls_at_once_as_many_succeed_as_fit(bench: Bench) -> None:
    calls = [make(bench) for make in DOORS for _ in range(5)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert 3 == sum(isinstance(end, str) for end in ends)
    assert 12 == sum(isinstance(end, TooManyKernels) for end in ends)
    assert 3 == len(await bench.service.kernels(ME)) == len(bench.launcher.kernels)


async def test_of_many_kernels_made_at_once_each_has_its_own_variables(bench: Bench) -> None:
    wanted = [{"KERNEL_NUMBER": str(number), f"KERNEL_{number}": ""} for number in range(20)]
    wanted[7] = {}
    made = await asyncio.gather(
        *(bench.service.create_kernel(ME, KernelRequest(env=env)) for env in wanted)
    )
    given = {str(one.request.kernel_id): one.request.env for one in bench.launcher.kernels}
    assert wanted == [given[view.id] for view in made]
    await asyncio.gather(*(bench.service.restart_kernel(ME, view.id) for view in made))
    await bench.until(lambda: len(bench.launcher.kernels) == 40)
    again = {str(one.request.kernel_id): one.request.env for one in bench.launcher.kernels[20:]}
    assert given == again


async def test_a_kernel_can_be_deleted_while_it_starts(bench: Bench, gate: asyncio.Event) -> None:
    gate.clear()
    kernel_id = await kernel(bench)
    await bench.service.delete_kernel(ME, kernel_id)
    assert [] == await bench.service.kernels(ME)
    assert (await bench.kernel.wait_dead()).start_fault is not None


async def test_of_two_deletions_at_once_one_finds_nothing(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    ends = [bench.service.delete_kernel(ME, kernel_id) for _ in range(2)]
    first, second = await asyncio.gather(*ends, return_exceptions=True)
    assert (None, KernelNotFound) == (first, type(second))


async def test_five_restarts_at_once_are_one(bench: Bench) -> None:
    kernel_id = await bench.a_kernel()
    await asyncio.gather(*(bench.service.restart_kernel(ME, kernel_id) for _ in range(5)))
    view = await bench.service.kernel_ready(ME, kernel_id)
    assert (2, 2) == (view.generation, len(bench.launcher.kernels))
