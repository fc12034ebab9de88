"""Headers that have a grammar of their own, as values and back.

Knows RFC 9110 (Accept, Range), RFC 7240 (Prefer), RFC 6266 (Content-Disposition) and W3C's trace
context. Must not know requests, handlers or runs. Pure. What a client writes wrong is left out, as
those documents want it; only what cannot be served is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from kernel_gateway.errors import NotAcceptable, RangeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Pieces of a list: a quoted text is one, whatever is in it.
_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"?|[^",]+|,', re.DOTALL)

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})")
_NUMBER = re.compile(r"[0-9]{1,9}")
_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_MEDIA_TYPE = re.compile(
    r"[!#$&^_.+0-9A-Za-z-]{1,127}/[!#$&^_.+0-9A-Za-z-]{1,127}(?: *; *[!-:<-~]{1,127}){0,8}"
)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._()+ -]")
_ANY_TYPE = "application/octet-stream"

#: What many answers can be had as.
JSON, TEXT, NOTEBOOK = "application/json", "text/plain", "application/x-ipynb+json"


def _elements(header: str) -> list[str]:
    """Of a list that commas divide."""
    found = [""]
    for piece in _PIECES.findall(header):
        if piece == ",":
            found.append("")
        else:
            found[-1] += piece
    return [text for element in found if (text := element.strip())]


# -- what a client prefers -----------------------------------------------------------------------


def preferred_wait(header: str) -> int | None:
    """Seconds of the preference `wait`. Of several the first one counts."""
    for preference in _elements(header):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            text = value.strip().strip('"')
            return int(text) if _NUMBER.fullmatch(text) else None
    return None


@dataclass(frozen=True, slots=True)
class _Wanted:
    type: str
    quality: float
    place: int

    def weight(self, offer: str) -> int:
        """How exactly it says this; 0: not at all."""
        if self.type == offer:
            return 3
        return {f"{offer.partition('/')[0]}/*": 2, "*/*": 1}.get(self.type, 0)


def accepted(header: str, offers: Sequence[str]) -> str:
    """Which of the offers is wanted most; the first one where nothing is said. Raises
    `NotAcceptable`."""
    wanted = [_wanted(text, place) for place, text in enumerate(_elements(header))]
    if not wanted:
        return offers[0]
    best, chosen = (0.0, 0, 0), None
    for offer in offers:
        one = max(wanted, key=lambda one: (one.weight(offer), -one.place))
        rank = (one.quality, one.weight(offer), -one.place)
        if one.weight(offer) and one.quality and (chosen is None or rank > best):
            best, chosen = rank, offer
    if chosen is None:
        raise NotAcceptable(f"This can be had as {' or '.join(offers)}.")
    return chosen


def _wanted(text: str, place: int) -> _Wanted:
    kind, *parameters = (part.strip() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q" and _QUALITY.fullmatch(value.strip()):
            quality = float(value)
    return _Wanted(kind.lower(), quality, place)


# -- parts of a whole ----------------------------------------------------------------------------


def byte_range(header: str, size: int) -> range | None:
    """The bytes that are wanted of `size`. None: all, as of several ranges or another unit. Raises
    `RangeRefused`."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise RangeRefused(size)
    return range(start, stop)


def content_range(span: range, total: int | None) -> str:
    """None: it may still grow."""
    return f"bytes {span.start}-{span.stop - 1}/{'*' if total is None else total}"


# -- files ---------------------------------------------------------------------------------------


def attachment(name: str) -> str:
    """To be kept under this name, and not shown. Of a name any text will do."""
    shown = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in name)
    plain = _NOT_PLAIN.sub("_", shown)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(shown, safe='')}"


def media_type(text: str) -> str:
    """What a header can carry; the type of anything, if this is none."""
    return text if _MEDIA_TYPE.fullmatch(text) else _ANY_TYPE


# -- traces --------------------------------------------------------------------------------------


def trace_context(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """`traceparent` and `tracestate`, as they are to be passed on; the second one is nothing
    without the first."""
    parent, state = headers.get("traceparent", ""), headers.get("tracestate", "")
    if not _TRACEPARENT.fullmatch(parent):
        return ()
    told = (("traceparent", parent),)
    return (*told, ("tracestate", state)) if _TRACESTATE.fullmatch(state) else told
