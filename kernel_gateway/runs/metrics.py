"""What the metrics of a run come to: a fold of its `Metric` records.

Knows names, modes and limits. Must not know who displayed a metric or who reads the result. A fault
is a sentence for the user; the metric then changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs.records import Metric
from kernel_gateway.scope import METRIC_MIME, metric_content

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json

MOST_BYTES = 2**20  # of all metrics of a run, as JSON: each answer about the run carries them
MOST_BITS = 1000  # of a whole number: beyond, no float holds it, and no reader of JSON

_TOO_MUCH = f"The metrics of a run have at most {MOST_BYTES} bytes."


class _Fault(Exception):
    """It is no metric, or cannot be merged; the text says why."""


def is_metric(bundle: Mapping[str, Json]) -> bool:
    return METRIC_MIME in bundle


def checked(bundle: Mapping[str, Json], *, late: bool = False) -> Metric | str:
    """The metric that a bundle has, or what is wrong with it."""
    raw = bundle[METRIC_MIME]
    if not isinstance(raw, dict) or "value" not in raw:
        return "A metric is an object with a name and a value."
    try:
        content = metric_content(raw.get("name"), raw["value"], raw.get("mode", "replace"))
    except ValueError as fault:
        return str(fault)
    if _size(content["value"]) > MOST_BYTES:
        return _TOO_MUCH
    return Metric(**content, late=late)


class Metrics:
    """Give it the metrics in order. What `values` has given is not changed any more."""

    def __init__(self) -> None:
        self.values: Mapping[str, Json] = {}
        self._bytes = _size({})

    def merge(self, metric: Metric) -> str | None:
        """The fault, if it has one."""
        try:
            values, more = _with(self.values, metric.name.split("."), metric)
        except _Fault as fault:
            return str(fault)
        if self._bytes + more > MOST_BYTES:
            return _TOO_MUCH
        self.values = values
        self._bytes += more
        return None


def _with(
    values: Mapping[str, Json], path: Sequence[str], metric: Metric
) -> tuple[dict[str, Json], int]:
    """A copy with the metric merged at `path`, and by how many bytes of JSON it is longer.

    Only what lies on the path is copied, and only what changes is measured: a run may have very
    many metrics, one after the other.
    """
    name, *rest = path
    is_there = name in values
    old = values.get(name)
    new: Json
    if rest:
        if is_there and not isinstance(old, dict):
            raise _Fault(f"{metric.name} cannot be nested in {name}, which is a value.")
        inner = old if isinstance(old, dict) else {}
        new, more = _with(inner, rest, metric)
        more += 0 if is_there else _size({})
        is_gone = not new and metric.mode == "replace" and metric.value is None
    else:
        new, more = _MERGED[metric.mode](old, metric.value) if is_there else _first(metric)
        is_gone = metric.mode == "replace" and metric.value is None
    changed = dict(values)
    if is_gone:
        if is_there:
            del changed[name]
            return changed, -_size(old) - _size_of_place(name, others=len(changed))
        return changed, 0
    changed[name] = new
    return changed, more if is_there else more + _size_of_place(name, others=len(values))


def _first(metric: Metric) -> tuple[Json, int]:
    value = [metric.value] if metric.mode == "append" else metric.value
    return value, _size(value)


def _replaced(old: Json, value: Json) -> tuple[Json, int]:
    return value, _size(value) - _size(old)


def _incremented(old: Json, value: Json) -> tuple[Json, int]:
    assert isinstance(value, int | float)
    if isinstance(old, bool) or not isinstance(old, int | float):
        raise _Fault("Only a number can be incremented.")
    try:
        new = old + value
        is_too_big = isinstance(new, int) and new.bit_length() > MOST_BITS
    except OverflowError:
        is_too_big = True
    if is_too_big or new in _INFINITIES:
        raise _Fault("The sum is too big for a number.")
    return new, _size(new) - _size(old)


def _appended(old: Json, value: Json) -> tuple[Json, int]:
    if isinstance(old, list):
        return [*old, value], _size(value) + (len(",") if old else 0)
    return [old, value], _size(value) + len("[,]")


_INFINITIES = (float("inf"), float("-inf"))
_MERGED = {"replace": _replaced, "increment": _incremented, "append": _appended}


def _size(value: Json) -> int:
    """Bytes as JSON."""
    return len(encode(value))


def _size_of_place(name: str, *, others: int) -> int:
    """Of a name in an object beside its value: quotes, colon, comma."""
    return len(name) + len('"":') + (len(",") if others else 0)
