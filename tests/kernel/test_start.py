"""Starts that go well and starts that do not, and what is left of them: nothing."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels.kernel import ProcessOutput
from tests.kernel.conftest import MakeBench, python

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.shared.kernels import Bench

HEART_ONLY = """
import json, sys, zmq
info = json.load(open(sys.argv[1]))
heart = zmq.Context().socket(zmq.REP)
heart.bind(f"ipc://{info['ip']}-{info['hb_port']}")
while True:
    heart.send(heart.recv())
"""


async def test_a_process_that_exits_at_once_fails_at_once_with_the_end_of_its_output(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    code = "import sys; print('first'); sys.stdout.flush(); sys.exit('no module frobnicate')"
    started = bench.launch(spec_name=write_spec(argv=python(code)))
    exit_ = await started.recorder.dead()
    assert exit_.exit_code == 1
    assert exit_.start_fault == "It ended before it was ready."
    assert exit_.stderr_tail == "first\nno module frobnicate\n"
    assert started.recorder.told == [exit_]


async def test_only_the_end_of_a_long_output_is_kept(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    code = "import sys; print('x' * 300_000, flush=True); sys.exit('the reason')"
    started = bench.launch(spec_name=write_spec(argv=python(code)))
    exit_ = await started.recorder.dead()
    assert len(exit_.stderr_tail) == 64 * 2**10
    assert exit_.stderr_tail.endswith("xxx\nthe reason\n")
    output = started.kernel.output()
    assert output.text == exit_.stderr_tail
    assert output.dropped == 300_000 + len("\nthe reason\n") - 64 * 2**10


async def test_a_character_that_the_limit_of_the_output_cuts_in_two_is_dropped_whole(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    code = "import sys; sys.stderr.reconfigure(encoding='utf8'); sys.exit('😀' * 30_000 + 'x')"
    started = bench.launch(spec_name=write_spec(argv=python(code)))
    await started.recorder.dead()
    output = started.kernel.output()
    assert set(output.text) == {"😀", "x", "\n"}
    assert output.dropped + len(output.text.encode()) == 4 * 30_000 + len("x\n")


async def test_a_process_that_is_not_there_yet_has_no_output(bench: Bench) -> None:
    started = bench.launch()
    assert not started.kernel.alive
    assert started.kernel.output() == ProcessOutput()
    await started.kernel.kill()
    await started.kernel.wait_dead()


async def test_a_process_that_never_answers_is_given_up_at_its_limit(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    code = "import time; print('here I am', flush=True); time.sleep(600)"
    started = bench.launch(spec_name=write_spec(argv=python(code)), start_limit_s=0.3)
    exit_ = await started.recorder.dead()
    assert (
        exit_.start_fault
        == "It was not ready within 0.3 s: the process runs, its heartbeat is silent."
    )
    assert exit_.signal == "SIGKILL"
    assert exit_.stderr_tail == "here I am\n"


async def test_a_heartbeat_of_a_process_that_is_not_ready_is_noted(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    argv = python(HEART_ONLY, "{connection_file}")
    started = bench.launch(spec_name=write_spec(argv=argv), start_limit_s=1.0)
    exit_ = await started.recorder.dead()
    assert (
        exit_.start_fault == "It was not ready within 1 s: the process runs, its heartbeat answers."
    )


async def test_a_program_that_is_not_there_is_named(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    started = bench.launch(spec_name=write_spec(argv=["no-such-program", "{connection_file}"]))
    exit_ = await started.recorder.dead()
    assert (exit_.exit_code, exit_.signal) == (None, None)
    assert exit_.start_fault is not None
    assert "'made' could not be started" in exit_.start_fault
    assert "No such file or directory: 'no-such-program'" in exit_.start_fault


async def test_a_folder_that_is_not_there_is_named(bench: Bench, tmp_path: Path) -> None:
    started = bench.launch(cwd=tmp_path / "nowhere")
    exit_ = await started.recorder.dead()
    assert exit_.start_fault is not None
    assert "nowhere" in exit_.start_fault


async def test_a_kernel_can_be_killed_while_its_process_is_on_its_way(
    bench: Bench, write_spec: Callable[..., str], tmp_path: Path
) -> None:
    """The fifo is opened by the process, so the kill hits it between start and readiness."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = f"open({str(fifo)!r}, 'w').close(); import time; time.sleep(600)"
    started = bench.launch(spec_name=write_spec(argv=python(code)))
    await asyncio.to_thread(fifo.read_bytes)
    await started.kernel.kill()
    exit_ = await started.kernel.wait_dead()
    assert exit_.signal == "SIGKILL"
    assert exit_.start_fault == "It was stopped before it was ready."


async def test_an_interrupt_does_not_disturb_a_start(bench: Bench) -> None:
    started = bench.launch()
    await started.kernel.interrupt()
    await started.recorder.ready()
    await started.kernel.kill()


async def test_a_launcher_that_closes_kills_what_was_forgotten(make_bench: MakeBench) -> None:
    bench = make_bench()
    started = await bench.ready()
    await bench.launcher.close()
    assert started.recorder.exits[0].signal == "SIGKILL"


async def test_a_kernel_works_in_another_folder_over_ipc(bench: Bench, tmp_path: Path) -> None:
    started = await bench.ready(cwd=tmp_path)
    msg_id = await started.run("import os; print(os.getcwd())")
    assert started.recorder.stdout(msg_id) == f"{tmp_path}\n"
    await started.kernel.kill()


async def test_no_kernel_sees_the_secrets_of_the_gateway(
    bench: Bench, write_spec: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_GATEWAY_TOKEN", "hunter2")
    monkeypatch.setenv("JUPYTER_TOKEN", "hunter2")
    monkeypatch.setenv("HARMLESS", "shown")
    spec = write_spec(env={"TRICK": "${KERNEL_GATEWAY_TOKEN}", "TREAT": "${HARMLESS}"})
    started = await bench.ready(spec_name=spec, env={"KERNEL_ID": "mine"})
    msg_id = await started.run(
        "import os; print('hunter2' in str(os.environ), *(os.environ.get(name) for name in"
        " ('HARMLESS', 'TRICK', 'TREAT', 'KERNEL_ID')))"
    )
    assert started.recorder.stdout(msg_id) == "False shown ${KERNEL_GATEWAY_TOKEN} shown mine\n"
    await started.kernel.kill()


@pytest.mark.parametrize("history", [False, True])
async def test_history_is_off_unless_it_is_wanted(make_bench: MakeBench, history: bool) -> None:
    started = await make_bench(history=history).ready()
    msg_id = await started.run("print(get_ipython().history_manager.enabled)")
    assert started.recorder.stdout(msg_id) == f"{history}\n"
    await started.kernel.kill()


async def test_a_kernelspec_may_ask_for_interrupts_by_message(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    started = await bench.ready(spec_name=write_spec(interrupt_mode="message"))
    msg_id = started.send(bench.dialect.sleeps())
    await started.printed(msg_id, "sleeping")
    await started.kernel.interrupt()
    assert (await started.recorder.ended(msg_id)).ename == "KeyboardInterrupt"
    kinds = {message.header.msg_type for message in started.recorder.messages}
    assert "interrupt_reply" not in kinds
    await started.kernel.kill()


async def test_many_kernels_start_side_by_side(bench: Bench) -> None:
    several = [bench.launch() for _ in range(3)]
    for number, started in enumerate(several):
        msg_id = await started.run(f"print({number})")
        assert started.recorder.stdout(msg_id) == f"{number}\n"
    for started in several:
        await started.kernel.kill()
