"""What is done inside each ipykernel does not show, but that nothing is waited for in vain."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING

from kernel_gateway.kernels.inside import prepare
from kernel_gateway.messaging.facts import Display, Idle, Stream
from kernel_gateway.messaging.message import MsgId, execute_request
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
#: In one piece: a child sends each that it writes by itself, beside what its parent says meanwhile.
_CHILD_SAYS = 'print("from a child\\n", end="", flush=True)'
_FORKED = f"""
import os
child = os.fork()
if not child:
    {_CHILD_SAYS}
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
#: The thread that publishes stands still, and who waits for it waits for ever.
_HELD_PUBLISHER = """
import sys, threading
go = threading.Event()
sys.stdout.flush_timeout = None
get_ipython().kernel.iopub_thread.schedule(go.wait)
print("said")
"""
#: All that two threads and a stream's timer say at the same time, in the order of each.
_MANY_VOICES = """
import sys, threading
from IPython.display import display
def speak(stream):
    for number in range(300):
        print(number, file=stream, flush=number % 7 == 0)
speaker = threading.Thread(target=speak, args=(sys.stderr,))
speaker.start()
for number in range(300):
    print(number, flush=number % 5 == 0)
    if number % 3 == 0:
        display(number)
speaker.join()
"""
#: With all that its cell says behind it, in the same turn; and nobody says that it has failed.
_FAILED_EVENT = """
import logging, threading
logging.disable()
stands, go, kernel = threading.Event(), threading.Event(), get_ipython().kernel
kernel.iopub_thread.schedule(lambda: (stands.set(), go.wait()))
stands.wait()
kernel.iopub_thread.schedule(lambda: 1 / 0)
print("said")
def tell(*idle, plain=kernel._publish_status):
    plain(*idle)
    del kernel._publish_status
    go.set()
kernel._publish_status = tell
"""
#: Ctrl-C comes before the thread that publishes has heard that there is something to do.
_INTERRUPTED_WAKE = """
publisher = get_ipython().kernel.iopub_thread
loop = publisher.io_loop.asyncio_loop
while publisher._events: pass
def interrupted(*_):
    del loop.call_soon_threadsafe
    raise KeyboardInterrupt
loop.call_soon_threadsafe = interrupted
print()
"""
#: Each time that it is asked what becomes of a cell it says so in the cell, which prints it.
_COUNTING_TRANSFORMER = """
asked = []
def count(lines):
    asked.append(None)
    return [line.replace("ASKED", str(len(asked))) for line in lines]
get_ipython().input_transformers_post.append(count)
"""
#: While it is asked whether a cell awaits anything, another thread asks that of one that does.
_ASKING_THREAD = """
import threading
from IPython.core import interactiveshell
def should_be_async(code, plain=interactiveshell._should_be_async):
    if threading.current_thread() is threading.main_thread():
        asked = threading.Thread(target=shell.should_run_async, args=("await x",), kwargs=cell)
        asked.start()
        asked.join()
    return plain(code)
shell, cell = get_ipython(), {"transformed_cell": "await x"}
interactiveshell._should_be_async = should_be_async
"""
#: As of an IPython that knows less than the one before.
_NARROW_METHOD = """
shell = get_ipython()
async def narrow(raw_cell, *, store_history=False, silent=False, shell_futures=True,
                 transformed_cell=None, preprocessing_exc_tuple=None, plain=shell.run_cell_async):
    print("narrow")
    return await plain(raw_cell, store_history=store_history, transformed_cell=transformed_cell)
shell.run_cell_async = narrow
"""
_LISTENING_HANDLER = """
import logging
heard = []
class Handler(logging.Handler):
    def emit(self, record):
        heard.append(record.getMessage())
listener, log = Handler(logging.DEBUG), get_ipython().kernel.log
made, plain = [], logging.getLogRecordFactory()
logging.setLogRecordFactory(lambda *args, **named: (made.append(args), plain(*args, **named))[1])
"""
#: What one encoder cannot pack is cleaned first, and jupyter_client says that it should not be.
_NO_JSON = """
import warnings
warnings.simplefilter("ignore")
from IPython.display import publish_display_data
publish_display_data({"application/json": {"a": float("nan"), "b": {1, 2}}})
"""


