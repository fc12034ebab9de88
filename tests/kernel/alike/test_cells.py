"""What code can do in a cell: the same answers from a kernel that was forked.

These tests share a kernel of each way and leave it as they have found it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.messaging.facts import Stream
from tests.kernel.alike.conftest import way_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kernel.alike.conftest import Answering, Way

pytestmark = pytest.mark.asyncio(loop_scope="package")


# -- other processes ------------------------------------------------------------------------------


async def test_programs_run_and_their_output_is_captured(kernel: Answering) -> None:
    assert "printed\n" == await kernel.tells(
        "import subprocess\n"
        "subprocess.run(['echo', 'printed'], capture_output=True, text=True, check=True).stdout"
    )


async def test_what_the_descriptors_are_told_is_output_of_the_cell(kernel: Answering) -> None:
    code = (
        "import os, subprocess\n"
        "os.write(1, b'written\\n')\n"
        "os.system('echo by the shell')\n"
        "subprocess.run(['echo', 'by a program'])\n"
        "!echo by IPython\n"
        "print('by Python')"
    )
    msg_id = await kernel.runs(code)
    lines = {"written", "by the shell", "by a program", "by IPython", "by Python"}
    await kernel.started.recorder.until(lambda: lines <= set(kernel.printed(msg_id).splitlines()))


async def test_codes_of_programs_are_those_they_end_with(kernel: Answering) -> None:
    assert [7 * 256, 7, -9, 3] == await kernel.tells(
        "import os, subprocess\n"
        "code = lambda text: subprocess.run(['sh', '-c', text]).returncode\n"
        "child = os.posix_spawn('/bin/sh', ['sh', '-c', 'exit 3'], os.environ)\n"
        "[os.system('exit 7'), code('exit 7'), code('kill -9 $$'),"
        " os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]"
    )


async def test_a_kernel_has_no_child_that_is_not_its_own(kernel: Answering) -> None:
    lines = await kernel.raises("import os\nos.waitpid(-1, os.WNOHANG)")
    assert "ChildProcessError" in lines[-1]


async def test_a_program_has_the_environment_and_the_folder_of_the_request(
    kernel: Answering, folder: Path
) -> None:
    assert ["with a value\n", str(folder / "work"), "+0545"] == await kernel.tells(
        "import subprocess\n"
        "said = lambda *words: subprocess.run(words, capture_output=True, text=True).stdout\n"
        "[said('sh', '-c', 'printf %s \"$A_VARIABLE\"'), said('pwd').strip(),"
        " said('date', '+%z').strip()]"
    )


async def test_a_process_forks_in_a_cell_and_is_waited_for(kernel: Answering) -> None:
    assert [5, "from the child"] == await kernel.tells(
        "import os\n"
        "out, into = os.pipe()\n"
        "if not (child := os.fork()):\n"
        "    os.write(into, b'from the child'); os._exit(5)\n"
        "os.close(into); text = os.read(out, 100).decode(); os.close(out)\n"
        "[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text]"
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_pools_of_processes_work(kernel: Answering, method: str) -> None:
    assert [[1.0, 2.0], [1.0, 2.0, 3.0], True] == await kernel.tells(
        "import math, multiprocessing, os\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        f"context = multiprocessing.get_context({method!r})\n"
        "with context.Pool(1) as pool:\n"
        "    first = pool.map(math.sqrt, [1, 4])\n"
        "with ProcessPoolExecutor(1, mp_context=context) as pool:\n"
        "    second = [*pool.map(math.sqrt, [1, 4, 9])]\n"
        "    other = pool.submit(os.getpid).result() != os.getpid()\n"
        "[first, second, other]"
    )


async def test_a_function_of_a_cell_runs_in_a_forked_pool(kernel: Answering) -> None:
    assert [0, 1, 4] == await kernel.tells(
        "import multiprocessing\n"
        "def square(x): return x * x\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "    squares = pool.map(square, range(3))\n"
        "squares"
    )


async def test_processes_share_what_they_are_to_share(kernel: Answering) -> None:
    assert [42, "told"] == await kernel.tells(
        "import multiprocessing\n"
        "context = multiprocessing.get_context('fork')\n"
        "value, told = context.Value('i', 0), context.Queue()\n"
        "def work(): value.value = 42; told.put('told')\n"
        "child = context.Process(target=work); child.start(); word = told.get(); child.join()\n"
        "[value.value, word]"
    )


# -- threads, loops, signals ----------------------------------------------------------------------


async def test_threads_print_and_are_joined(kernel: Answering) -> None:
    assert "in a thread\n" == await kernel.prints(
        "import threading\n"
        "thread = threading.Thread(target=print, args=('in a thread',))\n"
        "thread.start(); thread.join()"
    )


async def test_a_cell_awaits_and_makes_tasks(kernel: Answering) -> None:
    assert [3, 4, "done\n"] == await kernel.tells(
        "import asyncio\n"
        "async def add(a, b): await asyncio.sleep(0); return a + b\n"
        "both = await asyncio.gather(add(1, 2), asyncio.create_task(add(2, 2)))\n"
        "program = await asyncio.create_subprocess_exec('echo', 'done', stdout=-1)\n"
        "said, _ = await program.communicate()\n"
        "[*both, said.decode()]"
    )


async def test_signals_reach_the_handlers_of_a_cell(kernel: Answering) -> None:
    assert ["SIGUSR1", "SIGCHLD", "SIGALRM"] == await kernel.tells(
        "import os, signal\n"
        "got = []\n"
        "def handle(number, frame): got.append(signal.Signals(number).name)\n"
        "numbers = signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM\n"
        "before = [signal.signal(number, handle) for number in numbers]\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
        "os.system('true'); child = os.posix_spawnp('true', ['true'], os.environ)\n"
        "signal.sigtimedwait((), 0)\n"
        "os.waitpid(child, 0); signal.raise_signal(signal.SIGCHLD) if len(got) == 1 else None\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.001); signal.pause()\n"
        "for number, one in zip(numbers, before): signal.signal(number, one)\n"
        "[*dict.fromkeys(got)]"
    )


async def test_an_exception_of_a_thread_is_shown(kernel: Answering) -> None:
    msg_id = await kernel.runs(
        "import threading\ndef fail(): raise ValueError('in a thread')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()"
    )
    facts = kernel.started.recorder.facts(msg_id)
    assert "ValueError: in a thread" in "".join(
        fact.text for fact in facts if isinstance(fact, Stream)
    )


async def test_a_broken_pipe_is_an_exception(kernel: Answering) -> None:
    lines = await kernel.raises(
        "import os\nout, into = os.pipe(); os.close(out)\n"
        "try: os.write(into, b'x')\nfinally: os.close(into)"
    )
    assert "BrokenPipeError" in lines[-1]


@pytest.mark.parametrize("loop", ["time.sleep(0.01)", "pass"])
async def test_a_cell_is_interrupted(kernel: Answering, loop: str) -> None:
    code = f"import time\nprint('begun', flush=True)\nwhile True: {loop}"
    assert "KeyboardInterrupt" == await kernel.interrupted(code)


async def test_what_a_cell_has_started_is_interrupted_with_it(kernel: Answering) -> None:
    code = (
        "import subprocess, time\nprogram = subprocess.Popen(['sleep', '600'])\n"
        "print('begun', flush=True)\ntime.sleep(600)"
    )
    assert "KeyboardInterrupt" == await kernel.interrupted(code)
    assert -2 == await kernel.tells("program.wait()")


async def test_a_cell_that_awaits_is_interrupted(kernel: Answering) -> None:
    """Its loop turns: ipykernel 7.4 does not wake one that sleeps."""
    code = "import asyncio\nprint('begun', flush=True)\nwhile True: await asyncio.sleep(0.01)"
    assert await kernel.interrupted(code) in {"CancelledError", "KeyboardInterrupt"}
    assert "on\n" == await kernel.prints("print('on')")


# -- names, modules, text -------------------------------------------------------------------------


async def test_classes_and_functions_of_cells_are_those_of_main(kernel: Answering) -> None:
    assert ["__main__", [1], "__main__", "__main__"] == await kernel.tells(
        "import pickle, sys\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "points = pickle.loads(pickle.dumps([Point(1)]))\n"
        "[Point.__module__, [p.x for p in points], __name__, sys.modules['__main__'].__name__]"
    )


async def test_the_source_of_a_function_is_that_of_its_cell(kernel: Answering) -> None:
    assert ["def seen(x):\n", "    return x  # as it is written\n"] == await kernel.tells(
        "import inspect\n"
        "def seen(x):\n"
        "    return x  # as it is written\n"
        "inspect.getsourcelines(seen)[0]"
    )


async def test_a_traceback_has_the_cell_and_its_functions_alone(cold: Way, forked: Way) -> None:
    code = "def fails():\n    return 1 / 0\n\nfails()"
    expected, found = [await way.shared.raises(code) for way in (cold, forked)]
    assert [_plain(line) for line in expected] == [_plain(line) for line in found]
    assert not [line for line in found if "fork_server" in line]


async def test_a_traceback_of_the_library_is_the_same(cold: Way, forked: Way) -> None:
    code = (
        "import traceback\n"
        "def fails(): raise ValueError('why')\n"
        "try: fails()\n"
        "except ValueError: print(traceback.format_exc())"
    )
    expected, found = [await way.shared.prints(code) for way in (cold, forked)]
    assert _plain(expected) == _plain(found)
    assert "ValueError: why" in found


def _plain(text: str) -> str:
    """Without the number of the cell, and of the process in the name of its file."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return re.sub(r"ipykernel_\d+", "ipykernel_PID", re.sub(r"In\[\d+\]", "In[N]", text))


