"""What a kernel has said to its clients and not all of them have yet: one list, a place for each.

Knows messages, numbers and bounds. Must not know sockets, sessions or runs.

Theory of operation
===================

A WebSocket acknowledges nothing by itself: a server that has written 20,000 messages may have
reached a client that has read 500 of them when the line is cut. So each message has a number, a
client acknowledges numbers now and then, and what it has not acknowledged stays here; `rewind`
makes a client that has come back take it once more.

There is one list for all clients of a kernel, because almost all that a kernel says goes to all of
them: what it costs to keep a message does not depend on how many are there, or have been. A client
is a `Reader`: a place up to which it has taken, and one up to which it has acknowledged. A message
for one client alone (a reply, a prompt) stands in the list, too, and the others pass it over.

The list is bounded. When it is full
1. neighbouring texts of one stream become one message with the header of the first, as far as no
   reader stands between them: of 900 bytes that a small print takes here eight are text. What a
   reader has taken and not acknowledged stays as it was told: if it has to be told again, its
   client knows by the IDs of the messages what it has got already;
2. if that does not help enough, the oldest leave the list. For each reader that had not come to
   them an output is counted as lost, by its parent, which `take` tells; a status, a reply, an
   error or a prompt is kept for that reader, since whoever misses one waits for ever.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging.message import Channel
from kernel_gateway.messaging.strict_json import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kernel_gateway.messaging.raw import RawMessage
    from kernel_gateway.messaging.strict_json import Json

#: Of the memory that a message takes beside its bytes.
OVERHEAD_BYTES = 500
#: How long neighbouring texts become at most when they are joined: characters.
JOINED_CHARS = 2**18
#: A reader that is so far behind is told joined texts, which it can take sooner.
JOIN_ABOVE = 1000
#: Kept for one reader because it may not be lost; with more it is beyond help, and has to go.
KEPT_BYTES = 32 * 2**20

#: Requests whose losses are told one by one; those of further ones are told together.
LOST_PARENTS = 1000
_NO_PARENT = b"{}"

_OUTPUT = frozenset(
    {
        "stream",
        "display_data",
        "execute_result",
        "update_display_data",
        "clear_output",
        "execute_input",
        "comm_open",
        "comm_msg",
        "comm_close",
        "debug_event",
    }
)


class Entry(NamedTuple):
    number: int
    message: RawMessage
    reader: Reader | None  # None: for all
    size: int  # bytes, with what it takes beside them
    messages: int = 1  # of the kernel in it, which were joined


@dataclass(slots=True)
class Lost:
    """Of the output of one request, to one reader."""

    messages: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    messages: Sequence[RawMessage]
    last: int  # number of the last of them, or of the one taken before
    lost: Mapping[bytes, Lost]  # by parent header; before all of these


@dataclass(eq=False, slots=True)
class Reader:
    """One client's place. Made by `Spool.reader`, let go of by `Spool.forget`."""

    taken: int
    acknowledged: int
    told: int  # the highest that it has ever taken, also before a rewind
    kept: list[Entry] = field(default_factory=list)  # have left the list, may not be lost
    lost: dict[bytes, Lost] = field(default_factory=dict)
    #: Left the list when they were taken and not yet acknowledged: lost if that is never done. And
    #: what was told as lost, but perhaps did not arrive.
    unsure: dict[bytes, Lost] = field(default_factory=dict)
    unsure_until: int = 0  # what has to be acknowledged to be sure

    kept_bytes: int = 0

    @property
    def is_beyond_help(self) -> bool:
        return self.kept_bytes > KEPT_BYTES


