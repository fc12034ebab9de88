"""Many real kernels at once: none has what was meant for another."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from kernel_gateway.execution.local import LocalService
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.service import (
    LOCAL_OWNER,
    ExecuteCall,
    ExecuteMode,
    KernelRequest,
    NotebookSessionRequest,
)
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.kernel.conftest import MakeBench

OURS = "KERNEL_TEST"
SHOW = f"""\
import json, os
print(json.dumps({{name: value for name, value in os.environ.items() if name[:11] == {OURS!r}}}))
"""


async def variables(service: LocalService, kernel_id: str) -> Mapping[str, str]:
    """What its process has of ours."""
    call = ExecuteCall(
        kernel_id=kernel_id, mode=ExecuteMode.QUERY, run_id=None, code=SHOW, wait_s=120.0
    )
    answer = await service.execute(LOCAL_OWNER, call)
    (item,) = answer.console
    found: Mapping[str, str] = json.loads(str(item.value))
    return found


async def test_twenty_kernels_made_at_once_have_each_exactly_their_own_variables(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    store = await Store.open(StoreSettings(folder=tmp_path / "store"))
    service = LocalService(make_bench().launcher, store, EngineSettings(start_limit_s=120.0))
    await service.start()
    wanted = [{OURS: f"{number}", f"{OURS}_{number}": "é\n"} for number in range(20)]
    wanted[3] = wanted[12] = {}

    async def made(number: int) -> str:
        """By both doors, in turns."""
        request = KernelRequest(env=wanted[number])
        if number % 2:
            return (await service.create_kernel(LOCAL_OWNER, request)).id
        asked = NotebookSessionRequest(path=f"{number}", kernel=request)
        return (await service.open_notebook_session(LOCAL_OWNER, asked)).kernel.id

    try:
        ids = await asyncio.gather(*(made(number) for number in range(20)))
        found = await asyncio.gather(*(variables(service, kernel_id) for kernel_id in ids))
        assert wanted == list(found)
        # Five restarts at once are one, and what comes up has what was there before.
        await asyncio.gather(*(service.restart_kernel(LOCAL_OWNER, ids[0]) for _ in range(5)))
        assert wanted[0] == await variables(service, ids[0])
        assert 2 == (await service.kernel(LOCAL_OWNER, ids[0])).generation
    finally:
        await service.close()
        await store.close()
