"""Comm records on their way to the log: which may grow together, and what of them is put aside.

Knows the shape of their data where it is that of a widget's update. Must not know limits (`log.py`)
nor what becomes of widgets (`widgets.py`).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs.records import Comm, Record, parts_of, pointer
from kernel_gateway.runs.traits import NAMED_REQUEST, OUTPUTS, Traits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kernel_gateway.messaging import facts
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Seq

RECORD_BYTES = 100  # of one in the log, besides what the kernel has said

_UPDATE = frozenset({"method", "state", "buffer_paths"})  # all that an update has
_IN_PLACE = frozenset({NAMED_REQUEST, OUTPUTS})


def comm_of(fact: facts.Comm, *, late: bool) -> Comm:
    return Comm(
        what=fact.what,
        comm_id=fact.comm_id,
        target_name=fact.target_name or None,
        data=fact.data,
        buffers=tuple(base64.b64encode(data).decode() for data in fact.buffers) or None,
        late=late,
    )


def size_of(body: Comm) -> int:
    """Bytes of it in the log, near enough."""
    return frame_of(body) + len(encode(body.data)) + sum(map(len, body.buffers or ()))


def frame_of(body: Comm) -> int:
    """Those of them that are no values."""
    return RECORD_BYTES + len(body.comm_id) + len(body.target_name or "")


# -- what grows together ---------------------------------------------------------------------------


def update_of(body: Comm) -> Traits | None:
    """What it says of the state of a widget, when it says nothing else, and its place among the
    updates does not matter: it does for what an Output widget is to take and to show."""
    data, buffers = body.data, body.buffers or ()
    is_update = body.what == "msg" and data.get("method") == "update" and data.keys() <= _UPDATE
    if not is_update:
        return None
    traits = Traits.of(data, buffers)
    is_all = len(traits.placed()) == len(buffers)
    return traits if is_all and traits.names and not traits.names & _IN_PLACE else None


class Updates:
    """The last records while they are nothing but updates, one a widget: a progress bar updates
    several widgets in turn, and none of them depends on another."""

    def __init__(self, step: int | None, *, late: bool) -> None:
        self._step = step
        self._late = late
        self._of: dict[str, _Update] = {}

    def takes(self, body: Comm, step: int | None) -> bool:
        """Whether it is a neighbour of one kind."""
        return (self._step, self._late) == (step, body.late)

    def merge(self, body: Comm, traits: Traits) -> int | None:
        """The bytes it takes the place of; None: it is the first of its widget."""
        update = self._of.get(body.comm_id)
        if update is None:
            return None
        replaced = update.traits.size(traits.names)
        update.traits.take(traits)
        update.is_merged = True
        return replaced

    def begin(self, body: Comm, traits: Traits, *, seq: Seq, at: float) -> None:
        self._of[body.comm_id] = _Update(seq, at, body, traits)

    def records(self) -> Iterator[Record]:
        for update in self._of.values():
            yield Record(seq=update.seq, at=update.at, step=self._step, body=update.whole())


@dataclass(slots=True)
class _Update:
    seq: Seq
    at: float
    body: Comm  # the first
    traits: Traits  # of all
    is_merged: bool = False

    def whole(self) -> Comm:
        if not self.is_merged:
            return self.body
        placed = self.traits.placed()
        paths: list[Json] = [list(path) for path, _ in placed]
        state = self.traits.values
        return replace(
            self.body,
            data={"method": "update", "state": state, "buffer_paths": paths},
            buffers=tuple(buffer for _, buffer in placed) or None,
        )


# -- what is put aside -----------------------------------------------------------------------------


def values_of(body: Comm) -> Iterator[tuple[str, Json]]:
    """By JSON pointer: the traits of a widget, other fields whole, the buffers. Their paths are
    never put aside: without them nobody would know where the buffers belong."""
    for name, value in body.data.items():
        if name == "state" and isinstance(value, dict):
            yield from ((pointer("data", name, trait), item) for trait, item in value.items())
        elif name != "buffer_paths":
            yield pointer("data", name), value
    for index, data in enumerate(body.buffers or ()):
        yield pointer("buffers", str(index)), data


def as_bytes(place: str, value: Json) -> tuple[bytes, str, str]:
    """What is stored of a value, its name for people, its MIME type. A client gets no bytes of a
    buffer but its base64."""
    if parts_of(place)[0] == "buffers":
        return str(value).encode(), "comm buffer", "text/plain"
    return encode(value), "comm value", "application/json"


def without(body: Comm, places: Iterable[str]) -> Comm:
    """The rest of it. An empty buffer stands for one that is gone, for they are counted."""
    data, buffers = dict(body.data), list(body.buffers or ())
    for place in places:
        part, name, *trait = parts_of(place)
        if part == "buffers":
            buffers[int(name)] = ""
        elif trait:
            data[name] = _but(data[name], *trait)
        else:
            del data[name]
    return replace(body, data=data, buffers=tuple(buffers) or None)


def _but(state: Json, trait: str) -> Json:
    assert isinstance(state, dict)
    return {name: value for name, value in state.items() if name != trait}
