"""The one append-only log of a run: numbering, cutting, merging, spilling, counting losses.

Knows records and limits; must not know who stores or reads them. What was appended gathers here
until the writer is free and calls `take`: until then nobody has been told of it, so neighbours of
one stream may still grow together (natural batches, no timer).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import Json, encode
from kernel_gateway.runs import records
from kernel_gateway.runs.artifacts import (
    Blob,
    Growing,
    Shelf,
    decoded,
    file_name,
    is_binary,
    safe_mime,
)
from kernel_gateway.runs.comms import (
    Updates,
    as_bytes,
    frame_of,
    size_of,
    update_of,
    values_of,
    without,
)
from kernel_gateway.runs.records import ArtifactKind, Body, Record, Seq, Spilled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kernel_gateway.runs.records import Artifact
    from kernel_gateway.runs.traits import Traits

__all__ = ["Batch", "Blob", "Log", "LogLimits", "cut_notice"]

CUT_NOTICE = "[**** LOG LINE TRUNCATED AT {} ****]"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    line_bytes: int = 4 * 2**20  # UTF-8 bytes of one line, without its newline or return
    inline_bytes: int = 6 * 2**20  # one value of a MIME bundle; above, it travels by reference
    record_chars: int = 64 * 2**10  # text of one log record; longer text takes several
    log_bytes: int = 2**30  # text stored for one run
    preview_chars: int = 1024  # of a value that travels by reference
    artifact_count: int = 1000  # kept for one run
    artifact_bytes: int = 2**30  # of all of them


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

    A carriage return ends a line, too: a bar that draws itself again and again is no long line, and
    where it stands at last is not what is to be cut.

    Where the line is cut the notice must fit in too. So what stands in the notice's place is held
    back until it is known whether the line ends there. What was told is kept as long as the line
    may still be cut: an artifact will have the whole of it.
    """

    limit: int  # bytes
    begin: Callable[..., Growing]
    told: bytearray = field(default_factory=bytearray)
    forgotten: int = 0  # bytes that were told before those
    held: str = ""
    cut: int = 0  # bytes left out of it
    whole: Growing | None = None  # of a line that was cut

    def __post_init__(self) -> None:
        self.notice = cut_notice(self.limit)
        self.safe = self.limit - len(self.notice.encode())  # up to here nothing is held back

    def takes(self, text: str) -> bool:
        """Count it, if it is clear without a close look that no line becomes too long."""
        if self.whole or self.held:
            return False
        room = (self.safe - self._size) // 4  # characters, whatever they are
        if len(text) > room and _has_longer(text, room):
            return False
        start = _last_end(text) + 1
        if start:
            self.end()
        if start < len(text):
            self.told += text[start:].encode()
        return True

    @property
    def _size(self) -> int:
        """Bytes that were told."""
        return self.forgotten + len(self.told)

    def keep(self, text: str, *, ended: bool) -> str:
        """What of `text` may now be told of this line, with the notice where it is cut."""
        data = (self.held + text).encode()
        self.held = ""
        size = self._size + len(data)
        if self.whole is not None:
            self.cut += len(data)
            self.whole.add(data)
            return ""
        if size <= (self.limit if ended else self.safe):
            self.told += data
            return data.decode()
        shown = data[: max(0, self.safe - self._size)].decode(errors="ignore")  # whole ones
        rest = data[len(shown.encode()) :]
        if size <= self.limit:
            self.told += data[: len(data) - len(rest)]
            self.held = rest.decode()
            return shown
        self.cut = len(rest)
        self.whole = self.begin(keep=not self.forgotten)
        self.whole.add(bytes(self.told) + data)
        self.told.clear()
        return shown + self.notice

    def end(self) -> None:
        """Its newline has come."""
        self.told.clear()
        self.forgotten = 0

    def forget(self) -> None:
        self.forgotten = self._size
        self.told.clear()

    def let_out(self) -> str:
        """What was held back, when something else is about to be told."""
        held, self.held = self.held, ""
        self.told += held.encode()
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

    def records(self) -> Iterator[Record]:
        body = replace(self.body, text="".join(self.parts)) if len(self.parts) > 1 else self.body
        yield Record(seq=self.seq, at=self.at, step=self.step, body=body)


