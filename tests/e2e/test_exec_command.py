"""`kernel-gateway exec` as a process: what it shows, what it asks, how it ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.commands import environment, run, started
from tests.shared.processes import is_alive

if TYPE_CHECKING:
    from pathlib import Path

FOR_EVER = "import os, time\nprint(os.getpid(), flush=True)\nwhile True: time.sleep(0.01)"


def headless(folder: Path) -> list[str]:
    """What is left of the stores of commands."""
    return os.listdir(folder / "data" / "headless")


def test_output_goes_where_it_belongs(tmp_path: Path) -> None:
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7"
    process = run(tmp_path, "exec", code)
    assert (process.returncode, process.stdout, process.stderr) == (0, "out\n42\n", "err\n")
    assert headless(tmp_path) == []


def test_a_result_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    process = run(tmp_path, "exec", "print('no newline', end='')\n'x'")
    assert process.stdout == "no newline\n'x'\n"


def test_displays_are_shown_as_text(tmp_path: Path) -> None:
    code = (
        "from IPython.display import display\n"
        "display({'text/html': '<b>b</b>', 'text/plain': 'plain'}, raw=True)\n"
        "display({'image/png': 'aGk='}, raw=True)"
    )
    assert run(tmp_path, "exec", code).stdout == "plain\n[image/png]\n"


def test_output_comes_while_the_code_runs(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    code = (
        f"import os, time\nprint('one')\nwhile not os.path.exists({str(flag)!r}): time.sleep(.01)"
    )
    with started(tmp_path, "exec", code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        flag.touch()
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_bytes_that_no_terminal_takes_are_replaced(tmp_path: Path) -> None:
    process = run(tmp_path, "exec", "print('a\\ud800b')\nprint('ünï')", env={"LC_ALL": "C.UTF-8"})
    assert process.returncode in (0, 1)
    assert "Traceback" not in process.stderr or "UnicodeEncodeError" in process.stderr


@pytest.mark.parametrize(
    ("code", "expected", "told"),
    [
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit(-1)", 255, ""),
        ("import sys; sys.exit('no good')", 1, "no good"),
        ("this is no python", 1, "SyntaxError"),
        ("import os; os._exit(5)", 5, "exit code 5"),
        ("import os; os._exit(0)", 1, "exit code 0"),
        ("import os; os.kill(os.getpid(), 9)", 137, "SIGKILL"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        ("", 0, ""),
    ],
)
def test_the_exit_code_is_that_of_the_code(
    tmp_path: Path, code: str, expected: int, told: str
) -> None:
    process = run(tmp_path, "exec", code)
    assert process.returncode == expected, process.stderr
    assert told in process.stderr
    assert "\x1b[" not in process.stderr  # no colours into a pipe
    assert headless(tmp_path) == []


def test_a_limit_is_124_and_what_was_printed_is_there(tmp_path: Path) -> None:
    process = run(tmp_path, "exec", "--timeout=0.5", FOR_EVER)
    assert process.returncode == 124
    assert not is_alive(int(process.stdout))
    assert "limit of 0.5 s" in process.stderr


def test_code_comes_from_standard_input(tmp_path: Path) -> None:
    for arguments in ([], ["-"]):
        process = run(tmp_path, "exec", *arguments, text="print('piped')\nx = 1\nx")
        assert (process.returncode, process.stdout) == (0, "piped\n1\n")


def test_input_is_read_line_by_line(tmp_path: Path) -> None:
    code = "a = input('a? ')\nb = input('b? ')\nprint([a, b])"
    process = run(tmp_path, "exec", code, text="one\ntwo\nthree\n")
    assert (process.returncode, process.stdout) == (0, "a? b? ['one', 'two']\n")
    plain_file = tmp_path / "answers"
    plain_file.write_text("one\ntwo")
    with plain_file.open() as answers, started(tmp_path, "exec", code, stdin=answers) as other:
        assert other.communicate(timeout=60)[0] == "a? b? ['one', 'two']\n"


def test_input_without_anybody_to_answer_ends_it(tmp_path: Path) -> None:
    process = run(tmp_path, "exec", "input('name? ')")
    assert process.returncode == 1
    assert "asks for input and there is no more" in process.stderr
    nobody = run(tmp_path, "exec", "-", text="input('name? ')")
    assert nobody.returncode == 1
    assert "does not support input" in nobody.stderr


def test_a_password_is_asked_on_the_terminal_without_echo(tmp_path: Path) -> None:
    code = "import getpass\np = getpass.getpass('Pin: ')\nq = input('Name: ')\nprint(len(p), q)"
    ours, theirs = pty.openpty()
    try:
        with started(tmp_path, "exec", code, stdin=theirs, stdout=theirs) as process:
            seen = read_until(ours, b"Pin: ")
            os.write(ours, b"s3cret\n")
            seen += read_until(ours, b"Name: ")
            os.write(ours, b"Ada\n")
            seen += read_until(ours, b"6 Ada")
            assert process.wait(60) == 0
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"s3cret" not in seen
    assert b"Name: Ada" in seen


def read_until(descriptor: int, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        seen += os.read(descriptor, 1000)
    return seen


def test_the_first_ctrl_c_is_for_the_code(tmp_path: Path) -> None:
    code = (
        "import time\ntry:\n  print('in', flush=True)\n  time.sleep(100)\n"
        "except KeyboardInterrupt:\n  print('tidied up')"
    )
    with started(tmp_path, "exec", code) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert out == "tidied up\n"
    assert headless(tmp_path) == []


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
    ],
)
def test_what_must_end_ends_with_its_kernel(
    tmp_path: Path, signals: list[signal.Signals], expected: int
) -> None:
    deaf = (
        "import os, time, signal\n"
        "signal.signal(signal.SIGINT, lambda *_: print('no', flush=True))\n"
        "print(os.getpid(), flush=True)\nwhile True: time.sleep(0.01)"
    )
    with started(tmp_path, "exec", deaf) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signals[0])
        for number in signals[1:]:
            process.stdout.readline()  # the code has been told of the one before
            process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == expected, said
    assert "Traceback" not in said
    assert not is_alive(pid)
    assert headless(tmp_path) == []


def test_a_reader_that_has_enough_ends_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    code = "while True: print('x' * 1000)"
    with started(tmp_path, "exec", code, stdout=writing) as process:
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 141
    assert said == ""


def test_the_folder_of_the_kernel_can_be_chosen(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    code = "import os\nprint(os.getcwd())"
    assert run(tmp_path, "exec", code).stdout == f"{tmp_path}\n"
    assert run(tmp_path, "exec", "--cwd=other", code).stdout == f"{other}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["-k", "cobol", "1"], 3, "cobol"),
        (["1", "2"], 2, "Quote it"),
        (["--cwd=/no/such/folder", "1"], 2, "/no/such/folder"),
        (["--timeout=-1", "1"], 2, "--timeout"),
        (["--timeout=soon", "1"], 2, "timeout"),
        (["--", "print('\udcff')"], 2, "UTF-8"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    tmp_path: Path, arguments: list[str], code: int, told: str
) -> None:
    process = run(tmp_path, "exec", *arguments)
    assert process.returncode == code
    assert told in process.stderr
    assert process.stderr.count("\n") == 1, process.stderr


def test_a_kernel_that_does_not_come_up_is_exit_4_with_its_last_words(tmp_path: Path) -> None:
    spec = tmp_path / "specs" / "broken"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        '{"argv": ["sh", "-c", "echo my last words >&2; exit 7"], "display_name": "b",'
        ' "language": "x"}'
    )
    folders = f"--Kernels.spec_folders={spec.parent}"
    process = run(tmp_path, "exec", "-k", "broken", folders, "1")
    assert process.returncode == 4
    assert "my last words" in process.stderr


def test_no_web_is_imported_for_it_and_no_database_before_it_runs(tmp_path: Path) -> None:
    code = (
        "import sys, kernel_gateway.commands.exec\n"
        "not_yet = {'tornado.web', 'tornado.httpserver', 'jsonschema', 'sqlalchemy'}\n"
        "print(not_yet & set(sys.modules))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert process.stdout == "set()\n"
