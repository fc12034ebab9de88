"""What a run's log comes to in a notebook: a fold of its records to nbformat outputs.

Knows records and the shape of nbformat's outputs. Must not know notebooks, files or when anybody
looks: the fold may be read at any time, and reading changes nothing.

Terminal control is folded here and only here, for a notebook is a page and the log is a history: a
carriage return goes back to the start of the line, a backspace one column to the left, and what is
written there replaces what stood there. Colours stay with the characters they were given to. What
moves between lines stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging.strict_json import decode, encode
from kernel_gateway.runs import records
from kernel_gateway.runs.artifacts import whereabouts
from kernel_gateway.runs.view import Outcome, StepOutcome
from kernel_gateway.runs.widgets import Widgets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Record, Spilled

#: Gives the bytes of an artifact; None to leave a reference and a preview in its place.
Resolver: TypeAlias = "Callable[[str], bytes | None]"

#: Where an output tells which of its values are elsewhere.
METADATA_KEY = "kernel_gateway"

#: The MIME types whose values nbformat takes as they are; all others are text.
_JSON_MIME = re.compile(r"application/(.*\+)?json", re.DOTALL)

_HIT = frozenset({StepOutcome.TIMED_OUT, StepOutcome.DIED})
_ABRUPT = frozenset({Outcome.TIMEOUT, Outcome.LOST})


def references(artifact: str) -> bytes | None:
    """The resolver of readers who want every big value as a reference."""
    return None


class Outputs:
    """The outputs of all steps of one run. Give it the records in order, each once."""

    def __init__(self, resolve: Resolver = references) -> None:
        self.kernel: records.KernelIntroduced | None = None  # that executes it, once that is told
        self._resolve = resolve
        self._cells: dict[int, _Cell] = {}
        self._widgets = Widgets(resolve)
        self._taken: dict[str, _Cell] = {}  # what Output widgets show, by their comm IDs
        self._shown: dict[str, dict[_Rich, None]] = {}  # by display_id, as long as on the page
        self._last_loss: _Cell | None = None
        self._latest = 0  # the step that a record was last told of
        self._hit: int | None = None  # the step in which the run came to a bad end

    def apply(self, record: Record) -> None:
        if record.step is not None:
            self._latest = record.step
        fold = _FOLDS.get(type(record.body))
        if fold is not None:
            fold(self, record.step, record.body)

    def outputs(self, step: int) -> list[dict[str, Json]]:
        """As nbformat wants them. The dictionaries are the caller's."""
        return self._cells[step].page() if step in self._cells else []

    def widgets(self) -> dict[str, Json] | None:
        """What stands under `widgets` in the metadata of a notebook; None: there are none."""
        return self._widgets.state({name: cell.page() for name, cell in self._taken.items()})

    def _cell(self, step: int | None) -> _Cell:
        return self._cells.setdefault(self._latest if step is None else step, _Cell())

    def _shown_in(self, step: int | None) -> _Cell:
        """Where the outputs of a step go now: to its cell, or to the Output widget it names."""
        taker = self._widgets.taker(self._latest if step is None else step)
        return self._cell(step) if taker is None else self._taken.setdefault(taker, _Cell())

    def _open(self, step: int | None) -> _Cell:
        """The place that is about to get an output, after a clear that waited for it."""
        cell = self._shown_in(step)
        if cell.clears_next:
            self._empty(cell)
        return cell

    def _empty(self, cell: _Cell) -> None:
        for output in cell.outputs:
            if isinstance(output, _Rich) and output.display_id is not None:
                self._shown[output.display_id].pop(output)
        cell.outputs.clear()
        cell.clears_next = False

    # -- one kind of record each -----------------------------------------------------------------

    def _text(self, step: int | None, body: records.LogText) -> None:
        outputs = self._open(step).outputs
        last = outputs[-1] if outputs else None
        if not (isinstance(last, _Stream) and last.name == body.stream):
            last = _Stream(body.stream)
            outputs.append(last)
        last.write(body.text)

    def _output(self, step: int | None, body: records.Output) -> None:
        cell = self._open(step)
        output = _Rich(
            output_type=body.output_type,
            data={},
            metadata={},
            execution_count=body.execution_count,
            display_id=body.display_id,
        )
        cell.outputs.append(output)
        if body.display_id is None:
            self._fill(output, body)
        else:  # it also updates what was shown under this name before
            self._shown.setdefault(body.display_id, {})[output] = None
            self._fill_all(body.display_id, body)

    def _update(self, step: int | None, body: records.Updated) -> None:
        self._fill_all(body.display_id, body)

    def _fill_all(self, display_id: str, body: records.Output | records.Updated) -> None:
        for output in self._shown.get(display_id, ()):
            self._fill(output, body)

    def _fill(self, output: _Rich, body: records.Output | records.Updated) -> None:
        output.data = {mime: _value(mime, value) for mime, value in body.data.items()}
        output.metadata = dict(body.metadata)
        left: dict[str, Spilled] = {}
        for mime, item in (body.spilled or {}).items():
            data = None if item.artifact is None else self._resolve(item.artifact)
            if data is None:
                left[mime] = item
            else:
                output.data[mime] = _value(mime, _unspilled(mime, data))
        if left:
            _refer(output, left)

    def _clear(self, step: int | None, body: records.Cleared) -> None:
        cell = self._shown_in(step)
        if body.wait:
            cell.clears_next = True
        else:
            self._empty(cell)

    def _comm(self, step: int | None, body: records.Comm) -> None:
        put = self._widgets.apply(body)
        if body.what in {"open", "close"} and body.comm_id in self._taken:
            self._empty(self._taken.pop(body.comm_id))
        if put is not None:
            cell = self._taken.setdefault(body.comm_id, _Cell())
            if not put.is_more:
                self._empty(cell)
            cell.outputs.extend(_given(put.outputs))

    def _error(self, step: int | None, body: records.ErrorRaised) -> None:
        self._open(step).outputs.append(_Error(body.ename, body.evalue, body.traceback))

    def _loss(self, step: int | None, body: records.Dropped) -> None:
        """Notices of the log's limit give the total so far: a later one replaces an earlier.

        The last total comes with the run's end and no step: it belongs to the last notice.
        """
        if body.why == "log_limit":
            last = self._last_loss if step is None else None
            self._last_loss = last or self._cell(step)
            self._last_loss.loss = (
                f"{body.bytes} bytes of output are missing: the log of this run was full."
            )

    def _introduction(self, step: int | None, body: records.KernelIntroduced) -> None:
        self.kernel = body

    def _step(self, step: int | None, body: records.StepChanged) -> None:
        if step is not None and body.msg_id is not None:
            self._widgets.step_began(step, body.msg_id)
        if self._hit is None and body.state in _HIT:
            self._hit = step

    def _end(self, step: int | None, body: records.Completed) -> None:
        """A limit or a death leaves no error of the code's own, so the page has to tell."""
        if body.outcome in _ABRUPT and self._hit is not None:
            self._cell(self._hit).end = body.reason.message or body.reason.code


