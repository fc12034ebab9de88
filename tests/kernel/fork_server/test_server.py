"""`fork_server/server.py`: clients that behave and clients that do not, and what becomes of what
they have asked for. Its children are no kernels here, but run what a test has them run."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.fork_server.wire import (
    MOST_BYTES,
    Exited,
    Fault,
    Forked,
    ForkRequest,
    request_line,
)
from tests.kernel.fork_server.served import LIMIT_S, REBORN, Served, bare, bare_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOREVER = REBORN + "time.sleep(600)"
#: A child of the child that holds its stdout, which the test reads until its end.
WITH_CHILD = f"""
{REBORN}
os.dup2(birth.descriptors[1], 1)
import subprocess
subprocess.Popen(["/bin/sleep", "600"])
os.write(1, b"started")
time.sleep(600)
"""
NULL = (0, 1, 2)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all that leave it as it was: nothing ends it."""
    with bare(tmp_path_factory.mktemp("served")) as served, served.client():
        yield served


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A test may close its second end."""
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        with suppress(OSError):
            os.close(end)


def ended(pidfd: int) -> bool:
    """Waits for it."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(LIMIT_S * 1000))


def read_all(descriptor: int) -> bytes:
    """Until nobody has its other end any more."""
    said = b""
    while select.select([descriptor], [], [], LIMIT_S)[0]:
        part = os.read(descriptor, 1000)
        if not part:
            return said
        said += part
    raise TimeoutError


# -- what is told ----------------------------------------------------------------------------------


def test_a_child_is_told_and_its_end(served: Served) -> None:
    with served.asked(bare_request(REBORN + "os._exit(7)")) as client:
        forked = client.heard()
        assert isinstance(forked, Forked)
        assert Exited(7) == client.heard()


def test_a_signal_is_a_negative_code(served: Served) -> None:
    with served.asked(bare_request(FOREVER)) as client:
        forked = client.heard()
        assert isinstance(forked, Forked)
        os.kill(forked.pid, signal.SIGKILL)
        assert Exited(-signal.SIGKILL) == client.heard()


def test_it_is_a_zombie_until_the_client_closes(served: Served) -> None:
    with served.asked(bare_request(REBORN)) as client:
        forked = client.heard()
        assert isinstance(forked, Forked)
        pidfd = os.pidfd_open(forked.pid)
        assert Exited(0) == client.heard()
        os.kill(forked.pid, 0)  # nobody else can have its number
    with served.asked(bare_request(REBORN)) as other:  # served after the other's end
        other.heard()
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, 0)
    os.close(pidfd)


def test_a_client_that_goes_takes_the_group_of_its_kernel_along(
    served: Served, pipe: tuple[int, int]
) -> None:
    read, write = pipe
    with served.asked(bare_request(WITH_CHILD), write) as client:
        os.close(write)
        assert isinstance(client.heard(), Forked)
        assert b"started" == os.read(read, 100)
    assert b"" == read_all(read)


def test_what_a_dead_kernel_leaves_behind_is_killed_when_the_client_closes(
    served: Served, pipe: tuple[int, int]
) -> None:
    read, write = pipe
    code = WITH_CHILD.replace("time.sleep(600)", "os._exit(3)")
    with served.asked(bare_request(code), write) as client:
        os.close(write)
        assert isinstance(client.heard(), Forked)
        assert Exited(3) == client.heard()
        assert b"started" == os.read(read, 100)
        assert not select.select([read], [], [], 0)[0]  # its child lives
    assert b"" == read_all(read)


def test_a_client_that_does_not_wait_for_its_kernel_has_it_killed(
    served: Served, pipe: tuple[int, int]
) -> None:
    read, write = pipe
    with served.asked(bare_request("time.sleep(600)"), write):
        os.close(write)
    assert b"" == read_all(read)


# -- births that go wrong --------------------------------------------------------------------------


def test_a_child_says_why_it_is_no_kernel(served: Served) -> None:
    with served.asked(bare_request("os.write(birth.report, b'-No such folder.')")) as client:
        assert [Fault("No such folder."), None] == [client.heard(), client.heard()]


def test_a_child_that_dies_at_once_is_no_kernel(served: Served) -> None:
    with served.asked(bare_request("os._exit(1)")) as client:
        assert Fault("The process has died before it was a kernel.") == client.heard()