async def test_magics_work(kernel: Answering, folder: Path) -> None:
    (folder / "work/program.py").write_text("print(__name__, __file__); left = 'by the program'\n")
    said = await kernel.prints(
        "%run program.py\n"
        "print(left)\n"
        "%timeit -n1 -r1 None\n"
        "%env A_VARIABLE\n"
        "listed = %sx echo one; echo two\n"
        "print(*listed)"
    )
    program = folder / "work/program.py"
    assert said.startswith(f"__main__ {program}\nby the program\n")
    assert "loop each" in said
    assert said.endswith("one two\n")


async def test_programs_of_other_languages_run_in_cells(kernel: Answering) -> None:
    assert "2 with a value\n" == (await kernel.prints("%%bash\necho $((1 + 1)) $A_VARIABLE"))
    assert "<stdin>\n" == await kernel.prints("%%script python3\nimport sys\nprint('<stdin>')")


async def test_modules_are_reloaded_when_they_change(kernel: Answering, folder: Path) -> None:
    file = folder / "work/changing.py"
    file.write_text("value = 1\n")
    assert 1 == await kernel.tells(
        "%load_ext autoreload\n%autoreload 2\nimport changing\nchanging.value"
    )
    file.write_text("value = 'two'\n")
    os.utime(file, (1e9, 2e9))
    assert "two" == await kernel.tells("changing.value")
    file.unlink()
    await kernel.runs("%autoreload 0\nimport sys; del sys.modules['changing'], changing")


