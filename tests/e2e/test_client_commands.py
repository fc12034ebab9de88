"""The commands that ask a gateway, as processes beside a real `kernel-gateway serve`."""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.client import Client
from tests.e2e.commands import run, served, started

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.e2e.commands import Served

TOKEN = "a-token-of-these-tests"
ASKS = "import getpass\nprint('hello', input('Name? '))\nprint(len(getpass.getpass('Pin? ')))"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    with served(folder, env={"KERNEL_GATEWAY_TOKEN": TOKEN}) as one:
        yield one
        assert 0 == one.stop()[0]


@pytest.fixture(scope="module")
def kernel(gateway: Served) -> str:
    return gateway.new_kernel()


@pytest.fixture
def client(gateway: Served) -> Iterator[Client]:
    with Client(gateway.url, TOKEN) as one:
        yield one


class Shell:
    """Somebody at a prompt, with the gateway in the environment."""

    def __init__(self, folder: Path, gateway: Served) -> None:
        self.folder = folder
        self.env = {"KERNEL_GATEWAY_URL": gateway.url, "KERNEL_GATEWAY_TOKEN": TOKEN}

    def __call__(
        self, *arguments: str, text: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run(self.folder, *arguments, text=text, env={**self.env, **(env or {})})

    def prints(self, *arguments: str, text: str = "") -> str:
        done = self(*arguments, text=text)
        assert (0, "") == (done.returncode, done.stderr)
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path, gateway: Served) -> Shell:
    return Shell(tmp_path, gateway)


def finished(client: Client, kernel: str, code: str, **more: Any) -> str:
    return client.execute(code, kernel=kernel, **more).uid


def waits(client: Client, run_id: str) -> None:
    """Until the code has asked."""
    after = 0
    while client.run(run_id).view.prompt is None:
        after = client.page(run_id, after=after, wait=30).next


# -- ls, show -------------------------------------------------------------------------------------


def test_ls_shows_runs_in_a_table_newest_first(shell: Shell, client: Client, kernel: str) -> None:
    finished(client, kernel, "1", run_id="ls-1", labels={"ls": "a"})
    finished(client, kernel, "1 / 0", run_id="ls-2", labels={"ls": "b"})
    head, *lines = shell.prints("ls", "--label=ls").splitlines()
    assert ["ID", "STATE", "OUTCOME", "AGE", "KERNEL"] == head.split()
    assert [["ls-2", "finished", "error"], ["ls-1", "finished", "ok"]] == [
        line.split()[:3] for line in lines
    ]
    assert all(line.endswith("python3") for line in lines)


def test_ls_shows_those_that_are_asked_for(shell: Shell, client: Client, kernel: str) -> None:
    for number in range(3):
        finished(client, kernel, "1", run_id=f"some-{number}", labels={"some": str(number)})
    finished(client, kernel, "1 / 0", run_id="some-bad", labels={"some": "bad"})

    def ids(*options: str) -> list[str]:
        return [line.split()[0] for line in shell.prints("ls", *options).splitlines()[1:]]

    assert ["some-bad"] == ids("--label=some", "--outcome=error")
    assert ["some-1"] == ids("--label=some=1")
    assert [] == ids("--label=some=1", "--label=other")
    assert [] == ids("--label=some", "--state=running")
    assert ["some-bad", "some-2"] == ids("--label=some", "--limit=2")
    assert [] == ids("--kernel=nothing")


def test_ls_gives_a_program_one_object_a_line(shell: Shell, client: Client, kernel: str) -> None:
    uid = finished(client, kernel, "1", labels={"json": "x"})
    (line,) = shell.prints("ls", "--json", "--label=json").splitlines()
    assert (uid, {"json": "x"}) == (json.loads(line)["uid"], json.loads(line)["labels"])


def test_a_name_cannot_change_the_terminal(shell: Shell, client: Client, kernel: str) -> None:
    finished(client, kernel, "1", run_id="safe\u202eevil", labels={"names": "x"})
    assert "safe\\u202eevil" in shell.prints("ls", "--label=names")