class Spool:
    """`<Spool 12 messages 9800 bytes>`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._entries: list[Entry] = []
        self._bytes = 0
        self._last = 0
        self._joined = 0  # up to this number neighbours were joined
        self._readers: list[Reader] = []

    def __repr__(self) -> str:
        return f"<Spool {len(self._entries)} messages {self._bytes} bytes>"

    def reader(self) -> Reader:
        """One that begins with what comes next."""
        reader = Reader(taken=self._last, acknowledged=self._last, told=self._last)
        self._readers.append(reader)
        return reader

    def forget(self, reader: Reader) -> None:
        self._readers.remove(reader)
        self._trim()

    def append(self, message: RawMessage, reader: Reader | None = None) -> None:
        """For all readers, or for one."""
        self._last += 1
        if not self._readers:
            return  # who comes later begins with what comes then
        size = message.bytes + OVERHEAD_BYTES
        # 0.15 us less than to call the class, which is a function around this one.
        self._entries.append(tuple.__new__(Entry, (self._last, message, reader, size, 1)))
        self._bytes += size
        if self._bytes > self._limit:
            self._make_room()

    # -- a reader's ------------------------------------------------------------------------------

    def take(self, reader: Reader, most_bytes: int) -> Taken:
        """What is next for it: about so many bytes, at least one message if there is any."""
        lost, reader.lost = reader.lost, {}
        messages: list[RawMessage] = []
        size = 0
        for entry in self._next_entries(reader):
            if entry.reader is None or entry.reader is reader:
                size += entry.size
                if messages and size > most_bytes:
                    break
                messages.append(entry.message)
            reader.taken = entry.number
        reader.told = max(reader.told, reader.taken)
        if lost:
            _add(reader.unsure, lost)
            reader.unsure_until = max(reader.unsure_until, reader.taken)
        return Taken(messages, reader.taken, lost)

    def has_news(self, reader: Reader) -> bool:
        return reader.taken < self._last

    def acknowledge(self, reader: Reader, number: int) -> None:
        """It has everything up to this one."""
        if not reader.acknowledged < number <= reader.taken:
            return
        reader.acknowledged = number
        if reader.kept:
            reader.kept = [entry for entry in reader.kept if entry.number > number]
            reader.kept_bytes = sum(entry.size for entry in reader.kept)
        if number >= reader.unsure_until:
            reader.unsure = {}
        self._trim()

    def rewind(self, reader: Reader) -> None:
        """It takes again what it has not acknowledged."""
        unsure, reader.unsure = reader.unsure, {}
        reader.taken = reader.acknowledged
        _add(reader.lost, unsure)

    def _next_entries(self, reader: Reader) -> Iterable[Entry]:
        if self._last - max(reader.taken, self._joined) > JOIN_ABOVE:
            self._join(self._joined)
        following = self._entries[self._behind(reader.taken) :]
        kept = [entry for entry in reader.kept if entry.number > reader.taken]
        return [*kept, *following] if kept else following

    def _behind(self, number: int) -> int:
        """Where the first one with a higher number stands."""
        return bisect_right(self._entries, number, key=_number)

    # -- room ------------------------------------------------------------------------------------

    def _trim(self) -> None:
        """What all have acknowledged is let go."""
        least = min((reader.acknowledged for reader in self._readers), default=self._last)
        self._cut(self._behind(least))

    def _cut(self, count: int) -> None:
        for entry in self._entries[:count]:
            self._bytes -= entry.size
        del self._entries[:count]

    def _make_room(self) -> None:
        """Down to half, so that this is done seldom; the newest stays, however big it is."""
        self._join(0)  # all once more: what was told meanwhile may be acknowledged now
        left, count = self._bytes, 0
        while left > self._limit // 2 and count < len(self._entries) - 1:
            entry = self._entries[count]
            left -= entry.size
            count += 1
            for reader in self._readers:
                _leave(reader, entry)
        self._cut(count)

    def _join(self, after: int) -> None:
        """Neighbouring texts of one stream, of the messages with higher numbers."""
        start = self._behind(after)
        stretches = _Stretches(self._readers)
        joined: list[Entry] = []
        text: _Text | None = None
        for entry in self._entries[start:]:
            stretch = stretches.of(entry.number)
            if text is not None and text.stretch == stretch and text.takes(entry):
                joined[-1] = entry  # its place; what it says is put there when the text is over
            else:
                _put(joined, text)
                joined.append(entry)
                text = None if stretch is None else _Text.of(entry, stretch)
        _put(joined, text)
        self._bytes += sum(entry.size for entry in joined)
        self._bytes -= sum(entry.size for entry in self._entries[start:])
        self._entries[start:] = joined
        self._joined = self._last


class _Stretches:
    """The list between the places of its readers: what is joined lies in one of them."""

    def __init__(self, readers: Iterable[Reader]) -> None:
        places = [(reader.acknowledged, reader.told) for reader in readers]
        self._ends = sorted({place for both in places for place in both})
        changes = [0] * (2 + len(self._ends))
        for acknowledged, told in places:
            changes[1 + self._at(acknowledged)] += 1
            changes[1 + self._at(told)] -= 1
        self._told = list(accumulate(changes))  # of each stretch: by how many readers

    def of(self, number: int) -> int | None:
        """None: a reader was told of it, and may have to be told again."""
        stretch = self._at(number)
        return None if self._told[stretch] else stretch

    def _at(self, number: int) -> int:
        return bisect_left(self._ends, number)


@dataclass(slots=True)
class _Text:
    """Neighbouring texts of one stream, to become one message with the header of the first."""

    first: Entry
    stretch: int
    name: Json
    parts: list[str]
    chars: int
    messages: int

    @classmethod
    def of(cls, entry: Entry, stretch: int) -> _Text | None:
        content = _stream_content(entry.message)
        if content is None:
            return None
        text = str(content["text"])
        return cls(entry, stretch, content["name"], [text], len(text), entry.messages)

    def takes(self, entry: Entry) -> bool:
        """Whether it belongs to them; then it is taken."""
        first = self.first
        same = entry.message.parts[1:3] == first.message.parts[1:3]
        if not same or entry.reader is not first.reader or self.chars > JOINED_CHARS:
            return False
        content = _stream_content(entry.message)
        if content is None or content["name"] != self.name:
            return False
        text = str(content["text"])
        self.parts.append(text)
        self.chars += len(text)
        self.messages += entry.messages
        return True

    def message(self) -> RawMessage:
        header, parent, metadata, _ = self.first.message.parts
        content = encode({"name": self.name, "text": "".join(self.parts)})
        return self.first.message._replace(parts=(header, parent, metadata, content))


def _stream_content(message: RawMessage) -> Mapping[str, Json] | None:
    """None: it is no text, has something beside it, or is big enough as it is."""
    if message.msg_type != "stream" or message.channel is not Channel.IOPUB:
        return None
    if message.buffers or len(message.parts[3]) > JOINED_CHARS:
        return None
    try:
        content = message.content
    except MalformedMessage:
        return None
    is_text = content.keys() == {"name", "text"} and isinstance(content["text"], str)
    return content if is_text else None


def _put(joined: list[Entry], text: _Text | None) -> None:
    """The text is over: it stands where its last part stood."""
    if text is not None and len(text.parts) > 1:
        message = text.message()
        size = message.bytes + OVERHEAD_BYTES
        joined[-1] = joined[-1]._replace(message=message, size=size, messages=text.messages)


def _number(entry: Entry) -> int:
    return entry.number


def _leave(reader: Reader, entry: Entry) -> None:
    """The entry leaves the list, and the reader may not have it."""
    if entry.number <= reader.acknowledged or entry.reader not in (None, reader):
        return
    message = entry.message
    if message.msg_type not in _OUTPUT:
        reader.kept.append(entry)
        reader.kept_bytes += entry.size
    elif entry.number > reader.taken:
        _count(reader.lost, message.parts[1], entry.messages, message.bytes)
    else:
        _count(reader.unsure, message.parts[1], entry.messages, message.bytes)
        reader.unsure_until = max(reader.unsure_until, entry.number)


def _add(losses: dict[bytes, Lost], more: Mapping[bytes, Lost]) -> None:
    for parent, lost in more.items():
        _count(losses, parent, lost.messages, lost.bytes)


def _count(losses: dict[bytes, Lost], parent: bytes, messages: int, size: int) -> None:
    if parent not in losses and len(losses) >= LOST_PARENTS:
        parent = _NO_PARENT
    lost = losses.setdefault(parent, Lost())
    lost.messages += messages
    lost.bytes += size
