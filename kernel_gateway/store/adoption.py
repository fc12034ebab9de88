"""A file that user code has left becomes one of ours: measured, hashed and moved.

Knows files. Must not know runs. The file is a stranger's: it may be of any kind, a link to
anything, known by other names, and still written to. A link is never followed; what is kept of it
is where it points to.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from kernel_gateway.errors import TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Its size in bytes, and `sha256:<hex>`.
Measures: TypeAlias = tuple[int, str]

_PIECE_BYTES = 2**20


def adopt(source: Path, target: Path, *, most_bytes: int) -> Measures:
    """Blocks as long as reading takes. `source` is gone then, and `target` private and whole.

    Raises `TooLarge`, `ValueError` for what is neither a file nor a link, and `OSError`; `source`
    stays where it is then.
    """
    kind = source.lstat().st_mode
    if stat.S_ISLNK(kind):
        return _adopt_text(os.fsencode(source.readlink()), source, target, most_bytes)
    _check_kind(source, kind)
    with open(source, "rb", opener=_not_followed) as file:
        status = os.fstat(file.fileno())
        _check_kind(source, status.st_mode)  # another one may have taken its place
        _check_size(source, status.st_size, most_bytes)
        if not _is_ours_alone(status):
            return _copied(_pieces(file, source, most_bytes), source, target)
        measures = _measured(_pieces(file, source, most_bytes))
        os.fchmod(file.fileno(), 0o600)
        try:
            source.rename(target)
        except OSError as fault:
            if fault.errno != errno.EXDEV:
                raise
            file.seek(0)
            return _copied(_pieces(file, source, most_bytes), source, target)
        return measures


def private(path: str, flags: int) -> int:
    """An opener of files that nobody else may read."""
    return os.open(path, flags, 0o600)


def _adopt_text(text: bytes, source: Path, target: Path, most_bytes: int) -> Measures:
    _check_size(source, len(text), most_bytes)
    return _copied(iter([text]), source, target)


def _check_kind(source: Path, kind: int) -> None:
    if not stat.S_ISREG(kind):
        raise ValueError(f"{source.name} is neither a file nor a link")


def _check_size(source: Path, size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise TooLarge(f"{source.name} is bigger than the {most_bytes} bytes that are kept.")


def _is_ours_alone(status: os.stat_result) -> bool:
    """Else it is copied: by its other name somebody could write to it."""
    return status.st_nlink == 1 and status.st_uid == os.geteuid()


def _pieces(file: BinaryIO, source: Path, most_bytes: int) -> Iterator[bytes]:
    size = 0
    for piece in iter(partial(file.read, _PIECE_BYTES), b""):
        size += len(piece)
        _check_size(source, size, most_bytes)  # it may have grown
        yield piece


def _measured(pieces: Iterator[bytes]) -> Measures:
    size, digest = 0, hashlib.sha256()
    for piece in pieces:
        size += len(piece)
        digest.update(piece)
    return size, f"sha256:{digest.hexdigest()}"


def _copied(pieces: Iterator[bytes], source: Path, target: Path) -> Measures:
    part = target.with_name(f"{target.name}.part")
    try:
        with open(part, "wb", opener=private) as copy:
            measures = _measured(_written(pieces, copy))
        source.unlink()
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return measures


def _written(pieces: Iterator[bytes], copy: BinaryIO) -> Iterator[bytes]:
    for piece in pieces:
        copy.write(piece)
        yield piece


def _not_followed(path: str, flags: int) -> int:
    # What has become a pipe meanwhile must not hold us up.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