async def test_what_the_gateway_has_for_cells_can_be_imported(kernel: Answering) -> None:
    assert "kernel_gateway.scope" == await kernel.tells(
        "import kernel_gateway.scope\nkernel_gateway.scope.__name__"
    )


async def test_a_recursion_that_has_no_end_is_an_exception(kernel: Answering) -> None:
    assert "deep\n" == await kernel.prints(
        "def again(): again()\ntry: again()\nexcept RecursionError: print('deep')"
    )


async def test_help_is_shown(kernel: Answering) -> None:
    assert "Help on built-in function len" in await kernel.prints("help(len)")


async def test_the_fault_handler_writes_a_stack_of_each_thread(kernel: Answering) -> None:
    enabled, stacks = await kernel.tells(
        "import faulthandler, tempfile\n"
        "with tempfile.TemporaryFile('w+') as file:\n"
        "    faulthandler.dump_traceback(file, all_threads=True)\n"
        "    file.seek(0); stacks = file.read()\n"
        "[faulthandler.is_enabled(), stacks]"
    )
    assert enabled is False
    assert stacks.count("Thread 0x") > 5


async def test_warnings_are_shown_where_they_were_raised(kernel: Answering) -> None:
    msg_id = await kernel.runs("import warnings; warnings.warn('beware')\n1")
    facts = kernel.started.recorder.facts(msg_id)
    (warned,) = [fact.text for fact in facts if isinstance(fact, Stream)]
    assert "UserWarning: beware" in warned
    assert "ipykernel_" in warned


# -- chance ---------------------------------------------------------------------------------------

CHANCE = """
import multiprocessing, os, random, secrets, ssl, tempfile, uuid
def chance():
    return [random.random(), random.getrandbits(64), secrets.token_hex(), str(uuid.uuid4()),
            os.urandom(8).hex(), ssl.RAND_bytes(8).hex(), next(tempfile._get_candidate_names()),
            multiprocessing.current_process().authkey.hex()]
chance()
"""


async def test_no_two_kernels_have_the_same_luck(way: Way) -> None:
    """Neither two beside one another, nor one after the other."""
    seen = [await way.shared.tells(CHANCE)]
    for _ in range(2):
        kernel = await way.another()
        seen.append(await kernel.tells(CHANCE))
        await kernel.started.kernel.kill()
        await kernel.started.kernel.wait_dead()
    for values in zip(*seen, strict=True):
        assert len(seen) == len(set(values))


async def test_a_seed_gives_the_same_numbers(cold: Way, forked: Way) -> None:
    code = "import random\nrandom.seed(5)\n[random.random(), random.gauss()]"
    assert await cold.shared.tells(code) == await forked.shared.tells(code)


async def test_text_has_another_hash_with_another_owner(forked: Way, folder: Path) -> None:
    """One server for each, so that nobody can learn of another's process from his own."""
    code = "import ctypes\n[hash('text'), id(None)]"
    expected = await forked.shared.tells(code)
    async with way_of(folder, fork_server=True, request={"owner": "somebody else"}) as other:
        found = await other.shared.tells(code)
    assert expected[0] != found[0]
    assert expected[1] != found[1]


async def test_big_things_come_and_go(kernel: Answering) -> None:
    assert 2**26 == await kernel.tells("big = bytearray(2**26)\nsize = len(big); del big\nsize")
