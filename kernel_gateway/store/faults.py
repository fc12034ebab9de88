"""Whose fault a failed write is: the weather's or ours.

Weather (a full disk, a lock, a failing device) passes: the same write is tried again and nothing
is lost. Everything else would fail again in the same way for ever (a hole in a log, a value no
column takes): that write is dropped, loudly. Knows exceptions only.
"""

from __future__ import annotations

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError

from kernel_gateway.errors import DiskFull, OurFault, StoreUnavailable

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# The primary code is the low byte: SQLITE_IOERR_WRITE is a SQLITE_IOERR.
_WEATHER = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,  # nothing passes here without a person, but nothing is thrown away
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


def weather(fault: BaseException) -> DiskFull | StoreUnavailable | None:
    """What callers are told while it lasts; None when trying again would not help."""
    cause = fault.orig if isinstance(fault, DBAPIError) else fault
    if isinstance(cause, OSError):
        full = cause.errno in _NO_ROOM
    elif isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code != sqlite3.SQLITE_FULL and code not in _WEATHER:
            return None
        full = code == sqlite3.SQLITE_FULL
    elif isinstance(cause, MemoryError):
        full = False
    else:
        return None
    if full:
        return DiskFull(f"The disk of the store is full ({cause}).")
    return StoreUnavailable(f"The store does not take writes at present ({cause}).")


def bug(what: str, fault: Exception) -> OurFault:
    """A write that can never be stored."""
    cause = fault.orig if isinstance(fault, DBAPIError) else fault
    return OurFault(f"{what} cannot be stored: {cause}")
