"""A run's records as they come, over as many connections as it takes.

Decides what to ask for, what is new and when it is over; the clients carry bytes and wait. A
record comes once: a connection that takes over begins behind the last one told.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.client import parse, protocol
from kernel_gateway.client.patience import Patience, Tries, may_come_back, retry_after_s
from kernel_gateway.client.sse import Parser
from kernel_gateway.errors import GatewayError, UnexpectedAnswer, Unreachable
from kernel_gateway.runs.records import Completed, Seq

if TYPE_CHECKING:
    from kernel_gateway.client.protocol import Answer, Call
    from kernel_gateway.client.values import Told

#: The first comment comes at once, the second when the connection has held for a while.
_COMMENTS_OF_A_LIFE = 2


class Following:
    """Until `turn` is None: wait so long, send `call`, give `opened` the answer, and, if it wants
    them, `take` all bytes. `lost` says that the connection broke."""

    def __init__(self, run_id: str, after: Seq, patience: Patience) -> None:
        self._run_id = run_id
        self._after = after
        self._tries = Tries(patience)
        self._parser = Parser()
        self._over = False
        self._pause_s: float | None = 0.0  # None: the connection has ended, nobody said why

    def turn(self) -> float | None:
        """Seconds to wait before the next connection; None: there is to be none. Raises when too
        many have come to nothing."""
        if self._over:
            return None
        if self._pause_s is None:
            self.lost(Unreachable("The stream of events ended before the run did."))
        pause_s, self._pause_s = self._pause_s, None
        return pause_s

    def call(self) -> Call[None]:
        return protocol.events(self._run_id, self._after)

    def opened(self, answer: Answer) -> bool:
        """Whether a stream follows. Raises the gateway's error when that is the last word."""
        self._parser = Parser()
        if answer.status == HTTPStatus.NO_CONTENT:  # there is nothing behind what we have
            self._over = True
            return False
        if may_come_back(answer):
            fault = protocol.fault_of(answer)
            self._pause_s = self._tries.failed(fault, retry_after_s(answer))
            return False
        protocol.settled(self.call(), answer)
        kind = answer.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise UnexpectedAnswer(f"Events were asked for, and {kind or 'nothing'} has come.")
        return True

    def take(self, chunk: bytes) -> list[Told]:
        """The records that are new with these bytes."""
        found = [parse.told(parse.parsed(event.data)) for event in self._parser.feed(chunk)]
        new = [told for told in found if self._is_new(told)]
        if new or self._parser.comments >= _COMMENTS_OF_A_LIFE:
            self._tries.progress()
        return new

    def lost(self, fault: GatewayError) -> None:
        """Raises it when it is one too many."""
        if not self._over:
            self._pause_s = self._tries.failed(fault)

    def _is_new(self, told: Told) -> bool:
        if self._over or told.seq <= self._after:
            return False
        self._after = told.seq
        self._over = isinstance(told.body, Completed)
        return True