async def printed(kernel: Started, code: str) -> str:
    """Until reply and idle, and no longer."""
    return kernel.recorder.stdout(await kernel.run(code))


def kinds(kernel: Started, cell: MsgId) -> list[type]:
    """Whether its text came before its idle."""
    facts = kernel.recorder.facts(cell)
    return [type(fact) for fact in facts if isinstance(fact, Stream | Idle)]


async def test_it_shows_nowhere(kernel: Started) -> None:
    names = {"Any", "annotations", "kernel", "prepare", "publisher"}
    cell = await kernel.run(f"print(sorted(set(globals()) & {names!r}))")
    assert "[]\n" == kernel.recorder.stdout(cell)
    assert 1 == kernel.recorder.reply(cell).execution_count


async def test_a_flush_waits_for_what_is_there_and_for_nothing_else(kernel: Started) -> None:
    assert "0\n" == await printed(kernel, _COUNTED)
    assert "0\n" == await printed(kernel, _FORKED.replace(_CHILD_SAYS, ""))
    child = await kernel.run(_FORKED)
    await kernel.printed(child, "from a child\n")
    await kernel.run(_SLOW_PUBLISHER)
    cell = await kernel.run("print('in time'); taken.clear(); assert taken.wait(30)")
    assert [Stream, Idle] == kinds(kernel, cell)


async def test_behind_a_cell_the_kernel_waits_for_nothing(kernel: Started) -> None:
    cell = kernel.send(_HELD_PUBLISHER)
    await kernel.recorder.message("execute_reply", cell)
    assert not kernel.recorder.stdout(cell)
    await kernel.run("go.set()")
    await kernel.recorder.ended(cell)
    assert [Stream, Idle] == kinds(kernel, cell)


async def test_whatever_is_said_at_the_same_time_keeps_its_order(kernel: Started) -> None:
    cell = await kernel.run(_MANY_VOICES)
    said = [
        fact for fact in kernel.recorder.facts(cell) if isinstance(fact, Stream | Display | Idle)
    ]
    assert isinstance(said[-1], Idle)
    texts = dict.fromkeys(("stdout", "stderr"), "")
    for fact in said:
        if isinstance(fact, Stream):
            texts[fact.name] += fact.text
        elif isinstance(fact, Display):
            assert texts["stdout"].endswith(f"{fact.data['text/plain']}\n")
    assert set(texts.values()) == {"".join(f"{number}\n" for number in range(300))}


async def test_an_event_that_fails_takes_none_behind_it_along(kernel: Started) -> None:
    assert "said\n" == await printed(kernel, _FAILED_EVENT)


async def test_an_interrupt_while_it_wakes_who_publishes_keeps_nobody_asleep(
    kernel: Started,
) -> None:
    await kernel.run(_INTERRUPTED_WAKE)
    assert "awake\n" == await printed(kernel, "print('awake')")


async def test_requests_keep_their_order_however_they_are_read(kernel: Started) -> None:
    """One that mentions subshells is decoded by who reads it, the others are not."""
    cells = [MsgId(f"{'subshell_id' if number % 3 else ''}{number}") for number in range(30)]
    for cell in cells:
        kernel.kernel.send(execute_request(cell, "None", allow_stdin=False))
    counts = [(await kernel.recorder.ended(cell)).execution_count for cell in cells]
    assert [*range(1, 31)] == counts


async def test_what_stands_behind_an_error_is_aborted_and_what_comes_later_is_not(
    kernel: Started,
) -> None:
    await kernel.run("import threading; go = threading.Event()")
    subshell = await kernel.subshell()
    first = kernel.send("print('on', flush=True); go.wait(); 1 / 0", stop_on_error=True)
    await kernel.printed(first, "on\n")
    behind = [kernel.send("print('behind')") for _ in range(20)]
    await kernel.value("go.set()", subshell)
    replies = [await kernel.recorder.ended(cell) for cell in (first, *behind)]
    assert ["error", *["aborted"] * 20] == [reply.status for reply in replies]
    assert "later\n" == await printed(kernel, "print('later')")


