"""A provisioner that asks a fork server for the process of an ipykernel, in a fifth of the time.

It is jupyter_client's local one but for how the process comes to be, and for how its end is waited
for. Whatever a fork server cannot do, or fails to do, is done in the usual way: by a start.
"""

from __future__ import annotations

import math
import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import List, Unicode

from kernel_gateway.fork_server.wire import ForkRequest
from kernel_gateway.kernels.environment import read_at_import
from kernel_gateway.kernels.folder import usual_base
from kernel_gateway.kernels.provisioners.forked import ForkedKernel
from kernel_gateway.kernels.provisioners.kind import ServerKind, interpreter_of
from kernel_gateway.kernels.provisioners.servers import ForkFailed, ForkServers, NotNow
from kernel_gateway.kernels.provisioners.surroundings import packages_stamp, surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_client.connect import KernelConnectionInfo

PROVISIONER = "kernel-gateway-fork"  # its entry point

_PARENT = "JPY_PARENT_PID"  # ipykernel would look for it; a forked kernel ends with its server
_STREAMS = ("stdin", "stdout", "stderr")
_KNOWN = {*_STREAMS, "env", "cwd"}
_IGNORED = {"extra_arguments", "kernel_id"}  # as the local one does


class NotForkable(Exception):
    """Only a start can do what is asked."""


class ForkProvisioner(LocalProvisioner):
    """A kernelspec that names it can set the traits: `metadata.kernel_provisioner.config`."""

    preload = List(Unicode(), config=True, help="Modules that the fork server imports, too.")
    environment = List(
        Unicode(),
        config=True,
        help="More variables, as patterns of the shell, that modules read when they are imported: "
        "kernels that differ in one get a fork server each.",
    )
    _owner = ""
    _servers: ForkServers | None = None  # None: those that all programs of the user share
    _patience_s = math.inf

    def belong_to(
        self,
        owner: str,
        servers: ForkServers,
        *,
        preload: Sequence[str],
        environment: Sequence[str],
        patience_s: float,
    ) -> None:
        """Before the launch: whose kernel it is, from which servers it may come, and how long one
        of them may take before the kernel is started without."""
        self._owner = owner
        self._servers = servers
        self._patience_s = patience_s
        self.preload = [*self.preload, *preload]
        self.environment = [*self.environment, *environment]

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        try:
            kernel = await self._forked(cmd, kwargs)
        except (NotForkable, NotNow) as why:
            self.log.debug("The kernel is started without a fork server: %s", why)
        except ForkFailed as fault:
            self.log.warning("The kernel is started without a fork server: %s", fault)
        else:
            self.process = kernel  # type: ignore[assignment]  # as much of a Popen as is asked for
            self.pid = self.pgid = kernel.pid
            self.cwd = kwargs.get("cwd") or Path.cwd()
            return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)

    async def wait(self) -> int | None:
        process = self.process
        if not isinstance(process, ForkedKernel):
            return await super().wait()
        code = await process.exited()
        process.close()
        self.process = None
        return code

    async def cleanup(self, restart: bool = False) -> None:
        if isinstance(self.process, ForkedKernel):
            self.process.close()
            self.process = None
        await super().cleanup(restart=restart)

    async def _forked(self, cmd: list[str], options: Mapping[str, Any]) -> ForkedKernel:
        request = _request(cmd, options)
        kind = kind_of(
            request.command,
            request.env,
            preload=self.preload,
            more=self.environment,
            owner=self._owner,
        )
        with ExitStack() as stack:
            descriptors = _descriptors(options, stack)
            return await (self._servers or shared()).fork(
                kind, request, descriptors, patience_s=self._patience_s
            )


def _request(cmd: Sequence[str], options: Mapping[str, Any]) -> ForkRequest:
    """As jupyter_client's `launch_kernel` would start it. Raises `NotForkable`."""
    if unknown := sorted(name for name in options.keys() - _KNOWN - _IGNORED if options[name]):
        raise NotForkable(f"nothing is known of {', '.join(unknown)}.")
    env = dict(os.environ if options.get("env") is None else options["env"])
    env.pop(_PARENT, None)
    if not all(isinstance(text, str) for text in (*env, *env.values())):
        raise NotForkable("its environment is not text.")
    return ForkRequest(
        command=[os.path.expanduser(word) for word in cmd],
        env=env,
        cwd=os.path.abspath(os.fsdecode(options.get("cwd") or os.curdir)),
    )


def kind_of(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    preload: Sequence[str] = (),
    more: Sequence[str] = (),
    owner: str = "",
) -> ServerKind:
    """Of the server for this kernel. Raises `NotForkable`."""
    if sys.platform != "linux":
        raise NotForkable("it takes Linux.")
    interpreter = interpreter_of(command)
    if interpreter is None:
        raise NotForkable("it is not a plain start of ipykernel.")
    python, flags = interpreter
    if not _is_ours(python):
        raise NotForkable("it has another interpreter.")
    return ServerKind(
        python=python,
        flags=flags,
        preload=tuple(preload),
        owner=owner,
        env=read_at_import(env, more),
        surroundings=surroundings(),
        stamp=packages_stamp(),
    )


def with_our_python(argv: Sequence[str]) -> list[str]:
    """A kernelspec's command as jupyter_client makes it: `python` is the one that runs it."""
    names = {"python", f"python{sys.version_info[0]}", "python{}.{}".format(*sys.version_info[:2])}
    return [sys.executable if argv[0] in names else argv[0], *argv[1:]] if argv else []


def shared() -> ForkServers:
    """Those that the programs of a user have in common: each goes with its last user."""
    global _shared
    if _shared is None:
        _shared = ForkServers(_users_folder)
    return _shared


_shared: ForkServers | None = None


def _forget_shared() -> None:
    """In a forked child: its parent's servers are none of its own."""
    global _shared
    _shared = None


os.register_at_fork(after_in_child=_forget_shared)


def _users_folder() -> Path:
    """Of this machine, since sockets reach no further; homes are often on another."""
    folder = usual_base() / f"kernel-gateway-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_ours or found.st_mode & 0o077:
        raise OSError(f"{folder} is not a private folder of ours.")
    return folder


def _is_ours(python: str) -> bool:
    """Our own interpreter, in our own environment, by whichever of its names."""
    if not os.path.isabs(python):
        return False
    return _identity(python) == _identity(sys.executable)


def _identity(python: str) -> tuple[str, str]:
    """A link in another folder is another environment."""
    return os.path.realpath(os.path.dirname(python)), os.path.realpath(python)


def _descriptors(options: Mapping[str, Any], stack: ExitStack) -> list[int]:
    """For stdin, stdout and stderr. Nothing is said: no input, and our own output."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, null)
    found: list[int] = []
    for number, name in enumerate(_STREAMS):
        given = options.get(name)
        if given is None:
            descriptor = number or null
        elif given == subprocess.DEVNULL:
            descriptor = null
        elif given == subprocess.STDOUT and name == "stderr":
            descriptor = found[1]
        else:
            descriptor = given
        found.append(_open(descriptor, name))
    return found


def _open(given: Any, name: str) -> int:
    """Of a number, or of what has one. A pipe that Popen would make is neither."""
    try:
        descriptor = given if isinstance(given, int) else int(given.fileno())
        os.fstat(descriptor)
    except (AttributeError, OSError, TypeError, ValueError):
        raise NotForkable(f"its {name} is no open file.") from None
    return descriptor
