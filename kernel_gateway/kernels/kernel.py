"""The seam between the engine and a kernel: what one *generation* of a kernel can do and tell.

A `Kernel` is one process with one set of sockets, from its start to its death. A restart is a new
`Kernel` of the next generation, so nothing sent to a dead one can ever run in the next. It is
implemented over ZeroMQ (`local.py`) and in memory (`fake.py`); one shared test module holds the two
together. Nothing here knows runs.

Order of what a listener is told: `on_ready` at most once, `on_message` any number of times (also
before `on_ready`), `on_dead` exactly once and last. All on the event loop's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kernel_gateway.messaging.facts import KernelInfo
    from kernel_gateway.messaging.message import Request
    from kernel_gateway.messaging.raw import RawMessage

KernelId = NewType("KernelId", str)  # UUID; stays the same over restarts
Generation = NewType("Generation", int)  # from 1, one more with each process


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """How to start one process."""

    kernel_id: KernelId
    generation: Generation
    spec_name: str
    #: Whose it is. Kernels of two owners never come from the same fork server, nor from a pool.
    owner: str = ""
    cwd: Path | None = None  # None: the gateway's own
    #: Added to the scrubbed environment.
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Made if it is not there, and told to the process as KERNEL_GATEWAY_ARTIFACT_DIR.
    artifact_dir: Path | None = None
    start_limit_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ProcessOutput:
    """What the process has written to its own stdout and stderr: apart from any run."""

    text: str = ""  # the end of it
    dropped: int = 0  # bytes before that, which are no longer kept


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelExit:
    """How it ended. A process that was never started has neither code nor signal."""

    exit_code: int | None = None  # of a process that returned
    signal: str | None = None  # name, as SIGKILL, of a process that was killed
    start_fault: str | None = None  # set when it died or was given up before it was ready
    stderr_tail: str = ""  # end of what the process wrote to its own stdout and stderr
    out_of_memory: bool = False  # the system killed it, for want of memory


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecEntry:
    """One kernelspec, for those who list them."""

    name: str
    resource_dir: Path
    spec: Mapping[str, object]  # the content of its kernel.json


def told_us(spec: Mapping[str, object]) -> Mapping[str, object]:
    """What a kernel.json says to this gateway: `metadata.kernel_gateway`."""
    metadata = spec.get("metadata")
    told = metadata.get("kernel_gateway") if isinstance(metadata, dict) else None
    return told if isinstance(told, dict) else {}


class KernelListener(Protocol):
    def on_ready(self, info: KernelInfo) -> None:
        """It answered and its iopub is heard; from now on nothing is missed."""

    def on_message(self, message: RawMessage) -> None:
        """From any channel, in the order of arrival on that channel."""

    def on_dead(self, how: KernelExit) -> None:
        """The process is gone and everything it had still sent has been told."""


class Kernel(Protocol):
    @property
    def generation(self) -> Generation: ...

    @property
    def session(self) -> str:
        """In the header of each `Request` that is sent: so a message with such a parent is ours."""

    @property
    def alive(self) -> bool:
        """Its process is there at this very moment; a death is told some time after it."""

    def output(self) -> ProcessOutput:
        """As far as it has come by now; also after its death."""

    def send(self, request: Request | RawMessage) -> None:
        """Queue it for the kernel. Never blocks; dropped silently once the kernel is dead."""

    async def interrupt(self) -> None:
        """Once: by signal to the process group, or by message where the kernelspec says so."""

    async def terminate(self) -> None:
        """SIGTERM to the process group."""

    async def kill(self) -> None:
        """SIGKILL to the process group."""

    async def shutdown(self, grace_s: float) -> None:
        """Ask, wait `grace_s`, terminate, wait, kill. Returns when `on_dead` has been told."""

    async def wait_dead(self) -> KernelExit:
        """Returns when `on_dead` has been told; any number of callers."""


@dataclass(frozen=True, slots=True)
class Seed:
    """What a kernel has to be started from, before anybody asks for it.

    One process can serve any request of the same seed.
    """

    owner: str
    spec_name: str  # in lower case
    #: Of the request, what nobody can change once the process has started.
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    #: Whether folder and variables can be given to it later; else it is for who wants neither.
    adopts: bool = field(default=True, compare=False)
    #: What is on disk of its kernelspec and of its packages: one of another is out of date.
    edition: str = field(default="", compare=False)


class Launcher(Protocol):
    @property
    def warm(self) -> int:
        """Kernels that wait for whoever comes next; they are nobody's."""

    def launch(self, request: LaunchRequest, listener: KernelListener) -> Kernel:
        """Answers at once; what becomes of the start is told to the listener.

        Raises `KernelSpecNotFound` when there is no such kernelspec.
        """

    def default_spec(self) -> str:
        """Name of the kernelspec for requests that name none."""

    def kernelspec(self, name: str) -> SpecEntry:
        """That of this name, in whatever case. Reads files; raises `KernelSpecNotFound`."""

    def kernelspecs(self) -> Sequence[SpecEntry]:
        """All that can be read, by name. Reads files."""

    async def close(self) -> None:
        """Release what kernels shared (ZeroMQ context, folders). All kernels must be dead."""


class AdoptableKernel(Kernel, Protocol):
    """One that can be started before anybody asks for it."""

    async def prepare(self) -> str | None:
        """Do all that can be done before there is a request. Call it once, when it is ready.

        Why it can never be adopted; None: it can.

        Raises `TimeoutError` when it does not say.
        """

    async def adopt(self, request: LaunchRequest) -> bool:
        """Make it what a fresh start for this request would be. Within a second, or False: then it
        is neither, and must be used for nothing.

        Call it once, after `prepare`, with a request of its seed.
        """

    async def memory(self) -> int:
        """Bytes of its process that are there because of it."""


class PoolableLauncher(Launcher, Protocol):
    """What a pool stands before."""

    #: Called when there is a process fewer than before.
    when_gone: Callable[[], None]

    def launch(self, request: LaunchRequest, listener: KernelListener) -> AdoptableKernel: ...

    def seed(self, request: LaunchRequest) -> Seed | None:
        """None: a kernel for this request is started for it alone. Reads some files.

        Raises `KernelSpecNotFound` as `launch` does.
        """

    @property
    def processes(self) -> int:
        """Kernels that are there, on their way up or on their way down."""
