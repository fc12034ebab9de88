"""Text for people: columns, and what must not reach a terminal as it is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def harmless(text: str) -> str:
    """Names and messages are other people's: no line ends and no escape sequences in them."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def age(seconds: float) -> str:
    """In the largest unit that is full."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def size(count: int) -> str:
    """Bytes, as people read them."""
    if count < 1024:
        return f"{count} B"
    number = count / 1024
    for unit in ("KiB", "MiB"):
        if number < 1024:
            return f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
