"""Backend.AI's command line, as its users type it."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.backendai.client import IMAGE, LIMIT_S, Cli, plain
from tests.e2e.backendai.conftest import BASE_PATH
from tests.shared.programs import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.backendai.client import Sdk, Session

ASKS = """
#include <stdio.h>
int main(void) {
    char name[50];
    printf("Name? ");
    scanf("%49s", name);
    printf("hello %s\\n", name);
    return 7;
}
"""


@pytest.fixture
def free(sdk: Sdk, name: str) -> Iterator[str]:
    """A name for the session that a command makes."""
    yield name
    if name in sdk.names():
        sdk.session(name).call("destroy")


# -- run -c


def test_run_prints_what_the_code_prints(cli: Cli, free: str) -> None:
    code = "import sys\nprint('öut')\nprint('err', file=sys.stderr)\n6 * 7"
    done = cli("run", "-t", free, IMAGE, "-c", code)
    assert (0, "öut\n42") == (done.returncode, done.stdout)
    assert "err\n" in done.stderr
    assert f"[0] Session {free} is ready" in done.stderr
    assert "[0] Execution finished. (exit code = 0)" in done.stderr


def test_run_shows_an_exception_and_its_exit_code(cli: Cli, free: str) -> None:
    done = cli("run", "-t", free, IMAGE, "-c", "print('before'); 1 / 0")
    assert "before\n" == done.stdout
    assert "ZeroDivisionError: division by zero" in plain(done.stderr)
    assert "[0] Execution finished. (exit code = 1)" in done.stderr


def test_run_answers_prompts_from_its_standard_input(cli: Cli, free: str) -> None:
    code = "print('hello', input('Name? ')); from getpass import getpass; print(len(getpass()))"
    done = cli("run", "-t", free, IMAGE, "-c", code, text="Zoë\ngeheim\n")
    assert done.stdout.startswith("Name? hello Zoë\n"), done
    assert done.stdout.endswith("6\n")
    assert "Execution finished. (exit code = 0)" in done.stderr


def test_run_finds_a_session_again_by_its_name(cli: Cli, free: str) -> None:
    cli("run", "-t", free, IMAGE, "-c", "kept = 'still there'")
    done = cli("run", "-t", free, IMAGE, "-c", "print(kept)")
    assert "still there\n" == done.stdout
    assert f"[0] Reusing session {free}" in done.stderr


def test_run_can_be_quiet_and_remove_its_session(cli: Cli, sdk: Sdk, free: str) -> None:
    done = cli("run", "-q", "--rm", "-t", free, IMAGE, "-c", "print(1)")
    assert (0, "1\n", "") == (done.returncode, done.stdout, done.stderr)
    assert free not in sdk.names()


def test_run_without_a_name_makes_one_up_and_can_show_statistics(cli: Cli, sdk: Sdk) -> None:
    before = sdk.names()
    done = cli("run", "--rm", "--stats", IMAGE, "-c", "print(1)")
    assert (0, True) == (done.returncode, done.stdout.startswith("1\n"))
    assert "Statistics" in done.stdout + done.stderr
    assert before == sdk.names()


# -- run with files


def test_run_builds_and_runs_a_program_that_asks(cli: Cli, free: str) -> None:
    needs("gcc")
    (cli.folder / "main.c").write_text(ASKS)
    done = cli(
        "run", "-t", free, "--build", "gcc -o main main.c", "--exec", "./main", "gcc:12", "main.c",
        text="Zoë\n",
    )  # fmt: skip
    assert (0, "Name? hello Zoë\n") == (done.returncode, done.stdout), done.stderr
    ends = re.findall(r"(\w+) finished\. \(exit code = (\d+)\)", done.stderr)
    assert [("Clean", "0"), ("Build", "0"), ("Execution", "7")] == ends


def test_run_shows_why_a_build_has_failed(cli: Cli, free: str) -> None:
    needs("gcc")
    (cli.folder / "main.c").write_text("int main(void) { retrun 0; }\n")
    command = ("run", "-t", free, "--build", "gcc -o main main.c", "--exec", "./main", "gcc:12")
    done = cli(*command, "main.c")
    assert "error:" in done.stderr
    ends = re.findall(r"(\w+) finished\. \(exit code = (\d+)\)", done.stderr)
    assert [("Clean", "0"), ("Build", "1"), ("Execution", "127")] == ends


def test_run_of_files_alone_uses_the_defaults_of_the_language(cli: Cli, free: str) -> None:
    (cli.folder / "sub").mkdir()
    (cli.folder / "main.py").write_text("import sub.more\nprint(sub.more.WORD)\n")
    (cli.folder / "sub/more.py").write_text("WORD = 'from a folder'\n")
    done = cli("run", "-t", free, IMAGE, "main.py", "sub/more.py")
    assert "from a folder\n" == done.stdout, done.stderr


def test_run_of_many_cases_at_once(cli: Cli, free: str, sdk: Sdk) -> None:
    done = cli(
        "run", "-t", free, "--rm", "-e", "N=$n", "--env-range", "n=case:1,2", IMAGE,
        "-c", "import os; print(os.environ['N'])",
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    logs = sorted((cli.folder / ".cache/backend.ai/client-logs").glob("*.stdout.log"))
    assert ["1\n", "2\n"] == [log.read_text() for log in logs]


def test_an_interrupt_of_the_command_ends_the_run(cli: Cli, sdk: Sdk, free: str) -> None:
    process = cli.start("run", "-t", free, IMAGE, "-c", "print('go')\nwhile True: pass")
    with process:
        assert process.stdout is not None
        assert any(line.startswith("go") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    assert "1" == sdk.session(free).value("1")


# -- sessions


def test_a_session_is_started_and_said_to_be_there_again(cli: Cli, sdk: Sdk, free: str) -> None:
    first = cli("start", "-t", free, IMAGE)
    assert 0 == first.returncode
    assert re.search(r"Session ID \S+ is created and ready\.", first.stderr), first.stderr
    again = cli("session", "create", "-t", free, IMAGE)
    assert "is already running and ready." in again.stderr
    assert free in sdk.names()


def test_start_says_why_it_was_refused(cli: Cli, session: Session) -> None:
    done = cli("start", "--no-reuse", "-t", session.name, IMAGE)
    assert 1 == done.returncode
    assert "already exists" in done.stderr


def test_ps_lists_sessions(cli: Cli, session: Session) -> None:
    done = cli("ps", "--detail")
    assert 0 == done.returncode, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if session.name in line]
    assert session.id in line
    assert "RUNNING" in line
    assert IMAGE in line
    listed = cli("session", "list", "--plain", "--format", "status,name,image").stdout
    assert ["RUNNING", session.name, IMAGE] in [line.split() for line in listed.splitlines()]


def test_ps_of_one_key_pair_does_not_show_the_others(
    cli: Cli, other_sdk: Sdk, session: Session, free: str
) -> None:
    theirs = other_sdk.create(free)
    shown = Cli(account=other_sdk.account, folder=cli.folder)("ps", "--name-only")
    assert 0 == shown.returncode, shown.stderr
    assert free in shown.stdout
    assert session.name not in shown.stdout
    theirs.call("destroy")


def test_info_shows_the_fields_of_a_session(cli: Cli, session: Session) -> None:
    done = cli("session", "info", session.id)
    assert 0 == done.returncode, done.stderr
    assert re.search(rf"^Name\s+{session.name}$", done.stdout, re.MULTILINE)
    assert re.search(r"^Status\s+RUNNING$", done.stdout, re.MULTILINE)
    assert re.search(rf"^Session ID\s+{session.id}$", done.stdout, re.MULTILINE)


def test_info_of_a_session_that_is_not_there_says_so(cli: Cli) -> None:
    done = cli("info", "00000000-0000-4000-8000-000000000000")
    assert 1 == done.returncode
    assert "There is no such compute session." in done.stderr


def test_logs_show_what_was_printed(cli: Cli, session: Session) -> None:
    session.run("print('for the lög')")
    done = cli("session", "logs", session.name)
    assert 0 == done.returncode
    assert "for the lög\n" in done.stdout


def test_files_go_there_are_listed_and_come_back(cli: Cli, session: Session) -> None:
    (cli.folder / "ordner").mkdir()
    (cli.folder / "ordner/größe.txt").write_text("Grüße")
    assert 0 == cli("session", "upload", session.name, "ordner/größe.txt").returncode
    assert "Grüße" == session.value("open('ordner/größe.txt').read()")
    listed = cli("session", "ls", session.name)
    assert 0 == listed.returncode
    assert "ordner" in listed.stdout
    assert "größe.txt" in cli("session", "ls", session.name, "/home/work/ordner").stdout
    (cli.folder / "back").mkdir()
    fetched = cli("session", "download", session.name, "ordner/größe.txt", "--dest", "back")
    assert 0 == fetched.returncode, fetched.stderr
    assert "Grüße" == (cli.folder / "back/größe.txt").read_text()


def test_ls_of_a_folder_that_is_not_there_fails(cli: Cli, session: Session) -> None:
    assert 1 == cli("session", "ls", session.name, "no-such-folder").returncode


def test_restart_forgets_the_state(cli: Cli, session: Session) -> None:
    session.run("state = 1")
    assert 0 == cli("restart", session.name).returncode
    assert "False" == session.value("'state' in globals()")


def test_a_session_is_removed(cli: Cli, sdk: Sdk, own: Session) -> None:
    done = cli("rm", "--stats", own.name)
    assert 0 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    assert own.name not in sdk.names()
    again = cli("session", "destroy", own.name)
    assert 1 == again.returncode
    assert "No such session" in again.stderr


def test_events_are_shown_until_the_session_has_ended(cli: Cli, own: Session) -> None:
    with cli.start("events", own.name) as process:
        assert process.stdout is not None
        assert any(line.startswith("session_started ") for line in process.stdout)
        own.call("destroy")
        rest, _ = process.communicate(timeout=LIMIT_S)
    assert 0 == process.returncode
    assert "session_terminated " in rest


def test_watch_ends_with_its_session(cli: Cli, own: Session) -> None:
    with cli.start("watch", own.name) as process:
        assert process.stdout is not None
        assert any("session_started" in line for line in process.stdout)
        own.call("destroy")
        rest, _ = process.communicate(timeout=LIMIT_S)
    assert 0 == process.returncode
    assert "session_terminated" in rest


# -- who may


def test_a_wrong_secret_is_refused_with_a_word(cli: Cli, session: Session) -> None:
    done = cli("session", "logs", session.name, env={"BACKEND_SECRET_KEY": "wrong"})
    assert 1 == done.returncode
    assert "401" in done.stderr


def test_two_endpoints_are_tried_in_turn(cli: Cli, session: Session) -> None:
    where = f"http://127.0.0.1:9,{cli.account.endpoint}"
    done = cli("session", "logs", session.name, env={"BACKEND_ENDPOINT": where})
    assert 0 == done.returncode, done.stderr


def test_an_endpoint_may_have_a_path(cli: Cli, free: str) -> None:
    where = {"BACKEND_ENDPOINT": cli.account.endpoint + BASE_PATH}
    done = cli("run", "--rm", "-t", free, IMAGE, "-c", "print(1)", env=where)
    assert (0, "1\n") == (done.returncode, done.stdout), done.stderr
