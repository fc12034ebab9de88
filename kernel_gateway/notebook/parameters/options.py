"""Parameters as options of a command give them: typed, raw, YAML text, files, base64.

Knows papermill's rules for them. Must not know the command line, nor files: who reads files hands
in how. A later option goes before an earlier one.
"""

from __future__ import annotations

import base64
import binascii
import math
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from kernel_gateway.errors import InvalidField, MalformedMessage
from kernel_gateway.messaging import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel_gateway.messaging.strict_json import Json


class Kind(Enum):
    TYPED = "-p"  # a name and text: True, False, None, a number, else text
    RAW = "-r"  # a name and text that stays text
    YAML = "-y"
    FILE = "-f"
    BASE64 = "-b"  # of YAML


@dataclass(frozen=True, slots=True)
class Given:
    """One option, with its one or two values."""

    kind: Kind
    values: tuple[str, ...]


def read_options(given: Iterable[Given], read_file: Callable[[str], bytes]) -> dict[str, Json]:
    """Raises `InvalidField` with the option that cannot be understood."""
    found: dict[str, Json] = {}
    for option in given:
        found |= _read(option, read_file)
    return found


def _read(option: Given, read_file: Callable[[str], bytes]) -> dict[str, Json]:
    first, second = option.values[0], option.values[-1]
    try:
        match option.kind:
            case Kind.TYPED:
                return {first: typed(second)}
            case Kind.RAW:
                return {first: second}
            case Kind.YAML:
                return from_yaml(first)
            case Kind.FILE:
                return (from_json if first.endswith(".json") else from_yaml)(read_file(first))
            case Kind.BASE64:
                return from_yaml(base64.b64decode("".join(first.split()), validate=True))
            case unknown:
                assert_never(unknown)
    except OSError as fault:
        sentence = f"{first} cannot be read: {fault.strerror}"
    except binascii.Error:
        sentence = "is not base64"
    except ValueError as fault:
        sentence = str(fault) if option.kind is not Kind.FILE else f"{first} {fault}"
    raise InvalidField({option.kind.value: sentence})


def typed(text: str) -> Json:
    """As papermill types it, but for what only looks like a number: no text becomes infinite that
    does not say so."""
    words: dict[str, Json] = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        number = float(text)
        if not math.isinf(number) or "inf" in text.lower():
            return number
    return text


def from_yaml(text: str | bytes) -> dict[str, Json]:
    """Nothing is an empty object. Raises `ValueError`."""
    from kernel_gateway.notebook.parameters.yaml_values import loaded  # 20 ms few runs need

    value = loaded(text)
    return {} if value is None else _named(value)


def from_json(text: bytes) -> dict[str, Json]:
    """YAML is not quite JSON: it allows no tab, and takes 1e3 for text. Raises `ValueError`."""
    try:
        value = strict_json.decode(text)
    except MalformedMessage as fault:
        raise ValueError(f"is {fault}") from fault
    return _named(value)


def _named(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ValueError("must be names with values, as NAME: VALUE")
    return value
