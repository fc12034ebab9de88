"""A file that is there when it is complete, and not before.

Knows the file system. Must not know what is written.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class PartFile:
    """Written beside its place under a name of its own. `finish` puts it there, over what was;
    `abandon` leaves nothing."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._part = place.parent / f".{uuid.uuid4().hex}.part"
        self._file = self._part.open("xb")

    def begin_at(self, start: int) -> None:
        """What is behind is dropped."""
        self._file.seek(start)
        self._file.truncate()

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def finish(self) -> None:
        self._file.close()
        self._part.replace(self._place)

    def abandon(self) -> None:
        """Harmless after `finish`."""
        self._file.close()
        with suppress(FileNotFoundError):
            self._part.unlink()