def test_a_child_that_takes_too_long_is_killed(tmp_path: Path, pipe: tuple[int, int]) -> None:
    read, write = pipe
    sleeping = bare_request("time.sleep(600)")
    with bare(tmp_path, birth_s=0.01) as served:
        with served.client() as hold:
            with served.asked(sleeping, write) as client:
                os.close(write)
                assert Fault("The process was no kernel after 0 s.") == client.heard()
                assert b"" == read_all(read)
            hold.send(b"{}\n")
            assert isinstance(hold.heard(), Fault)  # it serves on
        assert 0 == served.wait()
        assert "" == served.errors


# -- clients that do not behave --------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n",
        b"\xff\n",
        b"{}\n",
        b"[" * 100_000 + b"\n",
        request_line(ForkRequest(command=[], env={}, cwd="/")),
        request_line(ForkRequest(command=["python", "-c", "1"], env={}, cwd="/")),
        request_line(ForkRequest(command=["python", "-m", "http.server"], env={}, cwd="/")),
    ],
    ids=range(8),
)
def test_what_is_no_request_is_refused(served: Served, line: bytes) -> None:
    with served.client() as client:
        client.send(line, NULL)
        answer = client.heard()
        assert isinstance(answer, Fault)
        assert answer.why.endswith(".")
        assert client.heard() is None


@pytest.mark.parametrize("descriptors", [(), (0,), (0, 1, 2, 2)])
def test_a_request_has_three_descriptors(served: Served, descriptors: tuple[int, ...]) -> None:
    with served.client() as client:
        client.send(request_line(bare_request(FOREVER)), descriptors)
        assert isinstance(client.heard(), Fault)
        assert client.heard() is None


def test_a_line_without_an_end_is_refused(served: Served) -> None:
    with served.client() as client:
        with suppress(ConnectionError):  # it has read enough
            client.send(b"x" * (MOST_BYTES + 2**20), NULL)
        assert isinstance(client.heard(), Fault)


def test_descriptors_of_a_refused_request_are_closed(served: Served, pipe: tuple[int, int]) -> None:
    read, write = pipe
    with served.client() as client:
        client.send(b"{}\n", [write, write, write])
        os.close(write)
        assert isinstance(client.heard(), Fault)
        assert b"" == read_all(read)


def test_descriptors_of_half_a_request_are_closed_with_its_client(
    served: Served, pipe: tuple[int, int]
) -> None:
    read, write = pipe
    with served.client() as client:
        client.send(b"{", [write])
        os.close(write)
    assert b"" == read_all(read)


def test_half_a_request_holds_up_nobody(served: Served) -> None:
    line = request_line(bare_request(REBORN))
    with served.client() as slow:
        slow.send(line[:10], NULL)
        with served.asked(bare_request(REBORN)) as client:
            assert isinstance(client.heard(), Forked)
        slow.send(line[10:])
        assert isinstance(slow.heard(), Forked)


def test_descriptors_of_half_a_request_are_not_for_the_kernels_of_others(
    served: Served, pipe: tuple[int, int]
) -> None:
    read, write = pipe
    with ExitStack() as stack:
        with served.client() as half:
            half.send(b"{", [write])
            os.close(write)
            # It has been read: this client came later, and is answered.
            client = stack.enter_context(served.asked(bare_request(FOREVER)))
            assert isinstance(client.heard(), Forked)
        assert b"" == read_all(read)


def test_what_a_client_says_after_its_request_changes_nothing(
    served: Served, pipe: tuple[int, int]
) -> None:
    read, write = pipe
    with served.asked(bare_request(FOREVER)) as client:
        forked = client.heard()
        assert isinstance(forked, Forked)
        client.send(request_line(bare_request(FOREVER)), [write])
        os.close(write)
        assert b"" == read_all(read)
        os.kill(forked.pid, signal.SIGKILL)
        assert Exited(-signal.SIGKILL) == client.heard()


def test_it_serves_on_when_it_has_had_no_descriptor_left(tmp_path: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))"
    with bare(tmp_path, before=code) as served, served.client(), ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(served.client())
        with served.asked(bare_request(REBORN)) as client:
            stack.close()
            assert isinstance(client.heard(), Forked)


