"""What the widgets of a run come to: a fold of its `Comm` records to nbformat's widget state.

Knows the protocol of Jupyter widgets (version 2), and which Output widget takes the outputs of
which step. Must not know how outputs look (`outputs.py`), nor notebooks.

An Output widget takes the outputs of the request whose ID is its trait `msg_id`; `with out:` sets
it and takes it back. Where several name the same request, the one that did so last takes them.

Its trait `outputs` is of two minds: a page puts there what the widget has taken, and code what it
wants to be shown. Nobody tells the kernel of the former, so what code adds it adds to less than
there is, and it is told apart from what code sets anew by what the kernel knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel_gateway.messaging.strict_json import decode
from kernel_gateway.runs import records
from kernel_gateway.runs.traits import NAMED_REQUEST, OUTPUTS, Traits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Comm

MIME = "application/vnd.jupyter.widget-state+json"

_TARGET = "jupyter.widget"
_OUTPUT = ("@jupyter-widgets/output", "OutputModel")


@dataclass(frozen=True, slots=True)
class Put:
    """By code, into an Output widget."""

    outputs: list[Json]
    is_more: bool  # behind what is there, not in its place


class Widgets:
    """The widgets of one run. Give it the records in order, each once."""

    def __init__(self, resolve: Callable[[str], bytes | None]) -> None:
        self._resolve = resolve
        self._models: dict[str, Traits] = {}
        self._steps: dict[str, int] = {}  # by the ID of their request
        self._takers: dict[int, list[str]] = {}  # by step, Output widgets

    def step_began(self, step: int, msg_id: str) -> None:
        self._steps[msg_id] = step

    def taker(self, step: int) -> str | None:
        """The Output widget that has the outputs of this step now, if one has."""
        takers = self._takers.get(step)
        return takers[-1] if takers else None

    def apply(self, body: Comm) -> Put | None:
        """What it puts into an Output widget, if it does."""
        if body.what != "msg":
            self._models.pop(body.comm_id, None)
            self._let_go(body.comm_id)
        if body.what == "open" and body.target_name == _TARGET:
            self._models[body.comm_id] = Traits()
        model = self._models.get(body.comm_id)
        if model is None:  # closed, of another library, or of a run before this one
            return None
        update, known = self._whole(body), model.values.get(OUTPUTS)
        model.take(update)
        if not _is_output(model):
            return None
        if NAMED_REQUEST in update.values:
            self._name(body.comm_id, update.values[NAMED_REQUEST])
        return _put(known, model.values.get(OUTPUTS)) if OUTPUTS in update.names else None

    def state(self, outputs: Mapping[str, list[Any]]) -> dict[str, Json] | None:
        """As `metadata.widgets` has it; `outputs` are those of Output widgets. None: no widgets."""
        if not self._models:
            return None
        states: dict[str, Json] = {
            comm_id: _model(traits, {OUTPUTS: outputs[comm_id]} if comm_id in outputs else {})
            for comm_id, traits in self._models.items()
        }
        return {MIME: {"version_major": 2, "version_minor": 0, "state": states}}

    def _name(self, comm_id: str, msg_id: Json) -> None:
        self._let_go(comm_id)
        step = self._steps.get(msg_id) if isinstance(msg_id, str) else None
        if step is not None:
            self._takers.setdefault(step, []).append(comm_id)

    def _let_go(self, comm_id: str) -> None:
        for takers in self._takers.values():
            if comm_id in takers:
                takers.remove(comm_id)

    def _whole(self, body: Comm) -> Traits:
        """With the values that were too big for the log. One that is not to be had leaves its trait
        out: what was there before is no longer true."""
        state, buffers = body.data.get("state"), list[str | None](body.buffers or ())
        values = dict(state) if isinstance(state, dict) else {}
        gone: list[str] = []
        for pointer, item in (body.spilled or {}).items():
            data = None if item.artifact is None else self._resolve(item.artifact)
            match records.parts_of(pointer):
                case ["data", "state", name] if data is not None:
                    values[name] = decode(data)
                case ["data", "state", name]:
                    gone.append(name)
                case ["buffers", index]:
                    buffers[int(index)] = None if data is None else data.decode()
        update = Traits.of({**body.data, "state": values}, buffers)
        for name in gone:
            update.buffers.setdefault(name, {})
        return update


def _put(known: Json, now: Json) -> Put:
    before = known if isinstance(known, list) else []
    after = now if isinstance(now, list) else []
    is_more = len(after) > len(before) and after[: len(before)] == before
    return Put(after[len(before) :] if is_more else after, is_more=is_more)


def _is_output(traits: Traits) -> bool:
    values = traits.values
    return (values.get("_model_module"), values.get("_model_name")) == _OUTPUT


def _model(traits: Traits, shown: Mapping[str, list[Any]]) -> dict[str, Json]:
    state = {**traits.values, **shown}
    model: dict[str, Json] = {
        "model_name": state.get("_model_name"),
        "model_module": state.get("_model_module"),
        "model_module_version": state.get("_model_module_version"),
        "state": state,
    }
    placed = traits.placed()
    if placed:
        model["buffers"] = [
            {"encoding": "base64", "path": list(path), "data": buffer} for path, buffer in placed
        ]
    return model
