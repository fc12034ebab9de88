"""`kernel-gateway run` as a process, on real kernels: the file, the terminal, the exit code."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.e2e.commands import COMMAND, LIMIT_S, executed, run, started
from tests.shared.processes import is_alive

if TYPE_CHECKING:
    from collections.abc import Callable

SLEEPER = "import os, time\nprint('pid', os.getpid(), flush=True)\ntime.sleep(600)"
STUBBORN = (
    "import os, signal, time\n"
    "signal.signal(signal.SIGINT, lambda *_: print('no', flush=True))\n"
    "print('pid', os.getpid(), flush=True)\n"
    "time.sleep(600)"
)


def notebook(path: Path, *sources: str, **metadata: Any) -> Path:
    cells = [
        {
            "cell_type": "code",
            "execution_count": 9,
            "id": f"c{number}",
            "metadata": {},
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "of old"}],
            "source": source,
        }
        for number, source in enumerate(sources)
    ]
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
    path.write_text(json.dumps(whole))
    return path


class Output:
    """An output notebook, valid against the schema."""

    def __init__(self, path: Path) -> None:
        self.notebook: dict[str, Any] = json.loads(path.read_text())
        nbformat.validate(self.notebook)
        self.cells: list[dict[str, Any]] = [
            cell for cell in self.notebook["cells"] if cell["cell_type"] == "code"
        ]
        self.told: dict[str, Any] = self.notebook["metadata"]["kernel_gateway"]

    @property
    def states(self) -> list[str]:
        return [cell["metadata"]["kernel_gateway"]["state"] for cell in self.cells]

    @property
    def reason(self) -> str:
        code: str = self.told["run"]["reason"]["code"]
        return code

    def text(self, cell: int, stream: str = "stdout") -> str:
        outputs = self.cells[cell]["outputs"]
        return "".join("".join(out["text"]) for out in outputs if out.get("name") == stream)


def until(happened: Callable[[], object]) -> None:
    """Files and processes of others have no event to wait for."""
    end = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


def prints(path: Path, cell: int, text: str) -> Callable[[], bool]:
    return lambda: path.exists() and text in Output(path).text(cell)


# -- good ends -------------------------------------------------------------------------------------


def test_the_output_is_beside_the_input_which_stays_as_it_is(tmp_path: Path) -> None:
    source = notebook(tmp_path / "in.ipynb", "print('hi')\n6 * 7", "", "import sys; sys.version")
    before = source.read_bytes()
    process = run(tmp_path, "run", "in.ipynb")
    assert process.returncode == 0, process.stderr
    assert before == source.read_bytes()
    output = Output(tmp_path / "in.out.ipynb")
    assert output.states == ["ok", "ok", "ok"]
    assert output.text(0) == "hi\n"
    assert [cell["execution_count"] for cell in output.cells] == [1, None, 2]
    assert output.notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert output.notebook["metadata"]["language_info"]["name"] == "python"
    assert output.told["run"]["outcome"] == "ok"
    files = [name for name in os.listdir(tmp_path) if not name.startswith(".ipython")]
    assert sorted(files) == ["data", "in.ipynb", "in.out.ipynb"]


def test_each_cell_leaves_a_line_and_the_run_a_summary(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "print(1)\nprint(2)", "")
    process = run(tmp_path, "run", "in.ipynb", "o.ipynb")
    first, second, summary = process.stderr.splitlines()
    assert first.startswith("[1/2] ok ")
    assert first.endswith(" s  print(1)")
    assert second == "[2/2] ok"
    assert summary.startswith("ok: 2 cells in ")
    assert summary.endswith(" s -> o.ipynb")
    assert process.stdout == ""


def test_an_input_that_is_named_twice_is_overwritten(tmp_path: Path) -> None:
    path = notebook(tmp_path / "in.ipynb", "print('new')")
    assert run(tmp_path, "run", "in.ipynb", "in.ipynb").returncode == 0
    assert Output(path).text(0) == "new\n"


def test_a_dash_is_standard_input_and_output(tmp_path: Path) -> None:
    path = notebook(tmp_path / "in.ipynb", "print('through')")
    process = run(tmp_path, "run", "-", text=path.read_text())
    assert process.returncode == 0
    path.write_text(process.stdout)
    assert Output(path).text(0) == "through\n"


def test_an_output_may_be_a_device(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "1")
    assert run(tmp_path, "run", "in.ipynb", "/dev/null").returncode == 0
    assert Path("/dev/null").is_char_device()


def test_the_folder_of_the_kernel_is_the_callers_or_the_one_named(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    notebook(there / "in.ipynb", "import os; print(os.getcwd())")
    for arguments, folder in (
        ([], tmp_path),
        (["--cwd", str(there)], there),
        (["--cwd=notebook"], there),
    ):
        assert run(tmp_path, "run", "there/in.ipynb", "o.ipynb", *arguments).returncode == 0
        assert Output(tmp_path / "o.ipynb").text(0) == f"{folder}\n"


def test_output_of_the_last_cells_thread_is_waited_for(tmp_path: Path) -> None:
    code = (
        "import threading, time\n"
        "def late():\n"
        "    for n in range(3):\n"
        "        time.sleep(0.2)\n"
        "        print('late', n)\n"
        "threading.Thread(target=late, daemon=True).start()"
    )
    notebook(tmp_path / "in.ipynb", code)
    assert run(tmp_path, "run", "in.ipynb").returncode == 0
    assert Output(tmp_path / "in.out.ipynb").text(0) == "late 0\nlate 1\nlate 2\n"


def test_errors_may_be_allowed(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "1 / 0", "print('on')")
    process = run(tmp_path, "run", "in.ipynb", "--allow-errors")
    assert process.returncode == 0
    assert Output(tmp_path / "in.out.ipynb").states == ["allowed-error", "ok"]
    assert "(1 allowed-error, 1 ok)" in process.stderr


def test_text_of_cells_is_shown_when_wanted(tmp_path: Path) -> None:
    notebook(
        tmp_path / "in.ipynb", "import sys\nprint('out')\nprint('err', file=sys.stderr)\n'val'"
    )
    shown = run(tmp_path, "run", "in.ipynb", "--log-output").stderr.splitlines()
    assert {"out", "err", "'val'"} <= set(shown)
    shown = run(tmp_path, "run", "in.ipynb").stderr.splitlines()
    assert not {"out", "err", "'val'"} & set(shown)


# -- the file while it grows -----------------------------------------------------------------------


def test_the_output_grows_while_a_cell_runs(tmp_path: Path) -> None:
    flag, output = tmp_path / "flag", tmp_path / "in.out.ipynb"
    code = (
        "import os, time\nprint('one', flush=True)\n"
        f"while not os.path.exists({str(flag)!r}): time.sleep(.01)\nprint('two')"
    )
    notebook(tmp_path / "in.ipynb", code, "print('three')")
    with started(tmp_path, "run", "in.ipynb") as process:
        until(prints(output, 0, "one"))
        now = Output(output)
        assert (now.states, now.text(1)) == (["running", "pending"], "")
        assert now.told["run"]["state"] == "running"
        flag.touch()
        process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0
    assert Output(output).text(0) == "one\ntwo\n"


# -- bad ends --------------------------------------------------------------------------------------


def test_a_cell_that_fails(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "print('a')", "print('b')\n1 / 0", "print('c')")
    process = run(tmp_path, "run", "in.ipynb")
    output = Output(tmp_path / "in.out.ipynb")
    assert process.returncode == 1
    assert output.states == ["ok", "error", "not-run"]
    assert (output.text(1), output.cells[1]["outputs"][-1]["ename"]) == ("b\n", "ZeroDivisionError")
    assert "----> 2 1 / 0" in process.stderr
    assert "\x1b" not in process.stderr
    assert "error: cell 2: ZeroDivisionError: division by zero." in process.stderr


#: What was printed has left the kernel by then; it would go down with it, flushed or not.
SETTLE = "import os, time; time.sleep(0.5)"


@pytest.mark.parametrize(
    ("code", "status", "outcome", "states"),
    [
        ("import sys; sys.exit(0)", 0, "ok", ["ok", "not-run"]),
        ("import sys; sys.exit(3)", 1, "error", ["error", "not-run"]),
        ("input('name? ')", 7, "error", ["error", "not-run"]),
        (f"{SETTLE}; os.kill(os.getpid(), 9)", 6, "lost", ["died", "not-run"]),
        (f"{SETTLE}; os._exit(0)", 6, "lost", ["died", "not-run"]),
    ],
)
def test_each_end_has_its_exit_code(
    tmp_path: Path, code: str, status: int, outcome: str, states: list[str]
) -> None:
    notebook(tmp_path / "in.ipynb", f"print('before', flush=True)\n{code}", "print('b')")
    process = run(tmp_path, "run", "in.ipynb")
    output = Output(tmp_path / "in.out.ipynb")
    assert process.returncode == status
    assert output.states == states
    assert output.text(0) == "before\n"
    assert output.told["run"]["outcome"] == outcome
    assert f"{outcome}:" in process.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("--cell-timeout", "step_limit"),
        ("--timeout", "run_limit"),
        ("--idle-timeout", "idle_limit"),
    ],
)
def test_a_limit_strikes(tmp_path: Path, option: str, code: str) -> None:
    notebook(tmp_path / "in.ipynb", SLEEPER, "print('b')")
    process = run(tmp_path, "run", "in.ipynb", option, "1")
    output = Output(tmp_path / "in.out.ipynb")
    assert process.returncode == 5
    assert (output.reason, output.states) == (code, ["timed-out", "not-run"])
    assert output.text(0).startswith("pid ")
    assert "limit of 1 s was reached" in output.text(0, "stderr")


def test_a_kernel_that_does_not_come_up_in_time(tmp_path: Path) -> None:
    spec = tmp_path / "specs" / "silent"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        '{"argv": ["sleep", "600"], "display_name": "s", "language": "x"}'
    )
    notebook(tmp_path / "in.ipynb", "1")
    folders = f"--Kernels.spec_folders={spec.parent}"
    process = run(tmp_path, "run", "in.ipynb", "-k", "silent", folders, "--start-timeout=0.2")
    assert process.returncode == 4
    assert Output(tmp_path / "in.out.ipynb").reason == "start_limit"


def test_a_kernel_that_is_not_there(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "1")
    process = run(tmp_path, "run", "in.ipynb", "-k", "nope")
    assert process.returncode == 3
    assert "There is no kernel 'nope'. There are: " in process.stderr
    assert Output(tmp_path / "in.out.ipynb").states == ["not-run"]


def test_a_kernel_of_somebody_elses_machine(tmp_path: Path) -> None:
    spec = {"name": "conda-env-mine-py", "display_name": "Mine", "language": "python"}
    notebook(tmp_path / "in.ipynb", "print('ok')", kernelspec=spec)
    process = run(tmp_path, "run", "in.ipynb")
    assert process.returncode == 0
    said = [line for line in process.stderr.splitlines() if "conda-env-mine-py" in line]
    assert said == [Output(tmp_path / "in.out.ipynb").told["kernel"]["fallback"]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "kernel-gateway run IN.ipynb"),
        (["a", "b", "c"], "kernel-gateway run IN.ipynb"),
        (["missing.ipynb"], "missing.ipynb cannot be read: No such file"),
        (["text.ipynb"], "text.ipynb cannot be run. It is not JSON"),
        (["in.ipynb", "no/out.ipynb"], "make no first"),
        (["in.ipynb", "."], "is a folder"),
        (["in.ipynb", "/proc/out.ipynb"], "cannot be written"),
        (["in.ipynb", ""], "has no name"),
        (["in.ipynb", "--report=in.ipynb"], "is an input: give it a file of its own"),
        (["in.ipynb", "--log=in.out.ipynb"], "is an output"),
        (["in.ipynb", "--answers=text.ipynb", "--log=text.ipynb"], "is the file of --answers"),
        (["in.ipynb", "--report=no/junit.xml"], "make no first"),
        (["in.ipynb", "--timeout=0"], "--timeout must be above 0"),
        (["in.ipynb", "--cwd=no"], "There is no folder"),
        (["in.ipynb", "--jbs=2"], "There is no option --jbs;"),
        (["in.ipynb", "--jbs"], "There is no option --jbs;"),
        (["in.ipynb", "--jobs"], "Argument --RunApp.jobs: expected one argument."),
    ],
)
def test_usage(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    notebook(tmp_path / "in.ipynb", "1")
    (tmp_path / "text.ipynb").write_text("print(1)")
    process = run(tmp_path, "run", *arguments)
    assert process.returncode == 2
    assert sentence in process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert not (tmp_path / "in.out.ipynb").exists()


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 1>&- 2>&-"])
def test_whoever_closes_its_streams_gets_the_output_all_the_same(
    tmp_path: Path, closed: str
) -> None:
    notebook(tmp_path / "in.ipynb", "import sys; print('ok'); print('no', file=sys.__stderr__)")
    assert 0 == shell(tmp_path, closed, "run", "in.ipynb").returncode
    assert ["ok"] == Output(tmp_path / "in.out.ipynb").states


def test_an_output_to_a_stream_that_is_closed_is_refused(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "1")
    process = shell(tmp_path, "1>&-", "run", "in.ipynb", "-")
    assert 2 == process.returncode
    said = "kernel-gateway run: Standard output is closed: name a file for the output.\n"
    assert said == process.stderr


def shell(folder: Path, redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = f'exec "$@" {redirections}'
    return executed(folder, ["sh", "-c", script, "sh", *COMMAND, *arguments])


def test_a_line_that_is_too_long_for_the_notebook_comes_home_whole(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "print('x' * 5_000_000)")
    process = run(tmp_path, "run", "in.ipynb")
    assert 0 == process.returncode
    assert f"Brought 1 file in {tmp_path / 'in.out_artifacts'}\n" in process.stderr
    assert "TRUNCATED AT 4 MiB" in Output(tmp_path / "in.out.ipynb").text(0)
    whole = (tmp_path / "in.out_artifacts/stdout line 1").read_bytes()
    assert b"x" * 5_000_000 == whole


def test_a_bar_that_draws_itself_anew_shows_where_it_stands_at_last(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "for i in range(60_000): print(f'\\r{i:080}', end='')")
    assert 0 == run(tmp_path, "run", "in.ipynb").returncode
    assert f"{59_999:080}" == Output(tmp_path / "in.out.ipynb").text(0)


# -- signals ---------------------------------------------------------------------------------------


def stopped(folder: Path, *numbers: signal.Signals) -> tuple[int, Output]:
    """Send the first signal when the cell runs, the others when it has said no to one before."""
    output = folder / "in.out.ipynb"
    with started(folder, "run", "in.ipynb", "--log-output", stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        heard = ""
        for number, word in zip(numbers, ("pid", *["no"] * len(numbers)), strict=False):
            while word not in heard:
                heard = process.stderr.readline()
                assert heard, "it is over already"
            process.send_signal(number)
        process.communicate(timeout=LIMIT_S)
    kernel = int(Output(output).text(0).split()[1])
    until(lambda: not is_alive(kernel))
    return process.returncode, Output(output)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_run_and_the_file_is_complete(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    notebook(tmp_path / "in.ipynb", SLEEPER, "print('b')")
    code, output = stopped(tmp_path, number)
    assert code == status
    assert output.states == ["cancelled", "not-run"]
    assert output.told["run"]["outcome"] == "cancelled"
    assert output.told["run"]["reason"]["worked"] == "interrupt"
    assert output.cells[0]["outputs"][-1]["ename"] == "KeyboardInterrupt"


def test_a_second_interrupt_does_not_wait_for_the_code(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", STUBBORN)
    code, output = stopped(tmp_path, signal.SIGINT, signal.SIGINT)
    assert code == 130
    assert output.states == ["cancelled"]
    assert output.told["run"]["reason"]["worked"] == "terminate"
    assert "no\n" in output.text(0)


# -- on a terminal ---------------------------------------------------------------------------------


def on_terminal(folder: Path, *arguments: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with started(folder, "run", *arguments, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65_536):
                shown += chunk
        except OSError:  # Linux's way to say that the last writer is gone
            pass
        finally:
            os.close(ours)
        process.wait(timeout=LIMIT_S)
    return process.returncode, shown.decode()


def test_one_line_moves_on_a_terminal(tmp_path: Path) -> None:
    notebook(
        tmp_path / "in.ipynb",
        "print('qu' + 'iet')",
        "# words of the cell\nimport time; time.sleep(1)",
    )
    code, shown = on_terminal(tmp_path, "in.ipynb")
    assert code == 0
    drawn = shown.split("\r")
    assert any("starting python3" in one for one in drawn)
    assert any("1/2 cells" in one and "# words of the cell" in one for one in drawn)
    assert "quiet" not in shown
    last = [line for line in shown.splitlines() if line.strip()][-1]
    assert last.startswith("ok: 2 cells in ")


def test_text_of_cells_stays_above_the_line_that_moves(tmp_path: Path) -> None:
    notebook(tmp_path / "in.ipynb", "print('one\\ntwo')\nprint('no end', end='')", "1 / 0")
    code, shown = on_terminal(tmp_path, "in.ipynb", "--log-output")
    assert code == 1
    lines = [line.rsplit("\r", 1)[-1].strip() for line in shown.replace("\r\n", "\n").split("\n")]
    assert {"one", "two", "no end"} <= set(lines)
    assert "\x1b[31mZeroDivisionError\x1b[39m" in shown


def test_help_names_every_option(tmp_path: Path) -> None:
    shown = run(tmp_path, "run", "--help").stdout
    for option in ("kernel", "cwd", "cell-timeout", "timeout", "idle-timeout", "start-timeout"):
        assert f"--{option}" in shown
    for option in ("--allow-errors", "--log-output", "report.out.ipynb", "Exit codes:"):
        assert option in shown
