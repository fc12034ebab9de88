"""The fork servers of one launcher: in a folder of their own, and gone with it.

Knows settings and who prepares what. Must not know how a server is found or started
(`provisioners/servers.py`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from kernel_gateway.kernels.folder import PrivateFolder
from kernel_gateway.kernels.provisioners.fork import NotForkable, kind_of, with_our_python
from kernel_gateway.kernels.provisioners.servers import ForkFailed, ForkServers, NotNow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kernel_gateway.kernels.settings import KernelSettings

LOG = logging.getLogger("kernel_gateway.kernels")


class Forking:
    """Close it when no kernel is left."""

    def __init__(self, settings: KernelSettings) -> None:
        self._settings = settings
        self._folder: PrivateFolder | None = None
        self._preparing: set[asyncio.Task[None]] = set()
        self.servers = ForkServers(self._make_folder, most=settings.fork_servers)

    def prepare(self, argv: Sequence[str], env: Mapping[str, str], owner: str) -> None:
        """Have the server for such kernels ready before the first of them; returns at once."""
        task = asyncio.create_task(self._prepare(argv, env, owner))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def close(self) -> None:
        if self._preparing:
            await asyncio.wait(self._preparing)  # a start takes milliseconds
        await self.servers.close()
        if self._folder is not None:
            await asyncio.to_thread(self._folder.remove)

    async def _prepare(self, argv: Sequence[str], env: Mapping[str, str], owner: str) -> None:
        settings = self._settings
        try:
            kind = kind_of(
                with_our_python(argv),
                env,
                preload=settings.fork_preload,
                more=settings.fork_environment,
                owner=owner,
            )
            await self.servers.prepare(kind)
        except (NotForkable, NotNow) as why:
            LOG.debug("no fork server is prepared: %s", why)
        except ForkFailed as fault:
            LOG.warning("no fork server is prepared: %s", fault)

    def _make_folder(self) -> Path:
        if self._folder is None:
            self._folder = PrivateFolder(self._settings.runtime_dir)
        return self._folder.path
