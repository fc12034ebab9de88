"""One call of a receiver, as those see it who have something to deliver.

Knows what is handed over and what comes back. Must not know how it gets there (`http.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Of a receiver. Its body is nobody's concern."""

    status: int
    retry_after_s: float | None = None  # when it wants to be called again


class SendFailed(Exception):
    """There was no answer. `final`: nor will there be one, so another try is of no use."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.final = final


class Sender(Protocol):
    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST it, once. `SendFailed`. Whoever cancels this ends the connection."""
