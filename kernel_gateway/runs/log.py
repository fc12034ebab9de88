"""The one append-only log of a run: numbering, cutting, merging, spilling, counting losses.

Knows records and limits; must not know who stores or reads them. What was appended gathers here
until the writer is free and calls `take`: until then nobody has been told of it, so neighbours of
one stream may still grow together (natural batches, no timer).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import Json, encode
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Body, Record, Seq, Spilled

if TYPE_CHECKING:
    from collections.abc import Iterator

CUT_NOTICE = "[**** LOG LINE TRUNCATED AT {} ****]"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    line_bytes: int = 4 * 2**20  # UTF-8 bytes of one line, its newline not counted
    inline_bytes: int = 6 * 2**20  # one value of a MIME bundle; above, it travels by reference
    record_chars: int = 64 * 2**10  # text of one log record; longer text takes several
    log_bytes: int = 2**30  # text stored for one run
    preview_chars: int = 1024  # of a value that travels by reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A value that was too big to be inline."""

    artifact: str  # unique within the run
    mime: str
    digest: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What gathered while the writer was busy; to be stored as one."""

    records: tuple[Record, ...]
    blobs: tuple[Blob, ...]
    bytes: int  # of the log so far
    dropped: int  # bytes lost for good so far


@dataclass
class _Line:
    """The unfinished line at the end of one stream.

    Where the line is cut the notice must fit in too. So what stands in the notice's place is held
    back until it is known whether the line ends there.
    """

    limit: int  # bytes
    bytes: int = 0
    held: str = ""
    cut: int = 0  # bytes left out of it

    def __post_init__(self) -> None:
        self.notice = cut_notice(self.limit)
        self.safe = self.limit - len(self.notice.encode())  # up to here nothing is held back

    def takes(self, text: str) -> bool:
        """Count it, if it is clear without a close look that no line becomes too long."""
        if self.cut or self.held or not (self._fits(len(text)) or self._fits(_longest(text))):
            return False
        start = text.rfind("\n") + 1
        self.bytes = len(text[start:].encode()) + (0 if start else self.bytes)
        return True

    def _fits(self, chars: int) -> bool:
        """A line that goes on with so many characters, whatever they are."""
        return self.bytes + 4 * chars <= self.safe

    def keep(self, text: str, *, ended: bool) -> str:
        """What of `text` may now be told of this line, with the notice where it is cut."""
        data = (self.held + text).encode()
        self.held = ""
        size = self.bytes + len(data)
        if self.cut:
            self.cut += len(data)
            return ""
        if size <= (self.limit if ended else self.safe):
            self.bytes = size
            return data.decode()
        told = data[: max(0, self.safe - self.bytes)].decode(errors="ignore")  # no half character
        rest = data[len(told.encode()) :]
        if size <= self.limit:
            self.bytes = size - len(rest)
            self.held = rest.decode()
            return told
        self.cut = len(rest)
        return told + self.notice

    def let_out(self) -> str:
        """What was held back, when something else is about to be told."""
        held, self.held = self.held, ""
        self.bytes += len(held.encode())
        return held


@dataclass(slots=True)
class _Growing:
    """The last record while it may grow. Joined once, for a text can come in 100,000 parts."""

    seq: Seq
    at: float
    step: int | None
    body: records.LogText  # its first part
    parts: list[str]
    chars: int

    def takes(self, body: records.LogText, step: int | None, most_chars: int) -> bool:
        """Whether it is a neighbour of one kind, and there is room."""
        return (self.step, self.body.stream, self.body.late) == (
            step,
            body.stream,
            body.late,
        ) and self.chars + len(body.text) <= most_chars

    def record(self) -> Record:
        body = replace(self.body, text="".join(self.parts)) if len(self.parts) > 1 else self.body
        return Record(seq=self.seq, at=self.at, step=self.step, body=body)


class Log:
    def __init__(self, limits: LogLimits, *, first: Seq = Seq(1)) -> None:
        self._limits = limits
        self._next = first
        self._pending: list[Record] = []
        self._blobs: list[Blob] = []
        self._growing: _Growing | None = None
        self._lines = {name: _Line(limits.line_bytes) for name in ("stdout", "stderr")}
        self._told_drop = 0  # log_limit losses in the last notice
        self.bytes = 0
        self.dropped = 0
        self._over_limit = 0

    @property
    def next(self) -> Seq:
        return self._next

    @property
    def pending(self) -> int:
        """Records that wait for the writer."""
        return len(self._pending) + (self._growing is not None)

    def append(self, body: Body, *, step: int | None, at: float) -> None:
        if isinstance(body, records.LogText):
            self._append_text(body, step, at)
            return
        self._let_out(step, at)
        if isinstance(body, records.Completed):
            self._close(step, at)
        if isinstance(body, records.Output | records.Updated):
            body = self._spill(body)
        elif isinstance(body, records.ErrorRaised):
            body = self._shortened(body)
        self._add(body, step, at)

    def take(self) -> Batch:
        """Everything that gathered; from now on it does not change any more."""
        self._seal()
        batch = Batch(
            records=tuple(self._pending),
            blobs=tuple(self._blobs),
            bytes=self.bytes,
            dropped=self.dropped,
        )
        self._pending, self._blobs = [], []
        return batch

    # -- text ------------------------------------------------------------------------------------

    def _append_text(self, body: records.LogText, step: int | None, at: float) -> None:
        if self._lines[body.stream].takes(body.text):
            self._lay_down(body, step, at)
            return
        for piece in self._cut(body):
            if isinstance(piece, str):
                self._lay_down(replace(body, text=piece), step, at)
            else:
                self._add(piece, step, at)

    def _cut(self, body: records.LogText) -> Iterator[str | records.Dropped]:
        """The text with what is too much of its lines left out, and how much that was."""
        line, text = self._lines[body.stream], body.text
        kept: list[str] = []
        for part in _lines(text):
            ended = part.endswith("\n")
            # After the end nothing is held back: nothing may come that would let it out.
            kept.append(line.keep(part.removesuffix("\n"), ended=ended or body.late))
            if ended:
                kept.append("\n")
                if line.cut:
                    yield "".join(kept)
                    kept = []
                    yield self._end_line(body.stream, late=body.late)
                line.bytes = 0
        yield "".join(kept)

    def _let_out(self, step: int | None, at: float) -> None:
        for stream, line in self._lines.items():
            if line.held:
                self._lay_down(records.LogText(stream=stream, text=line.let_out()), step, at)

    def _end_line(self, stream: str, *, late: bool = False) -> records.Dropped:
        line = self._lines[stream]
        lost, line.bytes, line.cut = line.cut, 0, 0
        self.dropped += lost
        return records.Dropped(why="line_too_long", bytes=lost, stream=stream, late=late)

    def _close(self, step: int | None, at: float) -> None:
        """The run is over: what is still to be said about losses."""
        for stream, line in self._lines.items():
            if line.cut:
                self._add(self._end_line(stream), step, at)
        self._tell_over_limit(step, at)

    def _lay_down(self, body: records.LogText, step: int | None, at: float) -> None:
        text, width = self._up_to_the_limit(body.text), self._limits.record_chars
        if text is body.text and 0 < len(text) <= width:
            self._add_text(body, step, at)  # almost always
        else:
            for start in range(0, len(text), width):
                self._add_text(replace(body, text=text[start : start + width]), step, at)
        if self._over_limit >= 2 * self._told_drop:
            self._tell_over_limit(step, at, late=body.late)

    def _up_to_the_limit(self, text: str) -> str:
        """What there is room for. From the first loss on nothing: a log has an end, no holes."""
        size = len(text) if text.isascii() else len(text.encode())
        room = 0 if self._over_limit else self._limits.log_bytes - self.bytes
        if size > room:
            text = text.encode()[:room].decode(errors="ignore")  # never half a character
            kept = len(text.encode())
            self._over_limit += size - kept
            self.dropped += size - kept
            self.bytes += kept
        else:
            self.bytes += size
        return text

    def _tell_over_limit(self, step: int | None, at: float, *, late: bool = False) -> None:
        """One notice each time the loss has doubled, and one at the end, each with the total."""
        if self._over_limit > self._told_drop:
            self._told_drop = self._over_limit
            total = records.Dropped(why="log_limit", bytes=self._over_limit, late=late)
            self._add(total, step, at)

    def _add_text(self, body: records.LogText, step: int | None, at: float) -> None:
        growing = self._growing
        if growing is not None and growing.takes(body, step, self._limits.record_chars):
            growing.parts.append(body.text)
            growing.chars += len(body.text)
            return
        self._seal()
        self._growing = _Growing(self._number(), at, step, body, [body.text], len(body.text))

    def _add(self, body: Body, step: int | None, at: float) -> None:
        self._seal()
        self._pending.append(Record(seq=self._number(), at=at, step=step, body=body))

    def _seal(self) -> None:
        if self._growing is not None:
            self._pending.append(self._growing.record())
            self._growing = None

    def _number(self) -> Seq:
        seq, self._next = self._next, Seq(self._next + 1)
        return seq

    # -- values ----------------------------------------------------------------------------------

    def _spill(self, body: records.Output | records.Updated) -> records.Output | records.Updated:
        """Replace each value above the inline limit by a reference."""
        inline: dict[str, Json] = {}
        spilled: dict[str, Spilled] = {}
        for mime, value in body.data.items():
            data = self._oversized(value)
            if data is None:
                inline[mime] = value
            else:
                spilled[mime] = self._spilled(mime, data)
        return replace(body, data=inline, spilled=spilled) if spilled else body

    def _oversized(self, value: Json) -> bytes | None:
        """The bytes of a value that may not be inline: text as UTF-8, anything else as JSON."""
        if isinstance(value, str):
            if 4 * len(value) <= self._limits.inline_bytes:
                return None
            data = value.encode()
        elif isinstance(value, dict | list):
            data = encode(value)
        else:
            return None
        return data if len(data) > self._limits.inline_bytes else None

    def _spilled(self, mime: str, data: bytes) -> Spilled:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blob = Blob(
            artifact=f"{self._next}-{len(self._blobs)}", mime=mime, digest=digest, data=data
        )
        self._blobs.append(blob)
        preview = data[: 4 * self._limits.preview_chars].decode(errors="ignore")
        return Spilled(
            artifact=blob.artifact,
            size=len(data),
            digest=digest,
            preview=preview[: self._limits.preview_chars],
        )

    def _shortened(self, body: records.ErrorRaised) -> records.ErrorRaised:
        """Tracebacks obey the limit of a line: a `repr` in one can have any length."""
        notice = cut_notice(self._limits.line_bytes)
        limit = self._limits.line_bytes // 4

        def short(text: str) -> str:
            return text if len(text) <= limit else text[: max(0, limit - len(notice))] + notice

        return replace(
            body,
            ename=short(body.ename),
            evalue=short(body.evalue),
            traceback=tuple(short(line) for line in body.traceback),
        )


def cut_notice(limit_bytes: int) -> str:
    size = f"{limit_bytes // 2**20} MiB" if limit_bytes >= 2**20 else f"{limit_bytes} BYTES"
    return CUT_NOTICE.format(size)


def _longest(text: str) -> int:
    """Characters of the longest line."""
    return max(map(len, text.split("\n")))


def _lines(text: str) -> list[str]:
    """Split after each newline, and only there: `str.splitlines` knows ten other separators."""
    parts = text.split("\n")
    ended = [f"{part}\n" for part in parts[:-1]]
    return [*ended, parts[-1]] if parts[-1] else ended
