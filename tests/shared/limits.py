"""A process that has few descriptors left: this one, or another."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT_BACK, _SHARE, _LEAST = 64, 16, 8  # see docs/how-to/many-kernels.md


def _counted(pid: int) -> int:
    """Before Linux 6.2; our own list has itself in it."""
    return len(os.listdir(f"/proc/{pid or 'self'}/fd")) - (not pid)


@contextmanager
def descriptors_left(count: int, pid: int = 0) -> Iterator[int]:
    """So many beyond those that are kept back; the limit that makes it so."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = os.stat(f"/proc/{pid or 'self'}/fd").st_size or _counted(pid)
    limit = used + count
    while limit - min(_KEPT_BACK, max(_LEAST, limit // _SHARE)) < used + count:
        limit += 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield limit
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
