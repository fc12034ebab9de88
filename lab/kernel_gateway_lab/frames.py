"""Frames of `v1.kernel.websocket.jupyter.org`: looked at, never decoded.

A frame is a count of offsets and the offsets (8 bytes each, little-endian), then the parts that
they mark: channel, header, parent header, metadata, content, buffers. Knows these bytes and what is
to be remembered of them; must not know sockets, loops, nor Jupyter's server.
"""

from __future__ import annotations

import json
import re
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

PROTOCOL = "v1.kernel.websocket.jupyter.org"

_NUMBER = 8  # bytes of a count and of an offset
_LEAST = 6  # offsets: of the five parts that each frame has, and of the end
_MSG_ID = re.compile(rb'"msg_id"\s*:\s*"((?:[^"\\]|\\.)*)"')

Frame = bytes | str  # text is of the protocol without a name, which we do not look into


def head(frame: Frame) -> tuple[bytes, bytes] | None:
    """Channel and header as they stand there; None where the frame is none of this protocol."""
    if isinstance(frame, str) or len(frame) < _NUMBER:
        return None
    count = int.from_bytes(frame[:_NUMBER], "little")
    table = _NUMBER * (1 + count)
    if count < _LEAST or len(frame) < table:
        return None
    channel, header, end = (
        int.from_bytes(frame[_NUMBER * place : _NUMBER * (place + 1)], "little")
        for place in (1, 2, 3)
    )
    if not table <= channel <= header <= end <= len(frame):
        return None
    return frame[channel:header], frame[header:end]


def identity(frame: Frame) -> int | None:
    """The same for the same message on the same channel. None: it has none."""
    found = head(frame)
    match = found and _MSG_ID.search(found[1])
    return hash((found[0], match[1])) if found and match else None


def joined(channel: str, parts: Sequence[bytes]) -> bytes:
    """The frame of header, parent header, metadata, content and buffers."""
    every = [channel.encode(), *parts]
    offsets = [_NUMBER * (len(every) + 2)]
    for part in every:
        offsets.append(offsets[-1] + len(part))
    numbers = [len(offsets), *offsets]
    return b"".join([*(number.to_bytes(_NUMBER, "little") for number in numbers), *every])


def notice(text: str, about: Frame, *, msg_id: str, session: str, now: datetime) -> bytes | None:
    """Text that a browser shows where the output of the message is shown; None where it cannot."""
    found = head(about)
    if found is None:
        return None
    header = {
        "msg_id": msg_id,
        "msg_type": "stream",
        "username": "kernel-gateway-lab",
        "session": session,
        "date": now.isoformat(),
        "version": "5.4",
    }
    content = {"name": "stderr", "text": text}
    parts = [json.dumps(header).encode(), found[1], b"{}", json.dumps(content).encode()]
    return joined("iopub", parts)


class Repeats:
    """Tells what has come before, over a line that was cut since.

    The gateway sends again, at least once, what it cannot know to have arrived. Within one line
    nothing is taken for a repeat: there a kernel that gives two messages one ID is in its rights.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._seen: dict[int, None] = {}  # oldest first
        self._before: frozenset[int] = frozenset()

    def has(self, frame: Frame) -> bool:
        """Whether it is one; if not, it is remembered."""
        key = identity(frame)
        if key is None:
            return False
        if key in self._before:
            return True
        self._seen.pop(key, None)
        self._seen[key] = None
        if len(self._seen) > self._bound:
            del self._seen[next(iter(self._seen))]
        return False

    def line_cut(self) -> None:
        self._before = frozenset(self._seen)


class Outbox:
    """What a browser has sent and the operating system has not taken yet, in order.

    It is what waits while the line is cut, and what a slow line has not taken. What is `begun` is
    handed to the line of the moment; it is `done` from the front on, or begun again on the next.
    """

    def __init__(self, most_frames: int, most_bytes: int) -> None:
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._begun = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Frame) -> bool:
        """False when there is no room: then it is not kept. One frame alone always has room."""
        full = len(self._frames) >= self._most_frames or self._bytes + len(frame) > self._most_bytes
        if full and self._frames:
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        return True

    def begin(self) -> Iterator[Frame]:
        """Each that has not begun, once."""
        fresh = list(islice(self._frames, self._begun, None))
        self._begun = len(self._frames)
        return iter(fresh)

    def done(self) -> None:
        """The first has been taken whole; it may be heard of after the cut."""
        self._bytes -= len(self._frames.popleft())
        self._begun = max(0, self._begun - 1)

    def line_cut(self) -> None:
        """What was not taken whole cannot have arrived: it begins again."""
        self._begun = 0

    def give_up_begun(self) -> list[Frame]:
        """They are not kept any more."""
        given_up = [self._frames.popleft() for _ in range(self._begun)]
        self._bytes -= sum(map(len, given_up))
        self._begun = 0
        return given_up