async def test_ipython_is_asked_once_what_becomes_of_a_cell(kernel: Started) -> None:
    await kernel.run(_COUNTING_TRANSFORMER)
    for code in ("print(ASKED)", "print(ASKED); 1", "import asyncio; await asyncio.sleep(0)"):
        await kernel.run("asked.clear()")
        await kernel.run(code)
        assert "2\n" == await printed(kernel, "print(len(asked))")  # with this cell itself
    asks = "asked.clear(); shell = get_ipython(); same = 'ASK' + 'ED'"
    twice = "[shell.transform_cell(same) for _ in range(2)]"
    assert "['1\\n', '2\\n']\n" == await printed(kernel, f"{asks}; print({twice})")
    await kernel.run("asked.clear()")
    assert ["1\n", "2\n"] == [await printed(kernel, "print(ASKED)") for _ in range(2)]
    awaits = f"import asyncio; await asyncio.sleep(0); {asks}; print({twice})"
    assert "['1\\n', '2\\n']\n" == await printed(kernel, awaits)


async def test_a_thread_that_asks_at_the_same_time_is_not_in_the_way(kernel: Started) -> None:
    await kernel.run(_ASKING_THREAD)
    assert "here\n" == await printed(kernel, "print('here')")


async def test_whether_a_cell_awaits_is_asked_again_for_the_same_cell(kernel: Started) -> None:
    """The same code, once with autoawait and once without."""
    awaits = "import asyncio; await asyncio.sleep(0); print('awaited')"
    assert "awaited\n" == await printed(kernel, awaits)
    await kernel.run("%autoawait off")
    assert "" == await printed(kernel, awaits)
    await kernel.run("%autoawait on")
    assert "awaited\n" == await printed(kernel, awaits)


async def test_a_method_that_is_replaced_is_looked_at_anew(kernel: Started) -> None:
    await kernel.run(_NARROW_METHOD)
    cell = "import asyncio; await asyncio.sleep(0); print('run')"
    assert "narrow\nrun\n" == await printed(kernel, cell)


async def test_its_log_makes_no_record_that_nobody_hears(kernel: Started) -> None:
    await kernel.run(_LISTENING_HANDLER)
    await kernel.run("None")
    assert "[]\n" == await printed(kernel, "print(made)")
    await kernel.run("log.addHandler(listener)")
    await kernel.run("'a cell'")
    assert "True\n" == await printed(kernel, "print(any('a cell' in line for line in heard))")
    await kernel.run("listener.setLevel(logging.WARNING); made.clear()")
    assert "[]\n" == await printed(kernel, "print(made[4:])")  # of the cell before itself


async def test_ctrl_c_has_its_handler_within_a_cell_alone(kernel: Started) -> None:
    """Between cells it has none, and a cell can change that for itself alone."""
    await kernel.run("import signal; found = lambda: signal.getsignal(signal.SIGINT).__name__")
    subshell = await kernel.subshell()

    async def is_ignored() -> bool:
        value = await kernel.value("signal.getsignal(signal.SIGINT) == signal.SIG_IGN", subshell)
        return value == {"status": "ok", "data": {"text/plain": "True"}, "metadata": {}}

    assert "default_int_handler\n" == await printed(kernel, "print(found())")
    assert await is_ignored()
    cell = kernel.send("print(end='begun', flush=True); import time; time.sleep(60)")
    await kernel.printed(cell, "begun")
    await kernel.kernel.interrupt()
    assert "error" == (await kernel.recorder.ended(cell)).status
    await kernel.run("signal.signal(signal.SIGINT, lambda *_: None)")
    assert "default_int_handler\n" == await printed(kernel, "print(found())")
    assert await is_ignored()


async def test_values_that_are_no_json_are_shown_as_ever(kernel: Started) -> None:
    cell = await kernel.run(_NO_JSON)
    (shown,) = [fact for fact in kernel.recorder.facts(cell) if isinstance(fact, Display)]
    assert {"a": "nan", "b": [1, 2]} == shown.data["application/json"]


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
    assert 11 == len(caplog.records)
