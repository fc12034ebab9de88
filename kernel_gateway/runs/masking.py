"""Values that nobody is to see, taken out of what a kernel says before a run has heard it.

Knows the values of a run's secrets, and where text is in facts and records. Must not know where the
values come from, nor who reads what is left. What is hidden is the value as it stands, with other
line ends or without its last, and the whole of it quoted for a URL, in base64, or escaped as by
`repr` or JSON. What the code has changed in another way, or has written between other things,
cannot be known again; nor is anything decoded to look for it, and buffers of comms are passed on as
they are.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, quote_plus

from kernel_gateway.messaging import facts
from kernel_gateway.messaging.message import Channel
from kernel_gateway.messaging.strict_json import clean_text
from kernel_gateway.runs import events, records
from kernel_gateway.runs.events import Timer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeAlias

    from kernel_gateway.messaging.facts import Fact
    from kernel_gateway.messaging.message import MsgId
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Body, Reason

    Span: TypeAlias = tuple[int, int]

T = TypeVar("T", facts.Raised, facts.Replied, records.ErrorRaised)

HIDDEN = "***"
LEAST_CHARS = 4  # of a value: a shorter one is in everything


def fault_of(value: str) -> str | None:
    """Why it cannot be hidden, in words that do not tell it."""
    if len(value) < LEAST_CHARS:
        return f"has fewer than {LEAST_CHARS} characters, and would be found in everything"
    if "\0" in value or not _is_encodable(value):
        return "is no text that a variable of the environment can have"
    return None


def _is_encodable(value: str) -> bool:
    try:
        _encoded(value)
    except UnicodeEncodeError:
        return False
    return True


def _encoded(value: str) -> bytes:
    """As the environment has it: a byte that is no UTF-8 is a lone surrogate in Python."""
    return value.encode(errors="surrogateescape")


def _forms(value: str) -> Iterator[str]:
    bare = value.strip("\r\n")
    whole = {value, bare} if len(bare) >= LEAST_CHARS else {value}
    for variant in {one for text in whole for one in _with_any_line_ends(text)}:
        yield from _forms_of(variant)


def _with_any_line_ends(value: str) -> tuple[str, str, str]:
    """As a file or a terminal gives it."""
    plain = value.replace("\r\n", "\n")
    return value, plain, plain.replace("\n", "\r\n")


def _forms_of(value: str) -> Iterator[str]:
    data = _encoded(value)
    yield value
    yield clean_text(value)
    yield quote(data, safe="")
    yield quote(data)
    yield quote_plus(data)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(data).decode()
        yield text
        yield text.rstrip("=")
    yield repr(value)[1:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]


class Mask:
    """Of values that have no fault. Does not show them in its repr."""

    def __init__(self, values: Iterable[str]) -> None:
        self._forms = frozenset(form for value in values for form in _forms(value))

    def text(self, text: str) -> str:
        return _cut_out(text, self.spans(text))

    def end(self, text: str) -> str:
        """Of a text whose beginning is gone, and with it perhaps that of something to be hidden."""
        torn = max((_ended(form, text) for form in self._forms), default=0)
        return _cut_out(text, _united([*([(0, torn)] if torn else []), *self.spans(text)]))

    def json(self, value: Json) -> Json:
        """Names in objects as well, and numbers that are a value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self.object(value)
        if isinstance(value, list):
            return [self.json(item) for item in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return HIDDEN if is_number and str(value) in self._forms else value

    def object(self, values: Mapping[str, Json]) -> dict[str, Json]:
        return {self.text(name): self.json(value) for name, value in values.items()}

    def fact(self, fact: Fact) -> Fact:
        """Each by itself; the text of streams is in pieces, see `Masker`."""
        mask = _FACTS.get(type(fact))
        return fact if mask is None else mask(self, fact)

    def reason(self, reason: Reason) -> Reason:
        return replace(reason, message=self.text(reason.message))

    def body(self, body: Body) -> Body:
        """What is told to a log without a fact behind it: answers, and names of files."""
        if isinstance(body, records.InputAnswered) and body.value is not None:
            return replace(body, value=self.text(body.value))
        if isinstance(body, records.ArtifactAdded):
            name = self.text(body.artifact.name)
            return replace(body, artifact=replace(body.artifact, name=name))
        if isinstance(body, records.ErrorRaised):
            return self.error(body)
        return body

    def error(self, error: T) -> T:
        return replace(
            error,
            ename=self.text(error.ename),
            evalue=self.text(error.evalue),
            traceback=tuple(self.text(line) for line in error.traceback),
        )

    # -- where they are --------------------------------------------------------------------------

    def spans(self, text: str) -> list[Span]:
        """Of all that is to be hidden. In order; what overlaps is one."""
        return _united([span for form in self._forms for span in _found(form, text)])

    def unfinished(self, text: str) -> int:
        """From where on its end may be the beginning of something to be hidden; else its length."""
        return min((_begun(form, text) for form in self._forms), default=len(text))


def mask_of(env: Mapping[str, str], secrets: Iterable[str]) -> Mask | None:
    """Of the variables with these names; None when there are none."""
    values = [env[name] for name in secrets]
    return Mask(values) if values else None


def shown_env(env: Mapping[str, str], secrets: Iterable[str]) -> Mapping[str, str]:
    """As anybody may see it."""
    mask = mask_of(env, secrets)
    return env if mask is None else {name: mask.text(value) for name, value in env.items()}


def _found(form: str, text: str) -> Iterator[Span]:
    """What overlaps is one: a line of dashes holds very many shorter ones."""
    size, last = len(form), text.find(form)
    while last >= 0:
        start = last
        while (further := text.rfind(form, last + 1, last + 2 * size - 1)) >= 0:
            last = further
        yield start, last + size
        last = text.find(form, last + size)


def _begun(form: str, text: str) -> int:
    at = text.find(form[0], max(0, len(text) - len(form) + 1))
    while at >= 0:
        if form.startswith(text[at:]):
            return at
        at = text.find(form[0], at + 1)
    return len(text)


def _ended(form: str, text: str) -> int:
    """So many characters of its beginning may be the end of a form."""
    end = text.rfind(form[-1], 0, len(form) - 1) + 1
    while end and not form.endswith(text[:end]):
        end = text.rfind(form[-1], 0, end - 1) + 1
    return end


def _united(spans: Iterable[Span]) -> list[Span]:
    united: list[Span] = []
    for start, end in sorted(spans):
        if united and start < united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        else:
            united.append((start, end))
    return united


def _cut_out(text: str, spans: Sequence[Span]) -> str:
    if not spans:
        return text
    parts: list[str] = []
    at = 0
    for start, end in spans:
        parts += text[at:start], HIDDEN
        at = end
    return "".join([*parts, text[at:]])


# -- facts -----------------------------------------------------------------------------------------


def _display(mask: Mask, fact: facts.Display) -> Fact:
    return replace(
        fact,
        data=mask.object(fact.data),
        metadata=mask.object(fact.metadata),
        display_id=None if fact.display_id is None else mask.text(fact.display_id),
    )


def _update(mask: Mask, fact: facts.DisplayUpdate) -> Fact:
    return facts.DisplayUpdate(
        display_id=mask.text(fact.display_id),
        data=mask.object(fact.data),
        metadata=mask.object(fact.metadata),
    )


def _comm(mask: Mask, fact: facts.Comm) -> Fact:
    return replace(
        fact,
        comm_id=mask.text(fact.comm_id),
        data=mask.object(fact.data),
        target_name=mask.text(fact.target_name),
    )


def _prompt(mask: Mask, fact: facts.InputRequested) -> Fact:
    return replace(fact, prompt=mask.text(fact.prompt))


def _reply(mask: Mask, fact: facts.Replied) -> Fact:
    return replace(mask.error(fact), expressions=mask.object(fact.expressions))


_FACTS: Mapping[type, Callable[[Mask, Any], Fact]] = {
    facts.Display: _display,
    facts.DisplayUpdate: _update,
    facts.Raised: Mask.error,
    facts.Comm: _comm,
    facts.InputRequested: _prompt,
    facts.Replied: _reply,
}


# -- what comes in pieces --------------------------------------------------------------------------


@dataclass(slots=True)
class _End:
    """Of a stream's text: what may be the beginning of something to be hidden is held back."""

    msg_id: MsgId
    name: str
    held: str = ""
    #: So much of that was told by three stars: it is the end of one thing, and may begin another.
    told: int = 0

    def is_of(self, msg_id: MsgId, name: str) -> bool:
        return (self.msg_id, self.name) == (msg_id, name)

    def take(self, mask: Mask, text: str, *, all_of_it: bool = False) -> str:
        """What may be shown, now that `text` has come."""
        whole, told = self.held + text, self.told
        spans = _united([*mask.spans(whole), *([(0, told)] if told else [])])
        begin = len(whole) if all_of_it else mask.unfinished(whole)
        end = next((end for start, end in spans if start < begin < end), max(begin, told))
        self.held, self.told = whole[begin:], end - begin
        shown = [span for span in spans if span[1] <= end]
        if told and shown:
            told = shown.pop(0)[1]
        return _cut_out(whole[told:end], [(start - told, stop - told) for start, stop in shown])


_TOLD_LATER = (facts.Busy, facts.Replied, facts.InputRequested)  # text may still come before them
_GIVEN_UP = frozenset({Timer.IDLE_OVER, Timer.PROBE_OVER})


class Masker:
    """Of one run: give it each event, and to the run what comes back, in its order.

    The end of a text that may be the beginning of a value waits for what follows: for more of that
    stream, for another output, or the end of the step. Text of threads behind that end does not,
    nor any when the run is over: nothing need come behind it.
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self._end: _End | None = None
        self._over: set[MsgId] = set()  # requests of steps that have ended

    def take(self, event: events.Event, *, is_over: bool = False) -> list[events.Event]:
        """`is_over`: the run, when it came."""
        if isinstance(event, events.KernelSaid):
            return self._said(event, is_over=is_over)
        if isinstance(event, events.CancelAsked):
            return [replace(event, message=self.mask.text(event.message))]
        if isinstance(event, events.KernelLost):
            lost = replace(event, reason=self.mask.reason(event.reason))
            return [*self._let_out(), lost]
        return [*self._let_out(), event] if _is_behind_text(event) else [event]

    def _said(self, event: events.KernelSaid, *, is_over: bool) -> list[events.Event]:
        fact = event.fact
        if isinstance(fact, facts.Stream):
            may_wait = not (is_over or event.msg_id in self._over)
            return self._printed(event.msg_id, fact, may_wait=may_wait)
        said = replace(event, fact=self.mask.fact(fact))
        if isinstance(fact, _TOLD_LATER):
            return [said]
        if isinstance(fact, facts.Idle):
            self._over.add(event.msg_id)
        return [*self._let_out(), said]

    def _printed(self, msg_id: MsgId, fact: facts.Stream, *, may_wait: bool) -> list[events.Event]:
        """Also when nothing of it may be shown yet: it is a sign of life."""
        if not may_wait:
            text = self.mask.text(fact.text)
            return [*self._let_out(), _text(msg_id, fact.name, text)]
        before: list[events.Event] = []
        if self._end is None or not self._end.is_of(msg_id, fact.name):
            before = self._let_out()
            self._end = _End(msg_id, fact.name)
        return [*before, _text(msg_id, fact.name, self._end.take(self.mask, fact.text))]

    def _let_out(self) -> list[events.Event]:
        end, self._end = self._end, None
        if end is None or not (rest := end.take(self.mask, "", all_of_it=True)):
            return []
        return [_text(end.msg_id, end.name, rest)]


def _is_behind_text(event: events.Event) -> bool:
    """No more of the step's is to come, or none that was printed before."""
    if isinstance(event, events.TimerOver):
        return event.timer in _GIVEN_UP
    if isinstance(event, events.ProbeAnswered):
        return event.channel is Channel.IOPUB
    return isinstance(event, events.BarrierPassed)


def _text(msg_id: MsgId, name: str, text: str) -> events.Event:
    return events.KernelSaid(msg_id, facts.Stream(name, text))
