"""Dataclasses to JSON and back, by their type hints. Exact: what comes back is equal.

Knows dataclasses, enums, tuples, optional and plain values, and mappings of text to those. Anything
else is a `TypeError` on first use, so a field of a new kind cannot be stored wrongly. A field that
the JSON does not have (it was written before the field was there) gets its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.state import RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel_gateway.messaging.strict_json import Json

T = TypeVar("T")


class AnyJson:
    """Stands for `Json` in a hint: that one refers to itself, and so has no shape of its own."""


#: What hints say, and the modules of the dataclasses may import for the type checker alone.
NAMES = {"Json": AnyJson, "Reason": Reason, "RunState": RunState}


class _Shape(NamedTuple):
    dump: Callable[[Any], Json]
    load: Callable[[Any], Any]


def dump(value: object) -> Json:
    kind: Any = type(value)
    return _shape(kind).dump(value)


def load(kind: Callable[..., T], raw: Json) -> T:
    """The JSON is ours, out of the store, and is not checked again."""
    value: T = _shape(kind).load(raw)
    return value


@cache
def _shape(kind: Any) -> _Shape:
    if kind in (str, int, float, bool, NoneType, AnyJson):
        return _Shape(_same, _same)
    if get_origin(kind) in (Union, UnionType):
        return _optional(kind)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind))
    if get_origin(kind) is Mapping:
        return _mapping(*get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _Shape(_value_of, kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _object(kind)
    if hasattr(kind, "__supertype__"):  # a NewType
        return _shape(kind.__supertype__)
    raise TypeError(f"no way to store a {kind!r}")


def _optional(kind: Any) -> _Shape:
    inner = [member for member in get_args(kind) if member is not NoneType]
    if len(inner) != 1 or len(get_args(kind)) != 2:
        raise TypeError(f"no way to store a {kind!r}")
    shape = _shape(inner[0])
    if shape.dump is _same:
        return shape
    return _Shape(
        lambda value: None if value is None else shape.dump(value),
        lambda raw: None if raw is None else shape.load(raw),
    )


def _tuple(members: tuple[Any, ...]) -> _Shape:
    if len(members) == 2 and members[1] is ...:
        each = _shape(members[0])
        return _Shape(
            lambda value: [each.dump(item) for item in value],
            lambda raw: tuple(each.load(item) for item in raw),
        )
    shapes = [_shape(member) for member in members]
    return _Shape(
        lambda value: [shape.dump(item) for shape, item in zip(shapes, value, strict=True)],
        lambda raw: tuple(shape.load(item) for shape, item in zip(shapes, raw, strict=True)),
    )


def _mapping(key: Any, value: Any) -> _Shape:
    if key is not str:
        raise TypeError(f"no way to store a mapping of {key!r}")
    each = _shape(value)
    return _Shape(
        lambda mapping: {name: each.dump(item) for name, item in mapping.items()},
        lambda raw: {name: each.load(item) for name, item in raw.items()},
    )


def _object(kind: type) -> _Shape:
    hints = get_type_hints(kind, localns=NAMES)
    shapes = [(item.name, _shape(hints[item.name])) for item in fields(kind)]
    return _Shape(
        lambda value: {name: shape.dump(getattr(value, name)) for name, shape in shapes},
        lambda raw: kind(**{name: shape.load(raw[name]) for name, shape in shapes if name in raw}),
    )


def _same(value: Any) -> Any:
    return value


def _value_of(value: Enum) -> Json:
    plain: Json = value.value
    return plain
