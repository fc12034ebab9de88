"""YAML as values of JSON, and nothing that they could not be."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json

MAX_VALUES = 100_000  # references can make ever so many of a few lines


def loaded(text: str | bytes) -> Json:
    """Raises `ValueError`."""
    try:
        return _plain(_parsed(text), [MAX_VALUES])
    except RecursionError as fault:
        raise ValueError("is nested too deeply, or contains itself") from fault


#: What the parser raises for a value that does not fit its tag, such as `!!int ""`.
_MISFITS = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError)


def _parsed(text: str | bytes) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, *_MISFITS) as fault:
        raise ValueError(f"is not YAML: {' '.join(str(fault).split())[:200]}") from fault


class _Loader(yaml.SafeLoader):
    """A date stays the text that it is: a notebook gets values of JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _plain(value: Any, left: list[int]) -> Json:
    left[0] -= 1
    if left[0] < 0:
        raise ValueError(f"has more than {MAX_VALUES:,} values")
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, left) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item, left) for name, item in value.items()}
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    raise ValueError(f"has a value that is no JSON: {type(value).__name__}")
