"""JSON that any parser accepts: no NaN, no lone surrogate.

Kernels send both (a bundle with `NaN`, a print of `"\\ud800"`), and most parsers choke on them, so
each value is replaced on its way out: a number that is none by `null`, a lone surrogate by U+FFFD.

`json` of the standard library says what is JSON. Where msgspec is installed too, by the extra
`fast`, it is asked first: it reads in half the time and writes in a tenth. It never takes what
`json` would not read; what it refuses (NaN, lone surrogates, encodings other than UTF-8, numbers
beyond a float, subclasses of `str`) is left to `json`. Not orjson: it reads integers of more than
64 bits as floats, and jupyter_client packs in another way as soon as it is installed.
"""

from __future__ import annotations

import importlib
import json
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

from kernel_gateway.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What `json.loads` gives. Kept loose below the top: contents belong to the kernel.
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


#: msgspec, or None. Tests set it, to be like a user who has it or has not.
quick: Any = importlib.import_module("msgspec") if find_spec("msgspec") else None

#: Of lists and objects in each other. Parsers and serialisers recurse, and what one could still
#: read the next one, called from deeper down, could not write.
MAX_DEPTH = 200


def decode(data: bytes | str) -> Json:
    """Parse; whatever is wrong with the text is a `MalformedMessage`."""
    try:
        value = _parsed(data)
    except (ValueError, RecursionError) as fault:
        raise MalformedMessage(f"not JSON: {fault}") from fault
    if _may_be_deep(data) and _is_deep(value):
        raise MalformedMessage(f"more than {MAX_DEPTH} lists and objects in each other")
    return value


def _parsed(data: bytes | str) -> Json:
    """As `json.loads`, which first looks for one of six encodings: mostly it is the usual one."""
    value: Json
    if quick is not None:
        try:
            value = quick.json.decode(data)
        except (quick.MsgspecError, ValueError, RecursionError):
            pass  # what is wrong with it, if anything, is told below
        else:
            return value
    if isinstance(data, bytes) and data[:1] == b"{" and data[1:2] != b"\0":
        data = data.decode("utf-8", "surrogatepass")
    if not isinstance(data, str):
        return json.loads(data)  # type: ignore[no-any-return]
    if data[:1] == "{":  # half the time of `decode`, which looks for white space twice
        value, end = _DECODER.raw_decode(data)
        if end == len(data):
            return value
    value = _DECODER.decode(data)
    return value


def decode_object(data: bytes | str) -> dict[str, Json]:
    if data == b"{}":  # most metadata
        return {}
    value = decode(data)
    if not isinstance(value, dict):
        raise MalformedMessage(f"a JSON object is needed, not {type(value).__name__}")
    return value


def encode(value: object) -> bytes:
    """Serialise to UTF-8. The quick way first: almost no value needs replacing."""
    try:
        return _dumps(value)
    except ValueError:  # NaN or infinity; UnicodeEncodeError is a ValueError too
        return _dumps(_replaced(value))


def laid_out(value: object) -> bytes:
    """The same for files, as Jupyter writes them: sorted, and a line for each item. Raises
    `ValueError` where `encode` would have to replace something."""
    if quick is None:
        return _LAYOUT.encode(value).encode()
    return quick.json.format(_SORTED.encode(value).encode(), indent=1)  # type: ignore[no-any-return]


def clean_text(text: str) -> str:
    """The same text with each lone surrogate replaced, so that UTF-8 can carry it."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _may_be_deep(data: bytes | str) -> bool:
    """Most texts have not enough brackets for it. They are looked for one by one: to count them all
    takes a third as long as to parse."""
    if len(data) < 2 * MAX_DEPTH:
        return False
    find = data.find
    left = MAX_DEPTH
    for bracket in (b"[", b"{") if isinstance(data, bytes) else ("[", "{"):
        at = find(bracket)  # type: ignore[arg-type]
        while at >= 0 and left >= 0:
            left -= 1
            at = find(bracket, at + 1)  # type: ignore[arg-type]
    return left < 0


def _is_deep(value: Json) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for parent in level for item in _inside(parent)]
    return any(isinstance(item, (dict, list)) for item in level)


def _inside(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


# Made once: `json.dumps` makes another at each call that asks for anything but the defaults.
_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_SORTED = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True)
_LAYOUT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1)


def _dumps(value: object) -> bytes:
    if quick is not None:
        try:
            return quick.json.encode(value)  # type: ignore[no-any-return]
        except (TypeError, ValueError, RecursionError):
            pass
    return _ENCODER.encode(value).encode()


def _replaced(value: object) -> object:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean_text(str(key)): _replaced(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(item) for item in value]
    return value