def test_show_tells_how_a_run_stands(shell: Shell, client: Client, kernel: str) -> None:
    uid = finished(client, kernel, "print('x')\n1 / 0", run_id="shown", labels={"a": "b"})
    fields = dict(line.split("  ", 1) for line in shell.prints("show", "shown").splitlines())
    found = {name: value.strip() for name, value in fields.items()}
    assert (uid, "finished", "error", "1", "a=b", "2 B") == (
        found["uid"],
        found["state"],
        found["outcome"],
        found["exit code"],
        found["labels"],
        found["log"],
    )
    assert "ZeroDivisionError: division by zero" == found["error"]


def test_show_gives_a_program_all_with_outputs(shell: Shell, client: Client, kernel: str) -> None:
    finished(client, kernel, "6 * 7", run_id="shown-json")
    found = json.loads(shell.prints("show", "--json", "shown-json"))
    assert "42" == found["outputs"][0]["data"]["text/plain"]


def test_a_table_that_nobody_reads_is_no_error(shell: Shell) -> None:
    with started(shell.folder, "ls", env=shell.env) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert "" == process.stderr.read()
        assert 141 == process.wait(60)


# -- log ----------------------------------------------------------------------------------------


def test_log_shows_each_text_where_it_belongs(shell: Shell, client: Client, kernel: str) -> None:
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7"
    uid = finished(client, kernel, code)
    done = shell("log", uid)
    assert (0, "out\n42\n", "err\n") == (done.returncode, done.stdout, done.stderr)


def test_log_ends_where_the_run_is_now(shell: Shell, client: Client) -> None:
    uid = client.create(code="print('so far', flush=True)\ninput('? ')").uid
    waits(client, uid)
    assert "so far\n? " == shell.prints("log", uid)
    client.cancel(uid)


def test_log_follows_to_the_end_and_ends_as_the_run(shell: Shell, client: Client) -> None:
    uid = client.create(code=f"{ASKS}\nimport sys\nsys.exit(3)", options={"allow_stdin": True}).uid
    with started(shell.folder, "log", "-f", uid, env=shell.env) as process:
        assert process.stdout is not None
        waits(client, uid)
        assert "Name? " == process.stdout.read(6)
        shell.prints("input", uid, "Ada")
        assert "Ada\nhello Ada\n" == process.stdout.readline() + process.stdout.readline()
        shell.prints("input", uid, "-", text="4711\n")
        assert "Pin? \n4\n" == process.stdout.read()
        assert 3 == process.wait(60)


def test_log_of_a_failed_run_fails_only_when_it_follows(
    shell: Shell, client: Client, kernel: str
) -> None:
    uid = finished(client, kernel, "1 / 0")
    assert [0, 1] == [shell("log", uid).returncode, shell("log", "--follow", uid).returncode]
    assert "ZeroDivisionError: division by zero" in shell("log", uid).stderr


def test_ctrl_c_ends_the_showing_and_not_the_run(shell: Shell, client: Client) -> None:
    uid = client.create(code="print('here', flush=True)\ninput('? ')").uid
    with started(shell.folder, "log", "-f", uid, env=shell.env) as process:
        assert process.stdout is not None
        assert "here\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (130, "\n") == (process.returncode, said)
    waits(client, uid)
    client.cancel(uid)


def test_a_reader_that_has_enough_is_no_error(shell: Shell, client: Client, kernel: str) -> None:
    uid = finished(client, kernel, "for n in range(100_000): print('line', n)")
    with started(shell.folder, "log", uid, env=shell.env) as process:
        assert process.stdout is not None
        assert "line 0\n" == process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert "" == process.stderr.read()
        assert 141 == process.wait(60)


