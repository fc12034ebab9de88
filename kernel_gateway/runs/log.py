"""The one append-only log of a run: numbering, cutting, merging, spilling, counting losses.

Knows records and limits; must not know who stores or reads them. What was appended gathers here
until the writer is free and calls `take`: until then nobody has been told of it, so neighbours of
one stream may still grow together (natural batches, no timer).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kernel_gateway.messaging.strict_json import Json, encode
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Body, Record, Seq, Spilled

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
    """The unfinished line at the end of one stream."""

    bytes: int = 0
    cut: int = 0  # bytes left out of it

    def count(self, text: str) -> None:
        start = text.rfind("\n") + 1
        self.bytes = len(text[start:].encode()) + (0 if start else self.bytes)

    def keep(self, text: str, limit: int) -> str:
        """What of `text` may still stand in this line, with the notice where it is cut."""
        data = text.encode()
        if self.cut:
            self.cut += len(data)
            return ""
        if self.bytes + len(data) <= limit:
            self.bytes += len(data)
            return text
        notice = cut_notice(limit)
        room = max(0, limit - len(notice.encode()) - self.bytes)
        kept = data[:room].decode(errors="ignore")  # never half a character
        self.cut = len(data) - len(kept.encode())
        return kept + notice


class Log:
    def __init__(self, limits: LogLimits, *, first: Seq = Seq(1)) -> None:
        self._limits = limits
        self._next = first
        self._pending: list[Record] = []
        self._blobs: list[Blob] = []
        self._lines = {"stdout": _Line(), "stderr": _Line()}
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
        return len(self._pending)

    def append(self, body: Body, *, step: int | None, at: float) -> None:
        if isinstance(body, records.LogText):
            self._append_text(body, step, at)
            return
        if isinstance(body, records.Completed):
            self._close(step, at)
        if isinstance(body, records.Output | records.Updated):
            body = self._spill(body)
        elif isinstance(body, records.ErrorRaised):
            body = self._shortened(body)
        self._add(body, step, at)

    def take(self) -> Batch:
        """Everything that gathered; from now on it does not change any more."""
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
        for piece in self._cut(body.stream, body.text):
            if isinstance(piece, str):
                self._lay_down(body, piece, step, at)
            else:
                self._add(piece, step, at)

    def _cut(self, stream: str, text: str) -> Iterator[str | records.Dropped]:
        """The text with what is too much of its lines left out, and how much that was."""
        line = self._lines[stream]
        if not line.cut and line.bytes + 4 * len(text) <= self._limits.line_bytes:
            line.count(text)  # no line can be too long: the usual case
            yield text
            return
        kept: list[str] = []
        for part in _lines(text):
            kept.append(line.keep(part.removesuffix("\n"), self._limits.line_bytes))
            if part.endswith("\n"):
                kept.append("\n")
                if line.cut:
                    yield "".join(kept)
                    kept = []
                    yield self._end_line(stream)
                line.bytes = 0
        yield "".join(kept)

    def _end_line(self, stream: str) -> records.Dropped:
        line = self._lines[stream]
        lost, line.bytes, line.cut = line.cut, 0, 0
        self.dropped += lost
        return records.Dropped(why="line_too_long", bytes=lost, stream=stream)

    def _close(self, step: int | None, at: float) -> None:
        """The run is over: what is still to be said about losses."""
        for stream, line in self._lines.items():
            if line.cut:
                self._add(self._end_line(stream), step, at)
        self._tell_over_limit(step, at)

    def _lay_down(self, body: records.LogText, text: str, step: int | None, at: float) -> None:
        if not text:
            return
        size = len(text.encode())
        if self.bytes + size > self._limits.log_bytes:
            self._over_limit += size
            self.dropped += size
            if self._over_limit >= 2 * self._told_drop:
                self._tell_over_limit(step, at)
            return
        self.bytes += size
        width = self._limits.record_chars
        for start in range(0, len(text), width):
            self._add_text(replace(body, text=text[start : start + width]), step, at)

    def _tell_over_limit(self, step: int | None, at: float) -> None:
        """One notice each time the loss has doubled, and one at the end, each with the total."""
        if self._over_limit > self._told_drop:
            self._told_drop = self._over_limit
            self._add(records.Dropped(why="log_limit", bytes=self._over_limit), step, at)

    def _add_text(self, body: records.LogText, step: int | None, at: float) -> None:
        last = self._pending[-1] if self._pending else None
        if (
            last is not None
            and isinstance(last.body, records.LogText)
            and last.step == step
            and (last.body.stream, last.body.late) == (body.stream, body.late)
            and len(last.body.text) + len(body.text) <= self._limits.record_chars
        ):
            merged = replace(last.body, text=last.body.text + body.text)
            self._pending[-1] = replace(last, body=merged)
        else:
            self._add(body, step, at)

    def _add(self, body: Body, step: int | None, at: float) -> None:
        self._pending.append(Record(seq=self._next, at=at, step=step, body=body))
        self._next = Seq(self._next + 1)

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
            return text if len(text) <= limit else text[: limit - len(notice)] + notice

        return replace(
            body,
            ename=short(body.ename),
            evalue=short(body.evalue),
            traceback=tuple(short(line) for line in body.traceback),
        )


def cut_notice(limit_bytes: int) -> str:
    size = f"{limit_bytes // 2**20} MiB" if limit_bytes >= 2**20 else f"{limit_bytes} BYTES"
    return CUT_NOTICE.format(size)


def _lines(text: str) -> list[str]:
    """Split after each newline, and only there: `str.splitlines` knows ten other separators."""
    parts = text.split("\n")
    ended = [f"{part}\n" for part in parts[:-1]]
    return [*ended, parts[-1]] if parts[-1] else ended
