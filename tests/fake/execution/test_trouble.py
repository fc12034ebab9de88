"""What callers meet while the store takes no writes, and afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import KernelNotFound, RunNotFound, StoreUnavailable
from kernel_gateway.execution.local import STORE_LIMIT_S
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from tests.fake.execution.conftest import ME, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.fake.execution.conftest import Bench


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(StoreSettings(folder=tmp_path / "store", busy_timeout_s=0.1))
    yield store
    await store.close()


@contextmanager
def locked(tmp_path: Path) -> Iterator[None]:
    """Somebody else is writing, and takes his time."""
    outside = sqlite3.connect(tmp_path / "store" / "gateway.db", isolation_level=None)
    try:
        outside.execute("BEGIN IMMEDIATE")
        yield
        outside.execute("ROLLBACK")
    finally:
        outside.close()


@pytest.mark.logs_error("does not take writes .*locked")
async def test_a_run_that_could_not_be_stored_is_not_executed_and_its_id_is_free(
    bench: Bench, store: Store, tmp_path: Path
) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print before")
    with locked(tmp_path):
        calling = asyncio.ensure_future(bench.call(kernel, "print a", run_id="r"))
        await bench.until(lambda: store.fault)
        bench.clock.advance(STORE_LIMIT_S)
        with pytest.raises(StoreUnavailable):
            await calling
        with pytest.raises(StoreUnavailable):  # at once, as long as it lasts
            await bench.call(kernel, "print b", run_id="s")
    await bench.until(lambda: not store.fault)
    assert "a\n" == text(await bench.run(kernel, "print a", "r"))
    codes = [one.content.get("code") for one in bench.kernel.requests]
    assert 1 == codes.count("print a")


@pytest.mark.logs_error("does not take writes .*locked")
async def test_a_kernel_is_deleted_whether_that_can_be_stored_or_not(
    bench: Bench, store: Store, tmp_path: Path
) -> None:
    kernel = await bench.a_kernel()
    await bench.run(kernel, "print before")
    with locked(tmp_path):
        await bench.service.delete_kernel(ME, kernel)
        await bench.until(lambda: store.fault)
        with pytest.raises(KernelNotFound):
            await bench.service.kernel(ME, kernel)
    await bench.until(lambda: not store.fault)


async def test_a_run_of_another_kernel_is_not_found_by_its_uid(bench: Bench) -> None:
    one, two = await bench.a_kernel(), await bench.a_kernel()
    answer = await bench.run(one, "print a")
    assert answer.run_id == (await bench.service.run(ME, answer.run_id, one)).uid
    with pytest.raises(RunNotFound):
        await bench.service.run(ME, answer.run_id, two)
