"""The answer to one execute call: a fold of the log from a cursor on.

Knows what a client is told and when: at most so many characters a stream in one answer, a finished
phase exactly once and before any output of the next, the end only after everything before it. Must
not know how long the call has waited, nor the run's machine: an answer is decided by the records
alone, so that a lost answer can be made again. Statuses and console items: Backend.AI's user API.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import Json, encode
from kernel_gateway.runs import records
from kernel_gateway.runs.artifacts import whereabouts
from kernel_gateway.runs.records import Record, Seq, Spilled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CONSOLE_CHARS = 524_288  # a stream, in one answer
LOGGER = "kernel-gateway"


class Status(StrEnum):
    """Backend.AI's statuses: answers to a call, not states of a run."""

    CONTINUED = "continued"
    WAITING_INPUT = "waiting-input"
    CLEAN_FINISHED = "clean-finished"
    BUILD_FINISHED = "build-finished"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in a log: everything up to and with `seq`, and `offset` characters of the next.

    The offset is 0 but within a value that is too big for one answer. As text: `17`, `17:524288`.
    """

    seq: Seq = Seq(0)
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.seq}:{self.offset}" if self.offset else str(self.seq)

    @classmethod
    def parse(cls, value: int | str) -> Cursor:
        """Raises `ValueError` for anything but a cursor that we gave out."""
        seq, colon, offset = str(value).partition(":")
        parts = [seq, offset] if colon else [seq]
        if not all(part.isascii() and part.isdigit() and len(part) < 16 for part in parts):
            raise ValueError(f"not a cursor: {value!r}")
        return cls(Seq(int(seq)), int(offset or "0"))


@dataclass(frozen=True, slots=True)
class ConsoleItem:
    """`[type, value]`: stdout and stderr carry text, media `(mime, data)`, html a fragment,
    log `(level, time, logger, text)`."""

    type: str
    value: str | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result object of an execute call."""

    run_id: str
    status: Status
    exit_code: int | None  # with the three finished statuses
    console: tuple[ConsoleItem, ...]
    is_password: bool | None  # with waiting-input
    prompt_id: int | None  # with waiting-input
    cursor: Cursor  # where the next answer begins
    reason: records.Reason | None = None  # with finished: why it ended so
    queue_position: int | None = None  # while it waits for its turn; 0 is next

    @property
    def has_news(self) -> bool:
        """There is a reason to give it before the call's waiting time is over."""
        return self.status is not Status.CONTINUED


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the log's last told record left the run at: needed where no record is left to tell."""

    prompt_id: int | None = None  # of the prompt that waits
    is_password: bool = False
    completed: records.Completed | None = None


def answer(
    run_id: str,
    log: Sequence[Record],
    cursor: Cursor,
    standing: Standing,
    *,
    chars: int = CONSOLE_CHARS,
) -> Answer:
    """The answer that begins at `cursor`.

    `log` holds the records behind `cursor.seq`, in order and without a hole, as far as one wants to
    read; `standing` is of the whole told log, and counts when the answer gets to the end of `log`.
    """
    console = _Console(chars)
    for record in log:
        done = console.take(record, cursor.offset if record.seq == cursor.seq + 1 else 0)
        if done is not None:  # the answer is full within this record
            at = Cursor(Seq(record.seq - 1), done)
            return _answer(run_id, console, at, Status.CONTINUED)
        if isinstance(record.body, records.PhaseFinished):
            status = Status(f"{record.body.phase}-finished")
            return _answer(run_id, console, Cursor(record.seq), status, record.body.exit_code)
        if isinstance(record.body, records.Completed):
            at = Cursor(record.seq)
            return _finished(run_id, console, at, record.body)
    at = Cursor(log[-1].seq) if log else cursor
    return _at_the_end(run_id, console, at, standing)


def _at_the_end(run_id: str, console: _Console, at: Cursor, standing: Standing) -> Answer:
    if standing.completed is not None:
        return _finished(run_id, console, at, standing.completed)
    if standing.prompt_id is not None:
        return Answer(
            run_id=run_id,
            status=Status.WAITING_INPUT,
            exit_code=None,
            console=console.items(),
            is_password=standing.is_password,
            prompt_id=standing.prompt_id,
            cursor=at,
        )
    return _answer(run_id, console, at, Status.CONTINUED)


def _finished(run_id: str, console: _Console, at: Cursor, end: records.Completed) -> Answer:
    told = _answer(run_id, console, at, Status.FINISHED, end.exit_code)
    return replace(told, reason=end.reason)


def _answer(
    run_id: str, console: _Console, at: Cursor, status: Status, exit_code: int | None = None
) -> Answer:
    return Answer(
        run_id=run_id,
        status=status,
        exit_code=exit_code,
        console=console.items(),
        is_password=None,
        prompt_id=None,
        cursor=at,
    )