def test_a_gateway_that_is_killed_and_started_again_is_followed_on(tmp_path: Path) -> None:
    env = {"KERNEL_GATEWAY_TOKEN": TOKEN}
    with served(tmp_path, env=env) as first, Client(first.url, TOKEN) as client:
        uid = client.create(code="print('so far', flush=True)\ninput('? ')").uid
        waits(client, uid)
        with started(tmp_path, "log", "-f", f"--server={first.url}", uid, env=env) as process:
            assert process.stdout is not None
            assert "so far\n" == process.stdout.readline()
            first.process.kill()
            first.process.wait(60)
            port = first.url.rpartition(":")[2].rstrip("/")
            with served(tmp_path, f"--port={port}", env=env) as second:
                assert "? " == process.stdout.read()
                assert process.stderr is not None
                assert "The gateway was killed" in process.stderr.read()
                assert 1 == process.wait(60)
                assert "lost" == client.run(uid).view.outcome
                assert 0 == second.stop()[0]


# -- input, cancel ------------------------------------------------------------------------------


def test_input_that_nobody_waits_for_is_refused(shell: Shell, client: Client, kernel: str) -> None:
    done = shell("input", finished(client, kernel, "1"), "x")
    expected = "kernel-gateway input: The run is finished and does not wait for input.\n"
    assert (1, expected) == (done.returncode, done.stderr)


def test_a_password_is_typed_without_being_shown(shell: Shell, client: Client) -> None:
    code = "import getpass\nprint(len(getpass.getpass('Pin? ')))"
    uid = client.create(code=code).uid
    waits(client, uid)
    ours, theirs = pty.openpty()
    try:
        with started(
            shell.folder, "input", uid, "-", env=shell.env, stdin=theirs, stdout=theirs
        ) as process:
            assert process.stderr is not None
            assert "Pin? " == process.stderr.read(5)
            os.write(ours, b"4711\n")
            assert 0 == process.wait(60)
        assert b"4711" not in os.read(ours, 1000)
    finally:
        os.close(ours)
        os.close(theirs)
    assert "ok" == client.follow(uid).view.outcome
    assert "4\n" == client.text(uid)


def test_nothing_on_standard_input_is_no_answer(shell: Shell, client: Client) -> None:
    uid = client.create(code="input('? ')").uid
    waits(client, uid)
    assert 2 == shell("input", uid, "-").returncode
    client.cancel(uid)


def test_cancel_prints_how_the_run_stands_then(shell: Shell, client: Client) -> None:
    uid = client.create(code="print('here', flush=True)\ninput('? ')").uid
    waits(client, uid)
    assert "finished cancelled\n" == shell.prints("cancel", "--wait", uid)
    assert "finished cancelled\n" == shell.prints("cancel", uid)


# -- artifacts ----------------------------------------------------------------------------------

SAVES = """
import os, pathlib
folder = pathlib.Path(os.environ["KERNEL_GATEWAY_ARTIFACT_DIR"])
(folder / "sub").mkdir()
(folder / "a.txt").write_text("hello")
(folder / "sub" / "b.txt").write_text("world")
"""


def test_artifacts_are_listed_and_put_below_the_folder(
    shell: Shell, client: Client, kernel: str
) -> None:
    uid = finished(client, kernel, SAVES)
    head, *lines = shell.prints("artifacts", uid).splitlines()
    assert ["ID", "SIZE", "TYPE", "NAME"] == head.split()
    assert ["a.txt", "sub/b.txt"] == [line.split()[-1] for line in lines]
    assert "got/a.txt\ngot/sub/b.txt\n" == shell.prints("artifacts", uid, "-o", "got")
    assert "world" == (shell.folder / "got/sub/b.txt").read_text()
    assert "a.txt\n" == shell.prints("artifacts", uid, "--get=a.txt")
    assert "hello" == (shell.folder / "a.txt").read_text()


HOSTILE = """
import os, pathlib
folder = pathlib.Path(os.environ["KERNEL_GATEWAY_ARTIFACT_DIR"])
(folder / "a\\nb").write_text("two lines")
(folder / "link").symlink_to("/etc/passwd")
"""