@pytest.mark.parametrize("most", range(10, 18))
def test_whoever_asks_when_descriptors_run_out_is_told(tmp_path: Path, most: int) -> None:
    code = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))"
    with (
        bare(tmp_path, before=code) as served,
        served.asked(bare_request(REBORN)) as client,
    ):
        assert isinstance(client.heard(), Forked | Fault)


def test_another_user_is_refused(tmp_path: Path) -> None:
    code = "import os; os.geteuid = lambda: -1"
    with (
        bare(tmp_path, before=code) as served,
        served.asked(bare_request(REBORN)) as client,
    ):
        assert [Fault("It is another user's."), None] == [client.heard(), client.heard()]


def test_who_has_started_it_may_ignore_its_children(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    with (
        bare(tmp_path, before=code) as served,
        served.asked(bare_request(REBORN + "os._exit(7)")) as client,
    ):
        assert isinstance(client.heard(), Forked)
        assert Exited(7) == client.heard()


# -- what a child has of the server ----------------------------------------------------------------


def test_a_child_has_only_its_own_descriptors(served: Served, pipe: tuple[int, int]) -> None:
    read, write = pipe
    code = """
for name in os.listdir("/proc/self/fd"):
    if int(name) > 2:
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        os.write(birth.descriptors[1], target.encode() + b"\\n")
"""
    with served.asked(bare_request(FOREVER)) as one, served.client():
        assert isinstance(one.heard(), Forked)
        with served.asked(bare_request(code), write) as client:
            os.close(write)
            assert isinstance(client.heard(), Fault)
            kinds = sorted(line.partition(":")[0] for line in read_all(read).decode().split())
    # Its three, and where it reports.
    assert ["/dev/null", "pipe", "pipe", "pipe"] == kinds


def test_a_child_has_its_signals_blocked_until_it_is_a_kernel(
    served: Served, pipe: tuple[int, int]
) -> None:
    read, write = pipe
    code = """
import signal
os.kill(os.getpid(), signal.SIGTERM)
pending = signal.SIGTERM in signal.sigpending()
os.write(birth.descriptors[1], str(pending).encode())
"""
    with served.asked(bare_request(code), write) as client:
        os.close(write)
        assert isinstance(client.heard(), Fault)
        assert b"True" == read_all(read)


# -- its end ---------------------------------------------------------------------------------------


def test_it_ends_with_its_last_connection_and_nobody_finds_it(tmp_path: Path) -> None:
    with bare(tmp_path) as served:
        with served.client(), served.client():
            pass
        assert 0 == served.wait()
        assert not served.path.exists()
        assert "" == served.errors


def test_it_ends_when_nobody_has_come(tmp_path: Path) -> None:
    with bare(tmp_path, lonely_s=0.01) as served:
        assert 0 == served.wait()
        assert not served.path.exists()


def test_who_finds_it_while_it_is_about_to_end_is_served(tmp_path: Path) -> None:
    with bare(tmp_path) as served, served.lock.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as one does who looks for a server
        with served.client() as client:
            client.send(b"{}\n")
            assert isinstance(client.heard(), Fault)  # its last one
            assert client.heard() is None
        with served.client() as found:
            fcntl.flock(lock, fcntl.LOCK_UN)
            found.send(request_line(bare_request(REBORN)), NULL)
            assert isinstance(found.heard(), Forked)
        assert 0 == served.wait()


def test_it_leaves_the_socket_of_another_server_alone(tmp_path: Path) -> None:
    with bare(tmp_path) as served, socket.socket(socket.AF_UNIX) as other:
        with served.client(), served.asked(bare_request(REBORN)) as client:
            assert isinstance(client.heard(), Forked)  # so it has begun
            served.path.unlink()
            other.bind(str(served.path))
        assert 0 == served.wait()
        assert served.path.exists()


def test_it_ends_when_its_folder_is_gone(tmp_path: Path) -> None:
    with bare(tmp_path) as served:
        with served.client():
            served.lock.unlink()
        assert 0 == served.wait()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_its_kernels(tmp_path: Path, signum: int) -> None:
    with bare(tmp_path) as served:
        with served.client() as hold, served.asked(bare_request(FOREVER)) as client:
            forked = client.heard()
            assert isinstance(forked, Forked)
            pidfd = os.pidfd_open(forked.pid)
            served.process.send_signal(signum)
            assert [None, None] == [client.heard(), hold.heard()]
            assert ended(pidfd)
            os.close(pidfd)
        assert 0 == served.wait()
        assert not served.path.exists()
