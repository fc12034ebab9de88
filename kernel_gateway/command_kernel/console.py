"""What a command prints, as text in pieces that are worth a message.

Complete lines go at once. An unfinished last line is held for a moment, because it is the prompt if
the command then waits for input. A flood goes in few and big pieces: after each, the next one has
to wait for `PACE_S` or to be big. A character is never cut in two.

Knows bytes, lines and *now*. Must not know terminals, processes or a clock.
"""

from __future__ import annotations

import codecs
from enum import Enum
from typing import TypeAlias

#: How long an unfinished line is held after it began: long enough for three looks at who waits.
#: From its prompt to its read Java takes 50 to 90 ms, on a busy system 200; others take none.
HOLD_S = 0.25
#: Between two pieces: 200 a second are a flow to the eye.
PACE_S = 0.005
#: Characters that are worth a message at any time; also where an endless line is cut.
BIG_PIECE = 64 * 2**10


class Source(Enum):
    """Where a command writes, and the stream that shows it."""

    STDOUT = "stdout"
    STDERR = "stderr"
    TTY = "tty"  # /dev/tty, whatever is redirected: prompts for passwords

    @property
    def stream(self) -> str:
        return "stderr" if self is Source.STDERR else "stdout"


Piece: TypeAlias = tuple[str, str]  # stream, text


class Console:
    """Feed it what is read, take what is due; nothing is lost and the order of a source is kept."""

    def __init__(self) -> None:
        make_decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {source: make_decoder(errors="replace") for source in Source}
        self._ready: list[Piece] = []
        self._ready_size = 0
        self._held: dict[Source, _Held] = {}  # in the order in which they began
        self._pace_at = 0.0

    def feed(self, source: Source, data: bytes, now: float) -> None:
        text = self._decoders[source].decode(data)
        if not text:
            return
        cut = text.rfind("\n") + 1
        if cut:
            self._release(source)
            self._add(source, text[:cut])
        if rest := text[cut:]:
            self._hold(source, rest, now)

    def due_at(self) -> float | None:
        """When there is something to take."""
        times = [held.due_at for held in self._held.values()]
        if self._ready:
            times.append(0.0 if self._ready_size >= BIG_PIECE else self._pace_at)
        return min(times, default=None)

    def lets_go(self, now: float) -> bool:
        """Whether `take` would give an unfinished line."""
        return any(held.due_at <= now for held in self._held.values())

    def take(self, now: float) -> list[Piece]:
        """What is due by now, in as few pieces as the order of the streams allows."""
        due_at = self.due_at()
        if due_at is None or now < due_at:
            return []
        for source in [source for source, held in self._held.items() if held.due_at <= now]:
            self._release(source)
        return self._taken(now)

    def take_prompt(self, now: float) -> tuple[list[Piece], str]:
        """All lines that are complete, and what is not: the command waits for input."""
        pieces = self._taken(now)
        prompt = "".join(held.text() for held in self._held.values())
        self._held.clear()
        return pieces, prompt

    def take_all(self) -> list[Piece]:
        """At the end of the command."""
        for source, decoder in self._decoders.items():
            self._release(source)
            if rest := decoder.decode(b"", final=True):
                self._add(source, rest)
        return self._taken(0.0)

    def _hold(self, source: Source, text: str, now: float) -> None:
        held = self._held.setdefault(source, _Held(now))
        held.add(text)
        if held.size >= BIG_PIECE:
            self._release(source)

    def _release(self, source: Source) -> None:
        if held := self._held.pop(source, None):
            self._add(source, held.text())

    def _add(self, source: Source, text: str) -> None:
        self._ready.append((source.stream, text))
        self._ready_size += len(text)

    def _taken(self, now: float) -> list[Piece]:
        pieces, self._ready, self._ready_size = _merged(self._ready), [], 0
        if pieces:
            self._pace_at = now + PACE_S
        return pieces


class _Held:
    """A line that is not finished."""

    def __init__(self, began: float) -> None:
        self.due_at = began + HOLD_S
        self.size = 0
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        self._parts.append(text)
        self.size += len(text)

    def text(self) -> str:
        return "".join(self._parts)


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Neighbours of one stream as one piece."""
    merged: list[tuple[str, list[str]]] = []
    for stream, text in pieces:
        if merged and merged[-1][0] == stream:
            merged[-1][1].append(text)
        else:
            merged.append((stream, [text]))
    return [(stream, "".join(texts)) for stream, texts in merged]
