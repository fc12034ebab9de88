"""Server-sent events out of the bytes of a stream, however these are cut.

Follows the HTML standard, "9.2.6 Interpreting an event stream". Knows bytes and lines. Must not
know what the events are about.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from kernel_gateway.errors import UnexpectedAnswer

#: Of one line. A record is far below it: values above 6 MiB travel by reference.
MAX_LINE_CHARS = 64 * 2**20

_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: str
    id: str  # the last one told, by this event or an earlier one; may be empty


class Parser:
    """Give it all that comes to `feed`. An event without the empty line at its end never was."""

    def __init__(self) -> None:
        self.comments = 0  # so many have come: a sign of life
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = False
        self._line: list[str] = []  # pieces of the line that has not ended
        self._chars = 0
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are complete with it. `UnexpectedAnswer` for a line without end."""
        text = self._decoder.decode(chunk)
        if not text:
            return []
        if not self._begun:
            self._begun = True
            text = text.removeprefix(_BOM)
        if self._after_cr and text:  # CR and LF are one end of a line, wherever the cut was
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r") if text else False
        return [event for line in self._lines(text) if (event := self._take(line)) is not None]

    def _lines(self, text: str) -> list[str]:
        *ended, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if ended:
            ended[0] = "".join([*self._line, ended[0]])
            self._line, self._chars = [], 0
        self._line.append(rest)
        self._chars += len(rest)
        if self._chars > MAX_LINE_CHARS:
            raise UnexpectedAnswer(f"A line of events is longer than {MAX_LINE_CHARS} characters.")
        return ended

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments += 1
            return None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data = "", []
        return Event(name or "message", "\n".join(data), self._id) if data else None