class _Console:
    """Gathers items, joins neighbours of one stream, keeps to the limit of each stream."""

    def __init__(self, chars: int) -> None:
        self._room = {"stdout": chars, "stderr": chars}
        self._items: list[tuple[str, list[str] | tuple[str, ...] | str]] = []

    def take(self, record: Record, offset: int) -> int | None:
        """Take a record from its `offset` on; gives the new offset when it does not fit whole."""
        for item in console_items(record):
            if not isinstance(item.value, str) or item.type not in self._room:
                self._items.append((item.type, item.value))
                continue
            text = item.value[offset:]
            room = self._room[item.type]
            self._write(item.type, text[:room])
            self._room[item.type] = max(0, room - len(text))
            if len(text) > room:
                return offset + room
        return None

    def _write(self, stream: str, text: str) -> None:
        if not text:
            return
        last = self._items[-1] if self._items else None
        if last is not None and last[0] == stream and isinstance(last[1], list):
            last[1].append(text)
        else:
            self._items.append((stream, [text]))

    def items(self) -> tuple[ConsoleItem, ...]:
        return tuple(
            ConsoleItem(kind, "".join(value) if isinstance(value, list) else value)
            for kind, value in self._items
        )


# -- what of a record is shown -----------------------------------------------------------------

#: Richest first; what is not named here gives way to plain text.
_RICHNESS = (
    "image/png",
    "image/jpeg",
    "image/svg+xml",
    "text/html",
    "text/markdown",
    "text/latex",
    "application/json",
)


def console_items(record: Record) -> Iterator[ConsoleItem]:
    """How a record shows on a console; most kinds do not. At most one item of a stream a record."""
    show = _SHOWN.get(type(record.body))
    if show is not None:
        yield from show(record, record.body)


def _show_log(record: Record, body: records.LogText) -> Iterator[ConsoleItem]:
    yield ConsoleItem(body.stream, body.text)


def _show_output(record: Record, body: records.Output | records.Updated) -> Iterator[ConsoleItem]:
    spilled = body.spilled or {}
    mimes = [*body.data, *spilled]
    mime = next((mime for mime in _RICHNESS if mime in mimes), None)
    if mime is None and "text/plain" in mimes:
        mime = "text/plain"
    if mime is None:
        mime = mimes[0] if mimes else None
    if mime is None:
        return
    if mime in spilled:
        yield from _show_spilled(record, mime, spilled[mime])
    else:
        yield _show_value(mime, body.data[mime])


def _show_value(mime: str, value: Json) -> ConsoleItem:
    text = value if isinstance(value, str) else encode(value).decode()
    if mime == "text/plain":
        return ConsoleItem("stdout", text)
    if mime == "text/html":
        return ConsoleItem("html", text)
    if mime in {"image/png", "image/jpeg"}:
        text = f"data:{mime};base64,{''.join(text.split())}"
    return ConsoleItem("media", (mime, text))


def _show_spilled(record: Record, mime: str, item: Spilled) -> Iterator[ConsoleItem]:
    if mime == "text/plain":
        yield ConsoleItem("stdout", item.preview)
    yield _notice(record, "info", whereabouts(mime, item))


def _show_error(record: Record, body: records.ErrorRaised) -> Iterator[ConsoleItem]:
    lines = body.traceback or (f"{body.ename}: {body.evalue}",)
    yield ConsoleItem("stderr", "\n".join(lines))


def _show_prompt(record: Record, body: records.InputAsked) -> Iterator[ConsoleItem]:
    yield ConsoleItem("stdout", body.prompt)


def _show_dropped(record: Record, body: records.Dropped) -> Iterator[ConsoleItem]:
    if body.bytes is not None:
        text = f"{body.bytes} bytes of output dropped: {body.why}."
        if body.artifact is not None:
            text += f" The line is kept as artifact {body.artifact} of the run."
        yield _notice(record, "warning", text)
    else:
        yield _notice(record, "warning", f"{body.count} messages missing: {body.why}.")


def _show_kernel(record: Record, body: records.KernelEvent) -> Iterator[ConsoleItem]:
    yield _notice(record, "error", body.message or f"The kernel {body.what}.")


def _show_completed(record: Record, body: records.Completed) -> Iterator[ConsoleItem]:
    if body.outcome in {"timeout", "lost"}:
        yield ConsoleItem("stderr", f"{body.reason.message or body.reason.code}\n")


def _notice(record: Record, level: str, text: str) -> ConsoleItem:
    at = dt.datetime.fromtimestamp(record.at, dt.UTC)
    return ConsoleItem("log", (level, at.isoformat(), LOGGER, text))


_SHOWN: Mapping[type[records.Body], Callable[..., Iterator[ConsoleItem]]] = {
    records.LogText: _show_log,
    records.Output: _show_output,
    records.Updated: _show_output,
    records.ErrorRaised: _show_error,
    records.InputAsked: _show_prompt,
    records.Dropped: _show_dropped,
    records.KernelEvent: _show_kernel,
    records.Completed: _show_completed,
}