class Log:
    def __init__(self, limits: LogLimits, *, first: Seq = Seq(1)) -> None:
        self._limits = limits
        self._next = first
        self._pending: list[Record] = []
        self._growing: _Growing | Updates | None = None
        self._shelf = Shelf(
            most=limits.artifact_count,
            most_bytes=limits.artifact_bytes,
            preview_chars=limits.preview_chars,
        )
        self._lines = {
            name: _Line(limits.line_bytes, partial(self._begin_line, name))
            for name in ("stdout", "stderr")
        }
        self._cut_lines = dict.fromkeys(self._lines, 0)
        self._told_drop = 0  # log_limit losses in the last notice
        self._told_lost = 0  # artifacts in the last notice of artifact_limit
        self.bytes = 0
        self.dropped = 0
        self._over_limit = 0

    @property
    def next(self) -> Seq:
        return self._next

    @property
    def pending(self) -> int:
        """Records that wait for the writer, and one more for bytes that have none yet."""
        return len(self._pending) + (self._growing is not None) + self._shelf.waits

    @property
    def artifacts(self) -> Sequence[Artifact]:
        """All that were added, in order of their records."""
        return self._shelf.artifacts

    @property
    def artifact_room(self) -> int | None:
        """Bytes that one more artifact may have; None: not one more."""
        return self._shelf.room

    def next_artifact_id(self) -> str:
        """For one whose bytes the caller stores, and then tells of by `ArtifactAdded`."""
        return self._shelf.next_id()

    def append(self, body: Body, *, step: int | None, at: float) -> None:
        if isinstance(body, records.LogText):
            self._append_text(body, step, at)
            return
        self._let_out(step, at)
        if isinstance(body, records.Completed):
            self._close(step, at)
        if isinstance(body, records.Output | records.Updated):
            self._append_output(body, step, at)
            return
        if isinstance(body, records.Comm):
            self._append_comm(body, step, at)
            return
        if isinstance(body, records.ErrorRaised):
            self._append_error(body, step, at)
            return
        if isinstance(body, records.ArtifactAdded):
            self._shelf.add(body.artifact)
        self._add(body, step, at)

    def refuse_artifact(self, size: int, *, step: int | None, at: float) -> None:
        """One of the caller's for which there is no room."""
        self._shelf.refuse(size)
        self._tell_lost(step, at)

    def take(self) -> Batch:
        """Everything that gathered; from now on it does not change any more."""
        self._seal()
        batch = Batch(
            records=tuple(self._pending),
            blobs=self._shelf.take(),
            bytes=self.bytes,
            dropped=self.dropped,
        )
        self._pending = []
        return batch

    def forget(self) -> None:
        """For a run that is over: its last line can have megabytes. Late text may still be too
        much for it, and is cut then; there is no artifact of such a line."""
        for line in self._lines.values():
            line.forget()

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
        self._tell_lost(step, at, late=body.late)

    def _cut(self, body: records.LogText) -> Iterator[str | Body]:
        """The text with what is too much of its lines left out, and how much that was."""
        line, text = self._lines[body.stream], body.text
        kept: list[str] = []
        for part, end in _LINE.findall(text):
            # After the end nothing is held back: nothing may come that would let it out.
            kept.append(line.keep(part, ended=bool(end) or body.late))
            if end:
                kept.append(end)
                if line.whole:
                    yield "".join(kept)
                    kept = []
                    yield from self._end_line(body.stream, line.whole, late=body.late)
                line.end()
        yield "".join(kept)

    def _begin_line(self, stream: str, *, keep: bool) -> Growing:
        self._cut_lines[stream] += 1
        return self._shelf.begin(f"{stream} line {self._cut_lines[stream]}", keep=keep)

    def _let_out(self, step: int | None, at: float) -> None:
        for stream, line in self._lines.items():
            if line.held:
                self._lay_down(records.LogText(stream=stream, text=line.let_out()), step, at)

    def _end_line(self, stream: str, whole: Growing, *, late: bool = False) -> Iterator[Body]:
        line = self._lines[stream]
        lost, line.cut, line.whole = line.cut, 0, None
        self.dropped += lost
        artifact = whole.end()
        if artifact:
            yield records.ArtifactAdded(artifact=artifact, late=late)
        yield records.Dropped(
            why="line_too_long",
            bytes=lost,
            stream=stream,
            artifact=artifact.id if artifact else None,
            late=late,
        )

    def _close(self, step: int | None, at: float) -> None:
        """The run is over: what is still to be said about losses."""
        for stream, line in self._lines.items():
            if line.whole:
                for body in self._end_line(stream, line.whole):
                    self._add(body, step, at)
        self._tell_over_limit(step, at)
        self._tell_lost(step, at, is_end=True)

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
        if isinstance(growing, _Growing) and growing.takes(body, step, self._limits.record_chars):
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
            self._pending.extend(self._growing.records())
            self._growing = None

    def _number(self) -> Seq:
        seq, self._next = self._next, Seq(self._next + 1)
        return seq

    # -- values ----------------------------------------------------------------------------------

    def _append_output(
        self, body: records.Output | records.Updated, step: int | None, at: float
    ) -> None:
        """Each value above the inline limit is replaced by a reference. The bytes of an image, and
        of what else is a file, are kept as one."""
        inline: dict[str, Json] = {}
        spilled: dict[str, Spilled] = {}
        artifacts: list[Artifact | None] = []
        for mime, value in body.data.items():
            data = self._oversized(value)
            if data is None:
                inline[mime] = value
            else:
                # What a client gets of it is base64, and no image.
                kept_as = "text/plain" if is_binary(mime) else safe_mime(mime)
                name = f"{_title(body)} {safe_mime(mime)}"
                spilled[mime], artifact = self._shelf.spill(data, name=name, mime=kept_as)
                self.dropped += 0 if artifact else len(data)
                artifacts.append(artifact)
            if isinstance(body, records.Output) and (data := decoded(mime, value)) is not None:
                artifacts.append(self._file(data, body.index, mime))
        for artifact in artifacts:
            if artifact:
                self._add(records.ArtifactAdded(artifact=artifact, late=body.late), step, at)
        body = replace(body, data=inline, spilled=spilled) if spilled else body
        self._add(body, step, at)
        self._tell_lost(step, at, late=body.late)

    def _file(self, data: bytes, index: int, mime: str) -> Artifact | None:
        name = file_name(f"output-{index}", mime)
        return self._shelf.put(data, name=name, kind=ArtifactKind.FILE, mime=safe_mime(mime))

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

    # -- comms -----------------------------------------------------------------------------------

    def _append_comm(self, body: records.Comm, step: int | None, at: float) -> None:
        big = {
            place: value for place, value in values_of(body) if self._oversized(value) is not None
        }
        update = None if big else update_of(body)
        if update is not None:
            self._append_update(body, update, step, at)
        else:
            self._append_message(body, big, step, at)
        if self._over_limit >= 2 * self._told_drop:
            self._tell_over_limit(step, at, late=body.late)

    def _append_update(
        self, body: records.Comm, traits: Traits, step: int | None, at: float
    ) -> None:
        frame = frame_of(body)
        if not self._admits(frame + traits.size(traits.names)):
            return
        growing = self._growing
        if not (isinstance(growing, Updates) and growing.takes(body, step)):
            self._seal()
            self._growing = growing = Updates(step, late=body.late)
        replaced = growing.merge(body, traits)
        if replaced is None:
            growing.begin(body, traits, seq=self._number(), at=at)
        else:
            self.bytes -= frame + replaced

    def _append_message(
        self, body: records.Comm, big: Mapping[str, Json], step: int | None, at: float
    ) -> None:
        """What is too big of it is replaced by references."""
        rest = without(body, big)
        if not self._admits(size_of(rest)):
            return
        spilled: dict[str, Spilled] = {}
        for place, value in big.items():
            data, name, mime = as_bytes(place, value)
            spilled[place], artifact = self._shelf.spill(data, name=name, mime=mime)
            if artifact:
                self._add(records.ArtifactAdded(artifact=artifact, late=body.late), step, at)
            else:
                self.dropped += len(data)
        self._add(replace(rest, spilled=spilled) if spilled else rest, step, at)
        self._tell_lost(step, at, late=body.late)

    def _admits(self, size: int) -> bool:
        """Count it, if there is room for all of it. From the first loss on there is none."""
        fits = not self._over_limit and size <= self._limits.log_bytes - self.bytes
        if fits:
            self.bytes += size
        else:
            self._over_limit += size
            self.dropped += size
        return fits

    def _tell_lost(
        self, step: int | None, at: float, *, late: bool = False, is_end: bool = False
    ) -> None:
        """One notice each time the loss has doubled, and one at the end, each with the total."""
        lost, told = self._shelf.lost, self._told_lost
        if lost > told and (is_end or lost >= 2 * told):
            self._told_lost = lost
            total = records.Dropped(
                why="artifact_limit", count=lost, bytes=self._shelf.lost_bytes, late=late
            )
            self._add(total, step, at)

    def _append_error(self, body: records.ErrorRaised, step: int | None, at: float) -> None:
        """Tracebacks obey the limit of a line: a `repr` in one can have any length."""
        limit = self._limits.line_bytes
        notice = cut_notice(limit)
        lost = 0

        def short(text: str) -> str:
            nonlocal lost
            if 4 * len(text) <= limit or len(data := text.encode()) <= limit:
                return text
            kept = data[: max(0, limit - len(notice))].decode(errors="ignore")
            lost += len(data) - len(kept.encode())
            return kept + notice

        short_body = replace(
            body,
            ename=short(body.ename),
            evalue=short(body.evalue),
            traceback=tuple(short(line) for line in body.traceback),
        )
        self._add(short_body, step, at)
        if lost:
            self.dropped += lost
            self._add(records.Dropped(why="line_too_long", bytes=lost, late=body.late), step, at)


def _title(body: records.Output | records.Updated) -> str:
    return f"output {body.index}" if isinstance(body, records.Output) else "update"


def cut_notice(limit_bytes: int) -> str:
    size = f"{limit_bytes // 2**20} MiB" if limit_bytes >= 2**20 else f"{limit_bytes} BYTES"
    return CUT_NOTICE.format(size)


def _has_longer(text: str, chars: int) -> bool:
    """Whether a line has more characters. A search for each so many, and not a list of lines."""
    start = 0
    while len(text) - start > chars:
        start = _last_end(text, start, start + chars + 1) + 1
        if not start:
            return True
    return False


#: What there is of a line, and its end if it has come. `str.splitlines` knows ten other ends.
_LINE = re.compile(r"([^\n\r]*)([\n\r]?)")


def _last_end(text: str, start: int = 0, stop: int | None = None) -> int:
    return max(text.rfind("\n", start, stop), text.rfind("\r", start, stop))