def test_what_hostile_code_leaves_is_harmless_here(
    shell: Shell, client: Client, kernel: str
) -> None:
    uid = finished(client, kernel, HOSTILE)
    odd, link = client.artifacts(uid)
    assert "a\\nb" in shell.prints("artifacts", uid)
    assert f"got/{odd.id}\ngot/link\n" == shell.prints("artifacts", uid, "-o", "got")
    got = shell.folder / "got"
    assert ("two lines", "/etc/passwd") == ((got / odd.id).read_text(), (got / "link").read_text())
    assert not (got / "link").is_symlink()
    assert link.mime == "inode/symlink"


def test_no_file_that_is_there_is_replaced(shell: Shell, client: Client, kernel: str) -> None:
    uid = finished(client, kernel, SAVES)
    (shell.folder / "a.txt").write_text("mine")
    done = shell("artifacts", uid, "--get=a.txt")
    assert (1, "kernel-gateway artifacts: 'a.txt' is there already.\n") == (
        done.returncode,
        done.stderr,
    )
    assert "mine" == (shell.folder / "a.txt").read_text()


def test_an_artifact_that_is_not_there_is_refused(
    shell: Shell, client: Client, kernel: str
) -> None:
    done = shell("artifacts", finished(client, kernel, "1"), "--get=x")
    assert (1, "kernel-gateway artifacts: The run has no artifact 'x'.\n") == (
        done.returncode,
        done.stderr,
    )


# -- what cannot be done --------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["show", "log", "cancel", "artifacts"])
def test_a_run_that_is_not_there_is_one_line(shell: Shell, command: str) -> None:
    done = shell(command, "nothing")
    assert (1, "") == (done.returncode, done.stdout)
    assert 1 == len(done.stderr.splitlines())
    assert done.stderr.startswith(f"kernel-gateway {command}: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls", "what"),
        ("ls", "--limit=0"),
        ("ls", "--state=odd"),
        ("show",),
        ("log", "a", "b"),
        ("cancel", "--grace=-1", "x"),
        ("input", "x"),
        ("artifacts",),
        ("show", "--what=1", "x"),
    ],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense_is_told(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    done = shell(*arguments)
    assert (2, "") == (done.returncode, done.stdout)
    assert "Traceback" not in done.stderr


def test_without_a_token_the_refusal_says_where_to_get_one(shell: Shell) -> None:
    done = shell("ls", env={"KERNEL_GATEWAY_TOKEN": ""})
    assert 2 == done.returncode
    assert "KERNEL_GATEWAY_TOKEN" in done.stderr
    assert "--token" in done.stderr


def test_a_wrong_token_is_told_and_not_shown(shell: Shell) -> None:
    done = shell("ls", "--token=wr0ng")
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "wr0ng" not in done.stderr


def test_address_and_token_may_be_options(shell: Shell, gateway: Served) -> None:
    env = {"KERNEL_GATEWAY_URL": "", "KERNEL_GATEWAY_TOKEN": ""}
    done = shell("ls", f"--server={gateway.url}", f"--token={TOKEN}", env=env)
    assert 0 == done.returncode
    done = shell("ls", f"--server={gateway.url}?token={TOKEN}", env=env)
    assert 0 == done.returncode


def test_a_gateway_that_does_not_answer_is_told_at_once(shell: Shell) -> None:
    begin = time.monotonic()
    done = shell("ls", "--server=http://127.0.0.1:9")
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "http://127.0.0.1:9 does not answer" in done.stderr
    assert time.monotonic() - begin < 30


def test_something_else_at_the_address_is_told(shell: Shell, gateway: Served) -> None:
    done = shell("ls", f"--server={gateway.url}not/here")
    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))


@pytest.mark.parametrize("command", ["ls", "show", "log", "cancel", "input", "artifacts"])
def test_the_help_tells_the_exit_codes(shell: Shell, command: str) -> None:
    assert "Exit codes: 0 " in shell.prints(command, "--help")
