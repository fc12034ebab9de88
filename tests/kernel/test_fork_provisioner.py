"""Kernels from fork servers: found, shared, let go of; and started as usual where there is none."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from kernel_gateway.fork_server.wire import ForkRequest
from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.kernels.provisioners.fork import PROVISIONER, kind_of
from kernel_gateway.kernels.provisioners.servers import ForkFailed, ForkServers, NotNow
from kernel_gateway.kernels.provisioners.surroundings import packages_stamp, surroundings
from tests.kernel import fork_user
from tests.kernel.fork_user import parent_of
from tests.shared.kernels import HANG_LIMIT_S
from tests.shared.processes import stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from kernel_gateway.kernels.provisioners.forked import ForkedKernel
    from kernel_gateway.kernels.provisioners.kind import ServerKind
    from tests.shared.kernels import Bench, Started

COMMAND = [sys.executable, "-m", "ipykernel_launcher"]
PID = "import os; print(os.getpid())"
LIMIT_S = 4 * HANG_LIMIT_S  # for a server that imports while all others do, too


async def pid_of(started: Started) -> int:
    return int(started.recorder.stdout(await started.run(PID)))


def is_forked(pid: int) -> bool:
    return is_server(parent_of(pid))


def is_server(pid: int) -> bool:
    return b"kernel_gateway.fork_server" in Path(f"/proc/{pid}/cmdline").read_bytes()


def servers_of(pid: int) -> list[int]:
    """Of each of its threads, since any may have started it."""
    lists = [file.read_text().split() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [child for child in map(int, chain(*lists)) if is_server(child)]


def endings_in(folder: Path) -> list[str]:
    return sorted(file.suffix for file in folder.glob("fork-*.*"))


class Watched:
    """A process that is none of our children."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._pidfd)

    def ends(self, within_s: float = LIMIT_S) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    @property
    def runs(self) -> bool:
        return not self.ends(0)


# -- in the gateway --------------------------------------------------------------------------------


@pytest.fixture
async def forking(make_bench: Callable[..., Bench]) -> Bench:
    """Its kernels come from a fork server, where that can be."""
    return make_bench(fork_server=True)


async def test_kernels_of_one_owner_come_from_one_server_and_those_of_another_from_another(
    forking: Bench, write_spec: Callable[..., str]
) -> None:
    local = {"kernel_provisioner": {"provisioner_name": "local-provisioner"}}
    first, usual, other = [
        await forking.ready(owner="ada"),
        await forking.ready(owner="ada", spec_name=write_spec("usual", metadata=local)),
        await forking.ready(owner="bob"),
    ]
    pids = [await pid_of(one) for one in (first, usual, other)]
    assert all(is_forked(pid) for pid in pids)
    assert parent_of(pids[0]) == parent_of(pids[1]) != parent_of(pids[2])
    for one in (first, usual, other):
        await one.kernel.kill()
        assert "SIGKILL" == (await one.kernel.wait_dead()).signal


async def test_a_kernel_ends_with_its_server_and_the_next_comes_from_another(
    forking: Bench,
) -> None:
    started = await forking.ready()
    server = parent_of(await pid_of(started))
    os.kill(server, signal.SIGKILL)
    assert "SIGKILL" == (await started.recorder.dead()).signal
    again = await forking.ready()
    pid = await pid_of(again)
    assert is_forked(pid)
    assert server != parent_of(pid)
    again.send("import os; os._exit(7)")
    assert 7 == (await again.recorder.dead()).exit_code


async def test_the_first_kernel_finds_the_server_that_was_prepared_for_it(forking: Bench) -> None:
    assert isinstance(forking.launcher, LocalLauncher)
    forking.launcher.prepare("ada")
    started = await forking.ready(owner="ada", env={"ANY": "thing"})
    pid = await pid_of(started)
    assert is_forked(pid)
    assert [parent_of(pid)] == servers_of(os.getpid())
    await started.kernel.kill()
    await started.kernel.wait_dead()


