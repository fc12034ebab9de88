"""Kernels over ZeroMQ: one process and one connection, from the start to the grave.

Knows the order in which the two come and go. Must not know how a process is started (`process.py`)
nor how messages travel (`connection.py`).

Each kernel has one task, its life: start, wait for the end, hear its last words, bury it, tell. The
launcher owns these tasks and awaits them in `close`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import zmq
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from kernel_gateway.errors import KernelSpecNotFound, KernelStartFailed, MalformedMessage
from kernel_gateway.kernels import adoption
from kernel_gateway.kernels.adoption import Start
from kernel_gateway.kernels.connection import KernelConnection
from kernel_gateway.kernels.folder import make_private, remove_left_behind
from kernel_gateway.kernels.forking import Forking
from kernel_gateway.kernels.guard import Guard
from kernel_gateway.kernels.kernel import (
    Generation,
    KernelExit,
    KernelId,
    KernelListener,
    LaunchRequest,
    ProcessOutput,
    Seed,
    SpecEntry,
)
from kernel_gateway.kernels.oom import OomKills
from kernel_gateway.kernels.process import KernelProcess
from kernel_gateway.kernels.provisioners.surroundings import packages_stamp
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.kernels.specs import KernelSpecs
from kernel_gateway.messaging.facts import Busy, Replied, fact_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jupyter_client.kernelspec import KernelSpec

    from kernel_gateway.kernels.provisioners.servers import ForkServers
    from kernel_gateway.messaging.facts import KernelInfo
    from kernel_gateway.messaging.message import Header, MsgId, Request
    from kernel_gateway.messaging.raw import RawMessage

LOG = logging.getLogger("kernel_gateway.kernels")

#: Between SIGTERM and SIGKILL of a shutdown.
TERMINATE_GRACE_S = 2.0
#: For the heartbeat of a kernel that did not start in time; it answers in a millisecond or never.
BEAT_LIMIT_S = 0.5
#: Between the kernel's busy and our SIGINT. ipykernel says busy some steps before it runs the code;
#: a SIGINT in between can end the process, with exit code 0 and no word (3 of 2,346 under load).
SETTLE_S = 0.05
#: Requests kept for a kernel that is starting. Whoever sends more than this has lost count; the
#: newest are dropped, with a log line.
HELD_REQUESTS = 10_000
#: For a warm kernel to become that of a request. It has nothing else to do.
ADOPTION_LIMIT_S = 1.0
#: For what can be done for that before there is a request: nobody waits for it.
PREPARATION_LIMIT_S = 10.0
#: Sockets of all kernels: eight each.
_MAX_SOCKETS = 2**14


class LocalKernel:
    """Implements `Kernel`. Made by the launcher, which runs its `live`."""

    def __init__(
        self,
        *,
        context: zmq.Context[zmq.Socket[bytes]],
        spec: KernelSpec,
        request: LaunchRequest,
        settings: KernelSettings,
        oom_kills: OomKills,
        guard: Guard,
        fork_servers: ForkServers | None,
        listener: KernelListener,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._context = context
        self._request = request
        self.session = uuid4().hex
        self._listener = listener
        self._start = _start_of(spec, settings)
        self._interrupt_by_message = spec.interrupt_mode == "message"
        self._process = KernelProcess(spec, request, settings, oom_kills, guard, fork_servers)
        self._connection: KernelConnection | None = None
        self._held: list[Request | RawMessage] = []
        self._executing: tuple[str, float] | None = None  # which request, since when
        self._ready: asyncio.Future[None] = loop.create_future()
        self._given_up: asyncio.Future[None] = loop.create_future()
        self._dead: asyncio.Future[KernelExit] = loop.create_future()

    def __repr__(self) -> str:
        state = "dead" if self._dead.done() else "ready" if self._ready.done() else "starting"
        return f"<LocalKernel {self._request.kernel_id[:8]} gen={self.generation} {state}>"

    @property
    def generation(self) -> Generation:
        return self._request.generation

    @property
    def alive(self) -> bool:
        return self._process.alive

    def output(self) -> ProcessOutput:
        return self._process.output()

    def send(self, request: Request | RawMessage) -> None:
        """Held back until the kernel is ready: what it printed earlier would not be heard."""
        if self._ready.done() and self._connection:
            self._connection.send(request)
        elif len(self._held) < HELD_REQUESTS:
            self._held.append(request)
        else:
            LOG.warning("%r: a %s is dropped, too many wait", self, request.msg_type)

    async def interrupt(self) -> None:
        """Nothing runs in a kernel that is not ready, and a SIGINT would end its start."""
        if not self._ready.done() or not self._connection:
            return
        if self._interrupt_by_message:
            self._connection.ask_interrupt()
        elif await self._settled():
            await self._process.signal(signal.SIGINT)

    async def _settled(self) -> bool:
        """When the kernel has got to the code; False if the request is over by then."""
        executing = self._executing
        if executing is not None:
            _, since = executing
            await asyncio.sleep(since + SETTLE_S - asyncio.get_running_loop().time())
        return self._executing == executing

    async def terminate(self) -> None:
        self._give_up()
        await self._process.terminate()

    async def kill(self) -> None:
        self._give_up()
        await self._process.kill()

    async def shutdown(self, grace_s: float) -> None:
        if self._ready.done() and self._connection:
            self._connection.ask_shutdown()
            await self._process.announce_shutdown()
            await self._escalate(grace_s)
        else:
            await self.kill()  # nothing to lose
        await self.wait_dead()

    async def wait_dead(self) -> KernelExit:
        return await asyncio.shield(self._dead)

    async def prepare(self) -> str | None:
        if not self._process.is_usual:
            return "its provisioner is not one of ours"
        said = await self._asked(adoption.preparation, PREPARATION_LIMIT_S)
        if said.status == "ok":
            await self._asked(adoption.rehearsal, PREPARATION_LIMIT_S)
            return None
        return said.evalue

    async def adopt(self, request: LaunchRequest) -> bool:
        def become(msg_id: MsgId) -> Request:
            return self._start.adoption(msg_id, self._request, request)

        said, made = await asyncio.gather(
            self._asked(become, ADOPTION_LIMIT_S),
            asyncio.to_thread(self._note, request),
            return_exceptions=True,
        )
        for fault in (said, made):
            if isinstance(fault, (TimeoutError, OSError)):
                return False  # whoever starts another says what is wrong with a folder
            if isinstance(fault, BaseException):
                raise fault
        self._request = request
        return isinstance(said, Replied) and said.status == "ok"

    def _note(self, request: LaunchRequest) -> None:
        if request.artifact_dir is not None:
            make_private(request.artifact_dir)
        self._process.note(request)

    async def _asked(self, request_of: Callable[[MsgId], Request], limit_s: float) -> Replied:
        """What it says to it. Raises `TimeoutError` when it says nothing, for whatever reason."""
        if self._connection is None or not self._ready.done():
            raise TimeoutError("it is not ready")
        asking = self._connection.ask(request_of)
        try:
            async with asyncio.timeout(limit_s):
                await _first_of(asking, self._process.gone)
            if asking.done():
                return asking.result()
            raise TimeoutError("it has ended")
        finally:
            asking.cancel()

    async def memory(self) -> int:
        return await asyncio.to_thread(self._process.memory)

    async def live(self) -> None:
        """From the start until `on_dead` has been told. Never raises."""
        fault: str | None = None
        try:
            await self._come_up()
            await self._process.note_memory()
            await asyncio.wait({self._process.gone})
        except KernelStartFailed as failed:
            fault = failed.message
        except Exception:  # the driver's loop: a bug of ours ends this kernel, and no other
            LOG.exception("%r ends by a fault of ours", self)
            fault = "An internal fault ended the kernel."
        self._tell_dead(await self._bury(fault))

    def _give_up(self) -> None:
        """A start is not waited for any more."""
        if not self._ready.done() and not self._given_up.done():
            self._given_up.set_result(None)

    async def _escalate(self, grace_s: float) -> None:
        if not await self._process.gone_within(grace_s):
            await self._process.terminate()
            if not await self._process.gone_within(TERMINATE_GRACE_S):
                await self._process.kill()

    async def _come_up(self) -> None:
        """Returns when the kernel is ready. Raises `KernelStartFailed`."""
        try:
            async with asyncio.timeout(self._request.start_limit_s):
                await self._launch()
                await _first_of(self._ready, self._process.gone, self._given_up)
        except TimeoutError:
            if not self._ready.done():  # both can happen in one tick; what was told is true
                self._give_up()
                raise KernelStartFailed(await self._what_was_seen()) from None
        if self._given_up.done():
            raise KernelStartFailed("It was stopped before it was ready.")
        if not self._ready.done():
            raise KernelStartFailed("It ended before it was ready.")

    async def _launch(self) -> None:
        """Start the process, unless the kernel is given up before that is done."""
        launching = asyncio.create_task(self._process.launch())
        try:
            await _first_of(launching, self._given_up)
            if not launching.done():
                return
            info = await launching
        finally:
            launching.cancel()
            await asyncio.gather(launching, return_exceptions=True)
        await self._process.note_memory()  # a start can be too big as well
        self._connection = KernelConnection(
            self._context,
            info,
            session=self.session,
            on_ready=self._on_ready,
            on_message=self._on_message,
        )

    async def _what_was_seen(self) -> str:
        limit = f"It was not ready within {self._request.start_limit_s:g} s"
        if not self._connection:
            return f"{limit}: its provisioner has not started it."
        answers = await self._connection.beat(BEAT_LIMIT_S)
        return f"{limit}: the process runs, its heartbeat {'answers' if answers else 'is silent'}."

    def _on_ready(self, info: KernelInfo) -> None:
        if self._given_up.done() or self._process.gone.done():
            return  # it answered while it was being ended
        self._ready.set_result(None)
        held, self._held = self._held, []
        for request in held:
            self.send(request)
        self._listener.on_ready(info)

    def _on_message(self, message: RawMessage) -> None:
        if message.msg_type == "status" and message.parent:
            self._note_status(message.parent, message)
        self._listener.on_message(message)

    def _note_status(self, parent: Header, message: RawMessage) -> None:
        if parent.msg_type != "execute_request" or parent.more.get("subshell_id"):
            return  # a signal goes to the main shell
        try:
            is_busy = isinstance(fact_of(message), Busy)
        except MalformedMessage:
            return  # whoever else looks at it will say so
        if is_busy:
            self._executing = parent.msg_id, asyncio.get_running_loop().time()
        elif self._executing and self._executing[0] == parent.msg_id:
            self._executing = None

    async def _bury(self, fault: str | None) -> KernelExit:
        """First everything it still said, then the sockets, then the process and its files.

        The sockets are closed before anybody hears of the death, so that nothing sent to this
        kernel can reach the next.
        """
        await self._process.end()
        if self._connection:
            await self._connection.last_words()
            self._connection.close()
        code = await self._process.bury()
        return self._exit_of(code, fault)

    def _exit_of(self, code: int | None, fault: str | None) -> KernelExit:
        killed = code is not None and code < 0
        return KernelExit(
            exit_code=None if killed else code,
            signal=_signal_name(-code) if code is not None and killed else None,
            start_fault=fault,
            stderr_tail=self._process.output().text,
            out_of_memory=self._process.out_of_memory,
        )

    def _tell_dead(self, exit_: KernelExit) -> None:
        self._held.clear()
        try:
            self._listener.on_dead(exit_)
        finally:
            self._dead.set_result(exit_)


class LocalLauncher:
    """Implements `Launcher`. Owns the ZeroMQ context and the lives of its kernels; close it."""

    def __init__(self, settings: KernelSettings | None = None) -> None:
        self._settings = settings or KernelSettings()
        self.specs = KernelSpecs(self._settings)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.max_sockets = _MAX_SOCKETS
        self._oom_kills = OomKills()
        self._guard = Guard()
        self._forking = Forking(self._settings) if self._settings.fork_server else None
        self._lives: dict[asyncio.Task[None], LocalKernel] = {}
        self.when_gone: Callable[[], None] = lambda: None
        KernelProvisionerFactory.instance()  # reads all entry points; not within a start
        if left := remove_left_behind(self._settings.runtime_dir):
            LOG.debug("removed the folders of %d kernels whose gateway was killed", left)

    def launch(self, request: LaunchRequest, listener: KernelListener) -> LocalKernel:
        kernel = LocalKernel(
            context=self._context,
            spec=self.specs.get(request.spec_name),
            request=request,
            settings=self._settings,
            oom_kills=self._oom_kills,
            guard=self._guard,
            fork_servers=self._forking.servers if self._forking else None,
            listener=listener,
        )
        life = asyncio.create_task(kernel.live(), name=f"life of {kernel!r}")
        self._lives[life] = kernel
        life.add_done_callback(self._lived)
        return kernel

    def seed(self, request: LaunchRequest) -> Seed | None:
        spec = self.specs.get(request.spec_name)
        return _start_of(spec, self._settings).seed(request, _edition_of(spec))

    def prepare(self, owner: str) -> None:
        """Have ready soon what kernels of the default kernelspec have in common; returns at once,
        raises nothing."""
        if self._forking is None:
            return
        spec_name = self.default_spec()
        try:
            spec = self.specs.get(spec_name)
        except KernelSpecNotFound as fault:
            LOG.debug("nothing is prepared: %s", fault)
            return
        any_one = LaunchRequest(
            kernel_id=KernelId(""), generation=Generation(1), spec_name=spec_name, owner=owner
        )
        env = _start_of(spec, self._settings).environment(any_one)
        self._forking.prepare(spec.argv, env, owner)

    @property
    def warm(self) -> int:
        return 0

    @property
    def processes(self) -> int:
        return len(self._lives)

    def default_spec(self) -> str:
        return self.specs.default_spec()

    def kernelspec(self, name: str) -> SpecEntry:
        return self.specs.entry(name)

    def kernelspecs(self) -> Sequence[SpecEntry]:
        return self.specs.list()

    async def close(self) -> None:
        """Kernels that somebody has forgotten are killed: an open socket would hang the context."""
        for kernel in list(self._lives.values()):
            LOG.warning("%r is killed: the launcher closes", kernel)
            await kernel.kill()
        if self._lives:
            await asyncio.wait(self._lives)
        if self._forking:
            await self._forking.close()
        self._context.term()
        await self._guard.close()

    def _lived(self, life: asyncio.Task[None]) -> None:
        del self._lives[life]
        self.when_gone()
        if not life.cancelled() and (fault := life.exception()):
            LOG.error("a listener failed at the death of its kernel", exc_info=fault)


def _start_of(spec: KernelSpec, settings: KernelSettings) -> Start:
    return Start(spec.argv, spec.env, own=os.environ, settings=settings)


def _edition_of(spec: KernelSpec) -> str:
    """The packages are those of our interpreter: of others nobody knows where they are."""
    try:
        changed = os.stat(os.path.join(spec.resource_dir, "kernel.json")).st_mtime_ns
    except OSError:
        changed = 0
    return f"{changed} {packages_stamp()}"


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between the first and the last
        return f"signal {number}"
