"""`kernel-gateway keys` as a process, also beside a gateway that has the same folder."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.commands import LIMIT_S, run, served, started

if TYPE_CHECKING:
    from pathlib import Path

_EXPORTS = re.compile(
    r"export BACKEND_ACCESS_KEY=(KG[A-Z0-9]{18})\nexport BACKEND_SECRET_KEY=([A-Za-z0-9]{40})\n"
)
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00"


def keys(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = run(folder, "keys", *arguments)
    return done.returncode, done.stdout, done.stderr


def add(folder: Path, *arguments: str) -> tuple[str, str]:
    """Access key and secret."""
    code, printed, said = keys(folder, "add", *arguments)
    assert code == 0, said
    match = _EXPORTS.fullmatch(printed)
    assert match, printed
    assert match[2] not in said
    return match[1], match[2]


def table(folder: Path) -> list[list[str]]:
    code, printed, said = keys(folder, "list")
    assert (code, said) == (0, "")
    head, *lines = [re.split(r"  +", line) for line in printed.splitlines()]
    assert head == ["ACCESS KEY", "OWNER", "CREATED", "REVOKED"]
    return lines


def stored(folder: Path, access_key: str) -> Any:
    """As somebody who knows the database has it."""
    with closing(sqlite3.connect(folder / "data" / "gateway.db")) as connection:
        query = "SELECT secret, owner, revoked_at FROM keys WHERE access_key = ?"
        return connection.execute(query, [access_key]).fetchone()


def test_a_pair_of_keys_is_printed_for_the_shell(tmp_path: Path) -> None:
    access_key, secret = add(tmp_path)
    assert (secret, access_key, None) == stored(tmp_path, access_key)
    code, printed, said = keys(tmp_path, "add", "--owner", "alice b")
    assert code == 0
    assert said.count("\n") == 1
    assert "alice b" in said
    shell = f'{printed}\nprintf "%s" "$BACKEND_ACCESS_KEY $BACKEND_SECRET_KEY"'
    seen = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=True)
    other, its_secret = seen.stdout.split(" ")
    assert (its_secret, "alice b", None) == stored(tmp_path, other)


def test_keys_are_listed_without_secrets_and_revoked(tmp_path: Path) -> None:
    (one, secret), (two, _) = add(tmp_path, "--owner=alice"), add(tmp_path)
    assert [[one, "alice"], [two, two]] == [line[:2] for line in table(tmp_path)]
    assert secret not in keys(tmp_path, "list")[1]
    assert (0, "", "") == keys(tmp_path, "revoke", one)
    revoked = table(tmp_path)
    assert re.fullmatch(_TIME, revoked[0][2])
    assert re.fullmatch(_TIME, revoked[0][3])
    assert "-" == revoked[1][3]
    at = stored(tmp_path, one)[2]
    assert (0, "", "") == keys(tmp_path, "revoke", one)
    assert at == stored(tmp_path, one)[2]


def test_a_running_gateway_is_no_hindrance(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        access_key, secret = add(tmp_path, "--owner=alice")
        assert [access_key] == [line[0] for line in table(tmp_path)]
        assert (0, "", "") == keys(tmp_path, "revoke", access_key)
        kernel_id = gateway.new_kernel()
        assert 200 == gateway.execute(kernel_id, mode="query", code="1")[0]  # it still can write
        code, said = gateway.stop()
    assert 0 == code
    assert secret not in said
    assert stored(tmp_path, access_key)[2] is not None


def test_keys_that_are_there_are_no_hindrance_to_a_gateway(tmp_path: Path) -> None:
    access_key, _ = add(tmp_path)
    with served(tmp_path) as gateway:
        assert 0 == gateway.stop()[0]
    assert [access_key] == [line[0] for line in table(tmp_path)]


def test_several_at_once_and_a_gateway_that_starts_make_one_database(tmp_path: Path) -> None:
    """None of them has been there before, so each tries to make it."""
    with ExitStack() as stack:
        adding = [stack.enter_context(started(tmp_path, "keys", "add")) for _ in range(4)]
        gateway = stack.enter_context(served(tmp_path))
        printed = [process.communicate(timeout=LIMIT_S) for process in adding]
        assert [0] * 4 == [process.returncode for process in adding], printed
        assert 0 == gateway.stop()[0]
    matches = [_EXPORTS.fullmatch(out) for out, _ in printed]
    assert {match[1] for match in matches if match} == {line[0] for line in table(tmp_path)}
    assert 4 == len(table(tmp_path))


def test_others_cannot_read_them(tmp_path: Path) -> None:
    add(tmp_path)
    data = tmp_path / "data"
    assert 0o700 == data.stat().st_mode & 0o777
    assert {0o600} == {path.stat().st_mode & 0o777 for path in data.iterdir() if path.is_file()}


def test_another_folder_can_be_named(tmp_path: Path) -> None:
    code, _, _ = keys(tmp_path, "add", f"--data-dir={tmp_path / 'other'}")
    assert 0 == code
    assert not (tmp_path / "data").exists()
    assert (tmp_path / "other" / "gateway.db").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list"], "no gateway's database in the folder"),
        (["revoke", "KG1"], "no gateway's database in the folder"),
        (["add", "--data-dir=/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    code, printed, said = keys(tmp_path, *arguments)
    assert (1, "", 1) == (code, printed, said.count("\n"))
    assert said.startswith(f"kernel-gateway keys {arguments[0]}: ")
    assert told in said
    assert not (tmp_path / "data").exists()


def test_a_key_that_is_not_there_cannot_be_revoked(tmp_path: Path) -> None:
    add(tmp_path)
    for access_key in ("KG1", "", "ü", "\udcff", "' OR 1 --"):
        code, _, said = keys(tmp_path, "revoke", "--", access_key)
        assert 1 == code
        assert f"kernel-gateway keys revoke: there is no access key {access_key!r}.\n" == said
    assert "-" == table(tmp_path)[0][3]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ""),
        (["ad"], "there is no command 'ad', only add, list, revoke"),
        (["add", "alice"], "'alice'"),
        (["add", "--ownr=alice"], "no option --ownr"),
        (["add", "--owner="], "must be a name, not ''"),
        (["add", "--owner= a"], "must be a name"),
        (["add", "--owner=a\nb"], r"must be a name, not 'a\nb'"),
        (["add", "--owner=" + "a" * 101], "at most 100 characters"),
        (["list", "--owner=alice"], "no option --owner"),
        (["list", "all"], "'all'"),
        (["revoke"], "One access key"),
        (["revoke", "KG1", "KG2"], "One access key"),
    ],
)
def test_what_makes_no_sense_is_exit_2(tmp_path: Path, arguments: list[str], told: str) -> None:
    code, _, said = keys(tmp_path, *arguments)
    assert 2 == code, said
    assert told in said
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ["keys add --owner", "keys revoke KG", "Subcommands"]),
        (["add"], ["--owner", "eval"]),
        (["list"], ["--data-dir", "without their secrets"]),
        (["revoke"], ["Exit code 1", "keys revoke KG"]),
    ],
)
def test_help_is_given_with_examples(tmp_path: Path, arguments: list[str], told: list[str]) -> None:
    code, printed, said = keys(tmp_path, *arguments, "--help")
    assert (0, "") == (code, said)
    assert "Examples" in printed
    assert all(words in printed for words in told)
