"""Interrupts, kills and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import zmq

from tests.kernel.command_kernel.conftest import all_gone
from tests.shared.kernels import HANG_LIMIT_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kernel.command_kernel.conftest import Shell


INTERRUPTED = 130
#: Starts a kernel, as a client does, says its number and waits to be killed.
CLIENT = """
import os, subprocess, sys
os.environ["JPY_PARENT_PID"] = str(os.getpid())
argv = [sys.executable, "-m", "kernel_gateway.command_kernel", "-f", sys.argv[1]]
print(subprocess.Popen(argv).pid, flush=True)
os.read(0, 1)
"""
#: A shell and its child, which hears of no signal that only the shell gets.
FAMILY = 'sh -c "echo go; sleep 600; true"; true'
#: Takes one interrupt and looks for half a second whether there is another.
PATIENT = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("go", flush=True)
signal.sigwait([signal.SIGINT])
print("heard", flush=True)
print("none" if signal.sigtimedwait([signal.SIGINT], 0.5) is None else "another")
sys.exit(5)
"""
STUBBORN = "trap '' INT TERM HUP; echo go; while :; do sleep 600; done"


async def test_an_interrupt_reaches_every_process(shell: Shell) -> None:
    msg_id = shell.send(FAMILY)
    await shell.printed(msg_id, "go")
    async with asyncio.timeout(0.5):
        await shell.kernel.interrupt()
        assert INTERRUPTED == await shell.exit_code(msg_id)
    assert [] == shell.processes()


async def test_an_interrupt_ends_a_wait(shell: Shell) -> None:
    msg_id = shell.send_talkative("read x")
    await shell.asked(msg_id)
    await shell.kernel.interrupt()
    assert INTERRUPTED == await shell.exit_code(msg_id)
    assert "next\n" == await shell.output("echo next")


async def test_a_program_can_make_something_of_an_interrupt_and_gets_one_only(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(PATIENT)
    msg_id = shell.send(f"python3 {tmp_path}/program.py")
    await shell.printed(msg_id, "go")
    await shell.kernel.interrupt()
    assert 5 == await shell.exit_code(msg_id)
    assert "go\nheard\nnone\n" == shell.text(msg_id)


async def test_an_interrupt_is_heard_in_a_flood(shell: Shell) -> None:
    msg_id = shell.send("yes")
    await shell.printed(msg_id, "y\n")
    await shell.kernel.interrupt()
    assert INTERRUPTED == await shell.exit_code(msg_id)


async def test_an_interrupt_of_nothing_is_harmless(shell: Shell) -> None:
    await shell.kernel.interrupt()
    assert "here\n" == await shell.output("echo here")


async def test_a_signal_to_the_kernel_is_an_interrupt_too(shell: Shell) -> None:
    (kernel,) = shell.everything()
    msg_id = shell.send(FAMILY)
    await shell.printed(msg_id, "go")
    os.kill(kernel, signal.SIGINT)
    assert INTERRUPTED == await shell.exit_code(msg_id)


async def test_who_ignores_an_interrupt_dies_when_the_kernel_is_terminated(shell: Shell) -> None:
    msg_id = shell.send(STUBBORN)
    await shell.printed(msg_id, "go")
    await shell.kernel.interrupt()
    await shell.kernel.terminate()
    assert "SIGTERM" == (await shell.kernel.wait_dead()).signal
    await shell.nothing_left()


async def test_a_job_in_the_background_does_not_reach_the_next_cell(shell: Shell) -> None:
    msg_id = await shell.run("sleep 600 & nohup sleep 600 & (sleep 600; echo late) & echo done")
    assert "done\n" == shell.text(msg_id)
    assert [] == shell.processes()


async def test_a_job_in_a_process_group_of_its_own_does_not_either(shell: Shell) -> None:
    await shell.run("set -m; sleep 600 & kill -STOP %1; echo done")
    assert [] == shell.processes()


async def test_a_job_that_prints_for_ever_does_not_hold_up_the_end(shell: Shell) -> None:
    msg_id = await shell.run("yes & echo done")
    assert "done\n" in shell.text(msg_id)
    assert [] == shell.processes()


async def test_a_daemon_that_left_the_session_does_not_hold_up_the_end(
    shell: Shell, tmp_path: Path
) -> None:
    """It outlives its command, as daemons do, and ends with the kernel."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = f"setsid sh -c 'echo up > {fifo}; exec sleep 600' & read x < {fifo}; echo $x"
    assert "up\n" == await shell.output(code)
    daemons = shell.processes()
    assert 1 == len(daemons)
    for pid in daemons:
        os.kill(pid, signal.SIGKILL)
    await all_gone(daemons)


async def test_a_shutdown_ends_what_runs(shell: Shell) -> None:
    msg_id = shell.send(STUBBORN)
    await shell.printed(msg_id, "go")
    queued = shell.send("echo never")
    await shell.kernel.shutdown(10.0)
    assert 0 == (await shell.kernel.wait_dead()).exit_code
    assert "" == shell.text(queued)
    await shell.nothing_left()


async def test_a_kernel_that_is_killed_leaves_nothing(shell: Shell) -> None:
    msg_id = shell.send_talkative(FAMILY)
    await shell.printed(msg_id, "go")
    await shell.kernel.kill()
    await shell.nothing_left()


async def test_a_kernel_that_is_killed_takes_along_who_does_not_hang_up(
    shell: Shell, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    msg_id = shell.send(f"trap '' HUP; echo go; read x < {fifo}")
    await shell.printed(msg_id, "go")
    await shell.kernel.kill()
    await shell.nothing_left()


def test_a_kernel_dies_with_its_client(tmp_path: Path) -> None:
    ports = ("shell", "control", "stdin", "iopub", "hb")
    info = {"transport": "ipc", "ip": str(tmp_path / "k"), "key": "secret"}
    info |= {f"{name}_port": str(number) for number, name in enumerate(ports)}
    (tmp_path / "connection.json").write_text(json.dumps(info))
    argv = [sys.executable, "-c", CLIENT, str(tmp_path / "connection.json")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdout
        pidfd = os.pidfd_open(int(client.stdout.readline()))
        _hear_heart(f"ipc://{info['ip']}-{info['hb_port']}")
        client.kill()
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(HANG_LIMIT_S * 1000)
    os.close(pidfd)


def _hear_heart(url: str) -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as heart:
        heart.linger = 0
        heart.rcvtimeo = round(HANG_LIMIT_S * 1000)
        heart.connect(url)
        heart.send(b"ping")
        assert b"ping" == heart.recv()


@pytest.mark.parametrize("end", ["shutdown", "terminate"])
async def test_a_daemon_ends_with_the_kernel(shell: Shell, tmp_path: Path, end: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    await shell.run(f"setsid sh -c 'echo up > {fifo}; exec sleep 600' & read x < {fifo}")
    assert 1 == len(shell.processes())
    await (shell.kernel.shutdown(1.0) if end == "shutdown" else shell.kernel.terminate())
    await shell.kernel.wait_dead()
    await shell.nothing_left()


async def test_a_command_that_has_stopped_hears_an_interrupt(shell: Shell) -> None:
    msg_id = shell.send("echo go; kill -STOP $$; echo resumed")
    await shell.printed(msg_id, "go\n")
    await shell.kernel.interrupt()
    assert 130 == await shell.exit_code(msg_id)