_FOLDS: Mapping[type[records.Body], Callable[[Outputs, int | None, Any], None]] = {
    records.LogText: Outputs._text,
    records.Output: Outputs._output,
    records.Updated: Outputs._update,
    records.Cleared: Outputs._clear,
    records.Comm: Outputs._comm,
    records.ErrorRaised: Outputs._error,
    records.Dropped: Outputs._loss,
    records.KernelIntroduced: Outputs._introduction,
    records.StepChanged: Outputs._step,
    records.Completed: Outputs._end,
}


# -- outputs while they grow -----------------------------------------------------------------------


class _Stream:
    """Text of one stream. Joined and folded only when somebody looks, each line once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._done = ""  # finished lines, folded
        self._line = ""  # the unfinished one, as it came
        self._new: list[str] = []

    def write(self, text: str) -> None:
        self._new.append(text)

    def nbformat(self) -> dict[str, Json]:
        return {"output_type": "stream", "name": self.name, "text": self._text()}

    def _text(self) -> str:
        if self._new:
            finished, newline, rest = "".join(self._new).rpartition("\n")
            self._new.clear()
            if newline:
                self._done += fold_lines(f"{self._line}{finished}\n")
                self._line = rest
            else:
                self._line += rest
        return self._done + fold_lines(self._line)


@dataclass(slots=True, eq=False)
class _Rich:
    output_type: str
    data: dict[str, Json]
    metadata: dict[str, Json]
    execution_count: int | None
    display_id: str | None

    def nbformat(self) -> dict[str, Json]:
        output: dict[str, Json] = {
            "output_type": self.output_type,
            "data": dict(self.data),
            "metadata": dict(self.metadata),
        }
        if self.output_type == "execute_result":
            output["execution_count"] = natural(self.execution_count)
        return output


@dataclass(frozen=True, slots=True)
class _Error:
    ename: str
    evalue: str
    traceback: tuple[str, ...]

    def nbformat(self) -> dict[str, Json]:
        return {
            "output_type": "error",
            "ename": self.ename,
            "evalue": self.evalue,
            "traceback": list(self.traceback),
        }


@dataclass(frozen=True, slots=True)
class _Given:
    """Of an Output widget, as the code has put it there."""

    output: dict[str, Json]

    def nbformat(self) -> dict[str, Json]:
        return dict(self.output)


def _given(outputs: list[Json]) -> Iterator[_Stream | _Given]:
    """Text that is printed later may join it."""
    for output in outputs:
        match output:
            case {"output_type": "stream", "name": str(name), "text": str(text)}:
                stream = _Stream(name)
                stream.write(text)
                yield stream
            case {}:
                yield _Given(output)


@dataclass(slots=True, eq=False)
class _Cell:
    """The outputs of one step, or of an Output widget, and what the gateway itself has to say below
    those of a step."""

    outputs: list[_Stream | _Rich | _Error | _Given] = field(default_factory=list)
    clears_next: bool = False  # a clear_output that waits for the next output
    loss: str = ""
    end: str = ""

    def page(self) -> list[dict[str, Json]]:
        page = [output.nbformat() for output in self.outputs]
        notices = "".join(f"{notice}\n" for notice in (self.loss, self.end) if notice)
        if notices:
            _add_notices(page, notices)
        return page


def _add_notices(page: list[dict[str, Json]], notices: str) -> None:
    """As stderr, joined to the stderr that is there, on a line of its own."""
    last = page[-1] if page else {}
    if last.get("name") != "stderr":
        page.append({"output_type": "stream", "name": "stderr", "text": notices})
        return
    text = str(last["text"])
    last["text"] = text + ("" if text.endswith("\n") else "\n") + notices


# -- values ----------------------------------------------------------------------------------------


def natural(count: int | None) -> int | None:
    """A prompt number as nbformat allows it."""
    return count if count is not None and count >= 0 else None


def _value(mime: str, value: Json) -> Json:
    """As nbformat allows it: kernels send numbers and objects where only text may stand."""
    if isinstance(value, str) or _JSON_MIME.fullmatch(mime):
        return value
    return encode(value).decode()


def _unspilled(mime: str, data: bytes) -> Json:
    """Back from `Log`: text was kept as UTF-8, an object or a list as JSON."""
    text = data.decode(errors="replace")
    if _JSON_MIME.fullmatch(mime):
        try:
            return decode(text)
        except MalformedMessage:
            return text
    return text


def _refer(output: _Rich, left: Mapping[str, Spilled]) -> None:
    """Say which values are elsewhere, and leave something to look at.

    Only plain text can be cut anywhere: half an image is none, half a page breaks what follows.
    """
    output.metadata[METADATA_KEY] = {
        "spilled": {
            mime: {"artifact": item.artifact, "size": item.size, "digest": item.digest}
            for mime, item in left.items()
        }
    }
    if "text/plain" in left:
        output.data["text/plain"] = left["text/plain"].preview
    if not output.data:
        output.data["text/plain"] = "\n".join(
            whereabouts(mime, item) for mime, item in left.items()
        )


# -- what a terminal would show --------------------------------------------------------------------

_RESET = "\x1b[0m"
_RETURNS_AT_END = re.compile(r"\r+\n")
_TOKEN = re.compile(
    r"(?P<text>[^\r\x08\x1b]+)"
    r"|(?P<back>\r|\x08+)"
    r"|(?P<colour>\x1b\[[\d;:]*m)"
    r"|(?P<erase>\x1b\[[012]?K)"
    r"|(?P<other>\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b)"
)
_BEGINS_WITH_RESET = re.compile(r"\x1b\[0*(;.*)?m")
_PEN_CHARS = 256  # no text needs more colours at once; a flood of them is not kept


def fold_lines(text: str) -> str:
    """Whole lines, each as a terminal would show it. Most text has nothing to fold."""
    if "\r" not in text and "\x08" not in text:
        return text
    text = _RETURNS_AT_END.sub("\n", text)
    return "\n".join(
        _shown(line) if "\r" in line or "\x08" in line else line for line in text.split("\n")
    )


def _shown(line: str) -> str:
    if "\x08" not in line and "\x1b" not in line:
        return _overwritten(line.split("\r"))
    screen = _ScreenLine()
    for token in _TOKEN.finditer(line):
        assert token.lastgroup is not None
        _SCREEN[token.lastgroup](screen, token[0])
    return screen.text()


def _overwritten(texts: list[str]) -> str:
    """Each written over the one before: the last is whole, of the others what sticks out."""
    shown: list[str] = []
    width = 0
    for text in reversed(texts):
        if len(text) > width:
            shown.append(text[width:])
            width = len(text)
    return "".join(shown)


class _ScreenLine:
    """One line of a terminal: in each column a character, and the pen it was written with."""

    def __init__(self) -> None:
        self._chars: list[str] = []
        self._pens: list[str] = []
        self._column = 0
        self._pen = ""  # the colours in force
        self._before = ""  # escapes without a width that stand before the next character

    def write(self, text: str) -> None:
        end = self._column + len(text)
        self._chars[self._column : end] = text
        self._pens[self._column : end] = [self._pen] * len(text)
        self._chars[self._column] = self._before + text[0]
        self._before = ""
        self._column = end

    def back(self, token: str) -> None:
        self._column = 0 if token == "\r" else max(0, self._column - len(token))

    def colour(self, token: str) -> None:
        reset = _BEGINS_WITH_RESET.fullmatch(token)
        if reset is None and len(self._pen) <= _PEN_CHARS:
            self._pen += token
        else:
            self._pen = "" if reset and not reset[1] else token

    def erase(self, token: str) -> None:
        """`K` and `0K` to the right of the cursor, `1K` to its left, `2K` both."""
        left = min(self._column, len(self._chars)) if token[2] in "12" else 0
        self._chars[:left] = " " * left
        self._pens[:left] = [""] * left
        if token[2] != "1":
            del self._chars[self._column :], self._pens[self._column :]

    def other(self, token: str) -> None:
        self._before += token

    def text(self) -> str:
        parts, pen = [], ""
        for char, own in zip(self._chars, self._pens, strict=True):
            if own != pen:
                parts.append(_change(pen, own))
                pen = own
            parts.append(char)
        return "".join(parts) + _change(pen, self._pen) + self._before


def _change(pen: str, to: str) -> str:
    """What turns one pen into another."""
    return to[len(pen) :] if to.startswith(pen) else _RESET + to


_SCREEN: Mapping[str, Callable[[_ScreenLine, str], None]] = {
    "text": _ScreenLine.write,
    "back": _ScreenLine.back,
    "colour": _ScreenLine.colour,
    "erase": _ScreenLine.erase,
    "other": _ScreenLine.other,
}
