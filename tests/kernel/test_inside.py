"""What is done inside each ipykernel does not show, but that nothing is waited for in vain."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING

from kernel_gateway.kernels.inside import prepare
from kernel_gateway.messaging.facts import Idle, Stream
from tests.kernel.conftest import IPYKERNEL

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.shared.kernels import Bench, Started

#: The thread that publishes stands still as soon as it has taken what is to be sent out of a stream
#: by its own timer, until the cell is over.
_SLOW_PUBLISHER = """
import sys, threading, time
taken, session = threading.Event(), sys.stdout.session
def send(*args, plain=session.send, **named):
    if threading.current_thread().name == "IOPub":
        taken.set()
        time.sleep(0.3)
    return plain(*args, **named)
session.send = send
"""
_FORKED = """
import os
child = os.fork()
if not child:
    print("from a child", flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
_COUNTED = """
import sys
counted, publisher = [], get_ipython().kernel.iopub_thread
plain = publisher.schedule
publisher.schedule = lambda event: (counted.append(event), plain(event))
while publisher._events: pass
for stream in (sys.stdout, sys.stderr): stream.flush()
publisher.schedule = plain
print(len(counted))
"""


async def printed(kernel: Started, code: str) -> str:
    """Until reply and idle, and no longer."""
    return kernel.recorder.stdout(await kernel.run(code))


async def test_it_shows_nowhere(bench: Bench) -> None:
    kernel = await bench.ready()
    names = {"Any", "annotations", "kernel", "prepare", "publisher"}
    cell = await kernel.run(f"print(sorted(set(globals()) & {names!r}))")
    assert "[]\n" == kernel.recorder.stdout(cell)
    assert 1 == kernel.recorder.reply(cell).execution_count
    await kernel.kernel.kill()
    await kernel.recorder.dead()


async def test_a_flush_waits_for_what_is_there_and_for_nothing_else(bench: Bench) -> None:
    kernel = await bench.ready()
    assert "0\n" == await printed(kernel, _COUNTED)
    assert "0\n" == await printed(kernel, _FORKED.replace('print("from a child", flush=True)', ""))
    child = await kernel.run(_FORKED)
    await kernel.printed(child, "from a child\n")
    await kernel.run(_SLOW_PUBLISHER)
    cell = await kernel.run("print('in time'); taken.clear(); assert taken.wait(30)")
    kinds = [type(fact) for fact in kernel.recorder.facts(cell) if isinstance(fact, Stream | Idle)]
    assert [Stream, Idle] == kinds
    await kernel.kernel.kill()
    await kernel.recorder.dead()


async def test_it_replies_at_once_unless_somebody_has_chosen_to_wait(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    chosen = write_spec(argv=[*IPYKERNEL, "--IPythonKernel._execute_sleep=0.001"])
    for spec_name, expected in (("python3", "0.0\n"), (chosen, "0.001\n")):
        kernel = await bench.ready(spec_name=spec_name)
        assert expected == await printed(kernel, "print(get_ipython().kernel._execute_sleep)")
        await kernel.kernel.kill()
        await kernel.recorder.dead()


def test_a_kernel_that_is_built_otherwise_stays_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    prepare(SimpleNamespace(log=logging.getLogger("a kernel")))
    assert 5 == len(caplog.records)
