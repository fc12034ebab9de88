"""One kernel process: started through a provisioner, signalled, its death an event.

Knows jupyter_client's provisioners and Linux' pidfd. Must not know messages: how a kernel is spoken
to, and when it is ready, is for `connection.py`. jupyter_client's KernelManager is only what
provisioners expect as their parent (it writes the connection file and formats the command); its own
start and its waiting are not used, they poll.

Provisioners come from anywhere (entry points), so each call of one is fenced: whatever it raises is
a `KernelStartFailed` at the start and a log line later, and no call can hold up a burial for ever.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from kernel_gateway.errors import KernelStartFailed
from kernel_gateway.kernels.connection import ConnectionInfo
from kernel_gateway.kernels.environment import (
    is_ipykernel,
    kernel_argv,
    requested_environment,
    speaks_ipc,
)
from kernel_gateway.kernels.folder import PrivateFolder, artifact_dir_fault, make_private
from kernel_gateway.kernels.kernel import ProcessOutput
from kernel_gateway.kernels.output import OutputPipe
from kernel_gateway.kernels.provisioners.fork import ForkProvisioner
from kernel_gateway.process_limits import (
    STARTED_WITH,
    explained,
    set_descriptor_limit,
    step_back,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

    from kernel_gateway.kernels.guard import Guard
    from kernel_gateway.kernels.kernel import LaunchRequest
    from kernel_gateway.kernels.oom import Count, OomKills
    from kernel_gateway.kernels.provisioners.servers import ForkServers
    from kernel_gateway.kernels.settings import Encryption, KernelSettings

LOG = logging.getLogger("kernel_gateway.kernels")
T = TypeVar("T")

#: For each call of a provisioner once the kernel is to go. Local ones need no time at all.
_PROVISIONER_LIMIT_S = 5.0

_LOOPBACK = "127.0.0.1"
_SESSION_NAME = "JPY_SESSION_NAME"  # the notebook's; in a connection file jupyter_session


class KernelProcess:
    """Await `launch` once; then `gone` tells of the death. Await `bury` in any case, last."""

    def __init__(
        self,
        spec: KernelSpec,
        request: LaunchRequest,
        settings: KernelSettings,
        oom_kills: OomKills,
        guard: Guard,
        fork_servers: ForkServers | None,
    ) -> None:
        self._spec = spec
        self._request = request
        self._settings = settings
        self._oom_kills = oom_kills
        self._guard = guard
        self._fork_servers = fork_servers
        self._oom_count: Count | None = None  # as it was; None: nothing is counted
        self._killed_by_us = False
        #: Known when it is buried.
        self.out_of_memory = False
        self._folder: PrivateFolder | None = None
        self._output: OutputPipe | None = None
        self._manager: KernelManager | None = None
        self._provisioner: KernelProvisionerBase | None = None
        self._pidfd: int | None = None
        self._waiting: asyncio.Task[int | None] | None = None
        self._launched = False
        #: Done when the process has ended; it still wants to be buried.
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def launch(self) -> ConnectionInfo:
        """Where the kernel will listen. Raises `KernelStartFailed`.

        Popen waits for the fork, so a local start holds up the loop for some milliseconds.
        """
        try:
            info = ConnectionInfo.of(await self._launch())
        except KernelStartFailed:
            raise
        except Exception as fault:  # the boundary: provisioners raise what they like
            raise KernelStartFailed(self._start_fault(fault)) from fault
        return info

    async def signal(self, signum: int) -> None:
        """To the process group."""
        if self._runs:
            await _fenced("send_signal", self._given.send_signal(signum))

    async def terminate(self) -> None:
        if self._runs:
            await _fenced("terminate", self._given.terminate())

    async def kill(self) -> None:
        if self._runs:
            self._killed_by_us = True
            await _fenced("kill", self._given.kill())

    async def announce_shutdown(self) -> None:
        """The kernel is being asked to go: a provisioner may have something to prepare."""
        if self._runs:
            await _fenced("shutdown_requested", self._given.shutdown_requested())

    async def gone_within(self, limit_s: float) -> bool:
        await asyncio.wait({self.gone}, timeout=limit_s)
        return self.gone.done()

    async def end(self) -> None:
        """Whatever of it still runs is killed, also children the kernel has left behind.

        Call it before the sockets are drained: a child of a fork holds them open.
        """
        if self._provisioner and not self.gone.done():
            self._killed_by_us = True
            await _fenced("kill", self._given.kill())
            if self._launched and not await self.gone_within(_PROVISIONER_LIMIT_S):
                LOG.error("the kernel %s survives being killed", self._request.kernel_id)
        self._kill_group()

    async def bury(self) -> int | None:
        """Reap it and leave nothing behind; its return code, None when it never was a process."""
        code = await self._return_code()
        if code == -signal.SIGKILL and self._oom_count and not self._killed_by_us:
            self.out_of_memory = await asyncio.to_thread(self._oom_kills.explains, self._oom_count)
        if self._provisioner:
            await _fenced("cleanup", self._provisioner.cleanup())
        if self._manager is not None:  # else it does so whenever it is collected, on the loop
            await asyncio.to_thread(self._manager.cleanup_connection_file)
        self._close_pidfd()
        if self._output:
            self._output.close()
        if self._folder:
            self._folder.remove()
        return code

    async def note_memory(self) -> None:
        """Call it when the process has got to the control group that it will stay in."""
        if self._pid is not None:
            count = await asyncio.to_thread(self._oom_kills.count_of, self._pid)
            self._oom_count = count or self._oom_count

    def output(self) -> ProcessOutput:
        return self._output.output() if self._output else ProcessOutput()

    def memory(self) -> int:
        """Bytes that are there because of it: of what it shares with others, its part. Blocks."""
        try:
            lines = Path(f"/proc/{self._pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it is gone, or never was here
            return 0
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

    @property
    def is_usual(self) -> bool:
        """No provisioner of somebody else has had a hand in its start: it is as we know it."""
        return type(self._provisioner) in (LocalProvisioner, ForkProvisioner)

    def note(self, request: LaunchRequest) -> None:
        """In its connection file, as if it had been started for this request. Blocks."""
        if self._folder is None:
            return
        file = self._folder.connection_file
        told = json.loads(file.read_text())
        told["kernel_name"] = request.spec_name
        told["jupyter_session"] = request.env.get(_SESSION_NAME, told.get("jupyter_session", ""))
        file.write_text(json.dumps(told, indent=2))

    @property
    def alive(self) -> bool:
        """The kernel's word, where it gives one: `gone` is told in a later turn of the loop."""
        if not self._runs or self._pidfd is None:
            return self._runs
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    @property
    def _runs(self) -> bool:
        return self._launched and not self.gone.done()

    @property
    def _given(self) -> KernelProvisionerBase:
        assert self._provisioner is not None
        return self._provisioner

    async def _launch(self) -> dict[str, Any]:
        if self._request.artifact_dir:
            await _make_artifact_dir(self._request.artifact_dir)
        manager = self._manager = self._made_manager()
        self._provisioner = self._made_provisioner(manager)
        self._choose_transport(manager)
        options = self._start_options()
        manager._launch_args = options.copy()  # what format_kernel_cmd fills `{...}` from
        prepared = await self._provisioner.pre_launch(**options)
        try:
            command = prepared.pop("cmd")
            info = await self._provisioner.launch_kernel(command, **prepared)
            self._launched = True
            self._limit_descriptors()
            self._step_back()
            if self._group is not None:
                self._guard.watch(self._group)
        finally:
            if self._output:
                self._output.release_write_end()
        self._watch()
        await self._provisioner.post_launch(**prepared)
        return dict(info)

    def _made_manager(self) -> KernelManager:
        self._folder = PrivateFolder(self._settings.runtime_dir)
        manager = KernelManager(
            kernel_name=self._request.spec_name,
            kernel_id=self._request.kernel_id,
            connection_file=str(self._folder.connection_file),
            transport_encryption="disabled",
            log=LOG,
        )
        self._spec.argv = kernel_argv(self._spec.argv, self._settings)
        manager._kernel_spec = self._spec
        return manager

    def _made_provisioner(self, manager: KernelManager) -> KernelProvisionerBase:
        """What the kernelspec asks for; ours in place of the usual one, for ipykernel."""
        factory = KernelProvisionerFactory.instance()
        made = factory.create_provisioner_instance(
            self._request.kernel_id, self._spec, parent=manager
        )
        usual = {"kernel_id": made.kernel_id, "kernel_spec": self._spec, "parent": manager}
        if self._fork_servers is None:
            return LocalProvisioner(**usual) if isinstance(made, ForkProvisioner) else made
        if type(made) is LocalProvisioner and is_ipykernel(self._spec.argv):
            made = ForkProvisioner(**usual)
        if isinstance(made, ForkProvisioner):
            made.belong_to(
                self._request.owner,
                self._fork_servers,
                preload=self._settings.fork_preload,
                environment=self._settings.fork_environment,
                patience_s=self._request.start_limit_s / 2,  # the rest is for a usual start
            )
        return made

    def _choose_transport(self, manager: KernelManager) -> None:
        """Sockets in our folder where that can be; their paths are short enough, or it is tcp."""
        assert self._folder is not None
        wants_ipc = self._settings.transport == "ipc" and self._is_local
        can_ipc = speaks_ipc(self._spec.argv, self._spec.metadata)
        if wants_ipc and can_ipc and self._folder.fits_sockets:
            manager.transport = "ipc"
            manager.ip = str(self._folder.socket_base)
        else:
            manager.transport = "tcp"
            manager.ip = _LOOPBACK
        manager.transport_encryption = self._encryption(manager)

    def _encryption(self, manager: KernelManager) -> Encryption:
        """The folder protects ipc as well as a key in that folder would; so only by demand."""
        policy = self._settings.transport_encryption
        if policy == "required" and not manager._kernel_supports_curve_encryption():
            raise KernelStartFailed(
                f"Encryption is required, but kernelspec {self._request.spec_name!r} does not "
                "declare 'curve' in metadata.supported_encryption."
            )
        return "disabled" if policy == "auto" and manager.transport == "ipc" else policy

    def _start_options(self) -> dict[str, Any]:
        """For the provisioner, which hands what it does not know to Popen."""
        request = self._request
        env = requested_environment(os.environ, request, self._settings)
        options: dict[str, Any] = {"env": env}
        if request.cwd:
            options["cwd"] = str(request.cwd)
        if self._is_local:
            self._output = OutputPipe()
            options |= {"stdout": self._output.write_end, "stderr": self._output.write_end}
        return options

    @property
    def _pid(self) -> int | None:
        """Of a process of this machine."""
        pid = getattr(self._provisioner, "pid", None)
        return pid if self._is_local and isinstance(pid, int) else None

    @property
    def _group(self) -> int | None:
        """That it leads."""
        return self._pid if self._pid == getattr(self._provisioner, "pgid", None) else None

    @property
    def _is_local(self) -> bool:
        return isinstance(self._provisioner, LocalProvisioner)

    def _limit_descriptors(self) -> None:
        """Ours are more than programs are made for that call select()."""
        limit = self._settings.descriptors or STARTED_WITH
        if self._pid is not None:
            with suppress(OSError):  # it has ended, or belongs to somebody else by now (sudo)
                set_descriptor_limit(self._pid, limit)

    def _step_back(self) -> None:
        """Before it has started anything that would not."""
        if self._group is not None and self._settings.nice:
            with suppress(OSError):  # it has ended, or belongs to somebody else by now (sudo)
                step_back(self._group, self._settings.nice)

    def _start_fault(self, fault: Exception) -> str:
        why = f"{type(fault).__name__}: {explained(fault)}"
        return f"Kernelspec {self._request.spec_name!r} could not be started: {why}"

    def _watch(self) -> None:
        """A local process by its pidfd, any other by its provisioner."""
        if self._pid is not None:
            try:
                self._pidfd = os.pidfd_open(self._pid)
            except OSError as fault:
                LOG.warning("no pidfd (%s): the death of a kernel is told 0.1 s later", fault)
        if self._pidfd is None:
            self._waiting = asyncio.create_task(_return_code_of(self._given))
            self._waiting.add_done_callback(lambda _: self._tell_gone())
        else:
            asyncio.get_running_loop().add_reader(self._pidfd, self._tell_gone)

    def _tell_gone(self) -> None:
        self._close_pidfd()
        if not self.gone.done():
            self.gone.set_result(None)

    def _close_pidfd(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _kill_group(self) -> None:
        """Before the leader is reaped: as long as it is a zombie, nobody else gets its number."""
        if self._group is not None:
            with suppress(ProcessLookupError):  # none was left
                os.killpg(self._group, signal.SIGKILL)
            self._guard.release(self._group)

    async def _return_code(self) -> int | None:
        if not self._launched:
            return None
        if not self._waiting:
            return await _fenced("wait", _return_code_of(self._given))
        if not self._waiting.done():  # it survives being killed; nobody waits for ever
            self._waiting.cancel()
        await asyncio.wait({self._waiting})
        return None if self._waiting.cancelled() else self._waiting.result()


async def _make_artifact_dir(path: Path) -> None:
    try:
        await asyncio.to_thread(make_private, path)
    except OSError as fault:
        raise KernelStartFailed(artifact_dir_fault(path, fault)) from fault


async def _return_code_of(provisioner: KernelProvisionerBase) -> int | None:
    """As Popen has it: a signal is a negative number."""
    try:
        code = await provisioner.wait()
    except Exception:  # the boundary
        LOG.exception("%s.wait() failed: its kernel is taken for dead", type(provisioner).__name__)
        return None
    return code if isinstance(code, int) else None


async def _fenced(what: str, call: Awaitable[T]) -> T | None:
    """A provisioner's answer, or None and a log line: it can neither raise nor take for ever."""
    try:
        async with asyncio.timeout(_PROVISIONER_LIMIT_S):
            return await call
    except Exception:  # the boundary
        LOG.exception("the provisioner's %s() failed", what)
        return None
