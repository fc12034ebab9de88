"""Who answers when a cell asks for input.

Knows prompts and lines. Must not know runs, nor a terminal: that is in `commands/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Answers(Protocol):
    """Of one run."""

    async def answer(self, prompt: str, *, hidden: bool) -> str | None:
        """To this prompt; a `hidden` one is a password's. None: there is no more.

        Cancelled when nobody waits for it any more.
        """


class Listed:
    """Known beforehand, one a prompt, whatever is asked."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._rest = iter(lines)

    async def answer(self, prompt: str, *, hidden: bool) -> str | None:
        return next(self._rest, None)


def lines_of(data: bytes) -> list[str]:
    """Of a text file; what is no UTF-8 is replaced."""
    *lines, rest = data.decode(errors="replace").split("\n")
    return [line.removesuffix("\r") for line in ([*lines, rest] if rest else lines)]
