"""Which failures pass by themselves, and which never would."""

from __future__ import annotations

import errno
import sqlite3

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from kernel_gateway.errors import DiskFull, StoreUnavailable
from kernel_gateway.store.faults import bug, weather


def sqlite_error(code: int) -> sqlite3.OperationalError:
    fault = sqlite3.OperationalError("as SQLite says")
    fault.sqlite_errorcode = code
    return fault


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_that_finds_no_room_means_the_disk_is_full(number: int) -> None:
    assert isinstance(weather(OSError(number, "no room")), DiskFull)


def test_a_database_that_finds_no_room_means_the_disk_is_full() -> None:
    assert isinstance(weather(sqlite_error(sqlite3.SQLITE_FULL)), DiskFull)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(OSError(errno.EIO, "broken"), id="device"),
        pytest.param(PermissionError(errno.EACCES, "not yours"), id="permission"),
        pytest.param(MemoryError(), id="memory"),
        pytest.param(sqlite_error(sqlite3.SQLITE_BUSY), id="busy"),
        pytest.param(sqlite_error(sqlite3.SQLITE_IOERR_WRITE), id="write"),
        pytest.param(sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED), id="moved"),
        pytest.param(sqlite_error(sqlite3.SQLITE_CORRUPT), id="corrupt"),
        pytest.param(
            OperationalError("INSERT", {}, sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT)),
            id="within SQLAlchemy",
        ),
    ],
)
def test_what_may_pass_makes_the_store_unavailable(fault: Exception) -> None:
    assert isinstance(weather(fault), StoreUnavailable)


@pytest.mark.parametrize(
    "fault",
    [
        ValueError("record 7 comes where 3 is next"),
        sqlite_error(sqlite3.SQLITE_ERROR),  # no such table
        IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed")),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
    ids=repr,
)
def test_what_would_fail_for_ever_is_no_weather(fault: Exception) -> None:
    assert weather(fault) is None


def test_a_bug_names_what_was_lost_and_why() -> None:
    fault = bug("3 records of run u1", ValueError("a hole"))
    assert "3 records of run u1 cannot be stored: a hole" == str(fault)
    assert 500 == fault.status