async def test_a_kernel_does_not_find_what_another_parent_would_be_told_by(
    forking: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    started = await forking.ready()
    shown = "import os; print(os.environ.get('JPY_PARENT_PID'))"
    assert "None\n" == started.recorder.stdout(await started.run(shown))
    await started.kernel.kill()
    await started.kernel.wait_dead()


async def test_a_server_that_cannot_start_costs_a_line_and_no_kernel(
    forking: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'kernel_gateway.fork_server' in sys.orig_argv:\n"
        "    os.write(2, b'out of order')\n"
        "    os._exit(1)\n"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    assert isinstance(forking.launcher, LocalLauncher)
    assert forking.launcher._forking is not None
    forking.launcher._forking.servers._clock = lambda: 0.0  # no time passes
    for _ in range(2):
        started = await forking.ready(env=env)
        assert not is_forked(await pid_of(started))
        await started.kernel.kill()
        await started.kernel.wait_dead()
    (line,) = [line for line in caplog.messages if "without a fork server" in line]
    assert "The fork server has failed: It has gone. Its last words: out of order" in line


@pytest.fixture
def provisioner(monkeypatch: pytest.MonkeyPatch) -> None:
    provisioners = KernelProvisionerFactory.instance().provisioners
    monkeypatch.setitem(provisioners, PROVISIONER, fork_user.ENTRY)


async def test_a_kernelspec_may_ask_for_it_where_it_is_off(
    make_bench: Callable[..., Bench],
    write_spec: Callable[..., str],
    provisioner: None,
) -> None:
    bench = make_bench(fork_server=False)
    spec = write_spec(metadata={"kernel_provisioner": {"provisioner_name": PROVISIONER}})
    started = await bench.ready(spec_name=spec)
    assert os.getpid() == parent_of(await pid_of(started))
    await started.kernel.kill()
    await started.kernel.wait_dead()


async def test_a_folder_that_is_not_there_is_told_as_ever(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    told = []
    for fork_server in (True, False):
        started = make_bench(fork_server=fork_server).launch(cwd=tmp_path / "none")
        told.append((await started.recorder.dead()).start_fault)
    assert told[0] == told[1] is not None


#: A gateway with a kernel, which is never asked to end.
GATEWAY = """
import asyncio, json
from kernel_gateway.kernels.local import LocalLauncher
from tests.kernel.fork_user import parent_of
from tests.shared.kernels import Bench, Python

async def main():
    started = await Bench(LocalLauncher(), Python()).ready()
    shown = "import os, subprocess; print(os.getpid(), subprocess.Popen(['sleep', '600']).pid)"
    pid, child = map(int, started.recorder.stdout(await started.run(shown)).split())
    print(json.dumps({"kernel": pid, "child": child, "server": parent_of(pid)}), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_nothing_is_left_of_a_killed_gateway() -> None:
    with subprocess.Popen([sys.executable, "-c", GATEWAY], stdout=subprocess.PIPE) as gateway:
        assert gateway.stdout is not None
        told = json.loads(gateway.stdout.readline())
        with ExitStack() as stack:
            watched = [stack.enter_context(Watched(pid)) for pid in told.values()]
            gateway.kill()
            assert all(one.ends() for one in watched)


# -- in any program --------------------------------------------------------------------------------


#: jupyter_client keeps loops, so it is used in a program of its own.
BLOCKING = """
import signal, subprocess
from kernel_gateway.kernels.provisioners.forked import ForkedKernel
from tests.kernel.fork_user import manager

kernel = manager()
kernel.start_kernel()
first = kernel.provisioner.process
assert isinstance(first, ForkedKernel), first
assert kernel.is_alive()
kernel.restart_kernel(now=True)
assert -signal.SIGKILL == first.returncode
second = kernel.provisioner.process
assert isinstance(second, ForkedKernel), second
assert kernel.is_alive()
try:
    second.wait(0)
except subprocess.TimeoutExpired:
    second.terminate()
assert -signal.SIGTERM == second.wait(60)
second.kill()  # as with Popen: nobody is there any more, and nothing is said
assert not kernel.is_alive()
kernel.shutdown_kernel()
assert not kernel.has_kernel

for only_a_start in (
    {"independent": True},  # it would not outlive its server
    {"stderr": subprocess.PIPE},
):
    kernel = manager()
    kernel.start_kernel(**only_a_start)
    is_started = isinstance(kernel.provisioner.process, subprocess.Popen)
    kernel.shutdown_kernel(now=True)
    assert is_started, only_a_start
print("all of it")
"""


def test_a_blocking_manager_starts_restarts_and_ends_kernels(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", BLOCKING],
        env=env,
        stdout=subprocess.PIPE,
        check=True,
        timeout=LIMIT_S,
    )
    assert b"all of it\n" == done.stdout


def test_programs_of_a_user_share_a_server_that_goes_with_the_last(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.kernel.fork_user"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen(command, env=env, **pipes) as one,
        subprocess.Popen(command, env=env, **pipes) as other,
    ):
        told = [json.loads(program.stdout.readline()) for program in (one, other)]  # type: ignore[union-attr]
        assert told[0]["server"] == told[1]["server"]
        assert told[0]["kernel"] != told[1]["kernel"]
        with Watched(told[0]["server"]) as server, Watched(told[1]["kernel"]) as kernel:
            one.communicate()
            assert server.runs
            assert kernel.runs
            other.kill()
            assert kernel.ends()
            assert server.ends()
    assert [] == list(tmp_path.glob("*/*.sock"))


# -- what they go by -------------------------------------------------------------------------------


def test_programs_that_may_do_other_things_are_told_apart() -> None:
    before = surroundings()
    assert before == surroundings()
    usual = os.umask(0)
    os.umask(usual ^ 0o010)
    try:
        assert before != surroundings()
    finally:
        os.umask(usual)


def test_packages_that_come_and_go_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(str(packages))
    told = {packages_stamp()}
    packages.mkdir()
    for changed_ns in (1, 2):
        os.utime(packages, ns=(changed_ns, changed_ns))
        told.add(packages_stamp())
    assert 3 == len(told)


def test_programs_that_find_the_provisioner_load_little() -> None:
    """All that use jupyter_client do, as soon as a kernelspec names it."""
    code = (
        "import sys, kernel_gateway.kernels.provisioners.fork\n"
        "assert not {'alembic', 'httpx', 'jsonschema', 'sqlalchemy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- servers themselves ----------------------------------------------------------------------------


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[ForkServers]:
    servers = ForkServers(lambda: tmp_path, most=1)
    yield servers
    await servers.close()


@pytest.fixture
def kind() -> ServerKind:
    return kind_of(COMMAND, dict(os.environ))


@asynccontextmanager
async def kernel_of(
    servers: ForkServers, kind: ServerKind, *, patience_s: float = LIMIT_S
) -> AsyncIterator[ForkedKernel]:
    """It waits for a connection file, for ever or not: it is not spoken to."""
    request = ForkRequest(command=COMMAND, env=dict(os.environ), cwd="/")
    null = os.open(os.devnull, os.O_RDWR)
    try:
        kernel = await servers.fork(kind, request, [null, null, null], patience_s=patience_s)
    finally:
        os.close(null)
    try:
        yield kernel
    finally:
        kernel.kill()
        await kernel.exited()
        kernel.close()


@contextmanager
def stopped(server: int) -> Iterator[None]:
    stop(server)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)


async def test_one_that_nobody_has_kernels_of_makes_room_and_no_other(
    servers: ForkServers, kind: ServerKind
) -> None:
    other = replace(kind, owner="bob")
    async with kernel_of(servers, kind) as kernel:
        with pytest.raises(NotNow, match="There are 1 fork servers, and all have"):
            await servers.prepare(other)
        server = Watched(parent_of(kernel.pid))
    with server:
        await servers.prepare(other)
        assert server.ends()


async def test_a_change_of_packages_makes_another_and_the_old_one_goes_with_its_kernels(
    kind: ServerKind, tmp_path: Path
) -> None:
    servers = ForkServers(lambda: tmp_path)
    async with kernel_of(servers, kind) as old, kernel_of(servers, replace(kind, stamp="")) as new:
        with Watched(parent_of(old.pid)) as server:
            assert parent_of(new.pid) != server.pid
            assert server.runs
            old.kill()
            await old.exited()
            old.close()
            assert server.ends()
    await servers.close()


async def test_one_that_does_not_answer_is_left_alone_for_some_time(
    kind: ServerKind, tmp_path: Path
) -> None:
    now = [0.0]
    servers = ForkServers(lambda: tmp_path, clock=lambda: now[0])
    async with kernel_of(servers, kind) as kernel:
        server = parent_of(kernel.pid)
        servers._answer_limit_s = 0.01
        with stopped(server):
            for later in (2.0, 4.0):
                asked = [kernel_of(servers, kind).__aenter__() for _ in range(3)]
                for fault in await asyncio.gather(*asked, return_exceptions=True):
                    assert isinstance(fault, ForkFailed), fault  # all tell of one failure
                    assert "It has not answered within 0.01 s." in str(fault)
                with pytest.raises(NotNow, match="has failed a moment ago"):
                    await kernel_of(servers, kind).__aenter__()
                now[0] += later
        servers._answer_limit_s = LIMIT_S
        async with kernel_of(servers, kind) as again:
            assert server == parent_of(again.pid)
    await servers.close()


async def test_who_has_no_patience_goes_without_and_others_are_served(
    servers: ForkServers, kind: ServerKind
) -> None:
    async with kernel_of(servers, kind) as kernel:
        server = parent_of(kernel.pid)
        with (
            stopped(server),
            pytest.raises(ForkFailed, match=r"^It has not answered within 0.01 s.$"),
        ):
            await kernel_of(servers, kind, patience_s=0.01).__aenter__()
        async with kernel_of(servers, kind) as again:
            assert server == parent_of(again.pid)


async def test_what_killed_servers_have_left_is_swept_by_the_next(
    kind: ServerKind, tmp_path: Path
) -> None:
    servers = ForkServers(lambda: tmp_path)
    async with kernel_of(servers, kind) as kernel:
        os.kill(parent_of(kernel.pid), signal.SIGKILL)
        assert -signal.SIGKILL == await kernel.exited()
    await servers.prepare(replace(kind, owner="bob"))
    assert [".err", ".sock"] == endings_in(tmp_path)
    await servers.close()
    assert [".err"] == endings_in(tmp_path)


async def test_none_is_started_when_they_are_closed(kind: ServerKind, tmp_path: Path) -> None:
    servers = ForkServers(lambda: tmp_path)
    await servers.close()
    with pytest.raises(ForkFailed, match="closed"):
        await servers.prepare(kind)


def test_a_program_that_forks_keeps_no_kernel_and_no_server(tmp_path: Path) -> None:
    code = (
        "import os, sys, json, time\n"
        "from tests.kernel.fork_user import manager, parent_of\n"
        "kernel = manager()\n"
        "kernel.start_kernel()\n"
        "if os.fork() == 0:\n"
        "    os.close(1)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "pid = kernel.provisioner.pid\n"
        "print(json.dumps({'kernel': pid, 'server': parent_of(pid)}), flush=True)\n"
        "time.sleep(600)\n"
    )
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        told = json.loads(program.stdout.readline())
        with Watched(told["kernel"]) as kernel, Watched(told["server"]) as server:
            program.kill()
            assert kernel.ends()
            assert server.ends()
