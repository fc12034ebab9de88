"""Provisioners as a third party would write them; tests register them as entry points."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase


class Elsewhere(KernelProvisionerBase):
    """As for another machine: no pid that means anything here. A local one does its work."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._inner = LocalProvisioner(**kwargs)

    @property
    def has_process(self) -> bool:
        return self._inner.has_process

    async def poll(self) -> int | None:
        return await self._inner.poll()

    async def wait(self) -> int | None:
        return await self._inner.wait()

    async def send_signal(self, signum: int) -> None:
        await self._inner.send_signal(signum)

    async def kill(self, restart: bool = False) -> None:
        await self._inner.kill(restart)

    async def terminate(self, restart: bool = False) -> None:
        await self._inner.terminate(restart)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        return await self._inner.pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        return await self._inner.launch_kernel(cmd, **kwargs)

    async def cleanup(self, restart: bool = False) -> None:
        await self._inner.cleanup(restart)


class NeverThere(Elsewhere):
    """Waits for a machine that nobody gives it."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        await asyncio.Event().wait()
        return kwargs


class Clumsy(LocalProvisioner):
    """Starts a kernel and fails at everything else."""

    async def post_launch(self, **kwargs: Any) -> None:
        raise RuntimeError("clumsy")

    async def cleanup(self, restart: bool = False) -> None:
        raise RuntimeError("clumsy again")
