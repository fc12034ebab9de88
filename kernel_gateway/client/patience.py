"""When a call is made again, and when it is given up.

Decides; the clients wait. Knows calls and their answers. Must not know clocks or sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Generic, TypeVar

from kernel_gateway.client.protocol import Answer, Call, fault_of, settled
from kernel_gateway.errors import GatewayError

if TYPE_CHECKING:
    from kernel_gateway.errors import WireFault

T = TypeVar("T")

#: The gateway asks to come back, or something between us and it has lost it.
_AGAIN = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The pauses double from the first to the longest; one that the gateway asks for goes before.

    With these numbers a gateway may be away for half a minute: longer than its restart takes. One
    that takes its time to fail can be asked for longer, unless `total_s` says how long.
    """

    tries: int = 8  # without any progress
    first_s: float = 0.2
    most_s: float = 10.0
    most_asked_s: float = 60.0  # of what a Retry-After may ask for
    total_s: float | None = None  # after the first failure of a call no try begins any more

    def pause_s(self, failures: int, asked_s: float | None) -> float:
        """Before the next try, after so many that have failed."""
        if asked_s is not None:
            return min(asked_s, self.most_asked_s)
        return min(self.first_s * 2.0 ** (failures - 1), self.most_s)


class Tries:
    """How often something has failed in a row."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures = 0

    def progress(self) -> None:
        self._failures = 0

    def failed(self, fault: GatewayError, asked_s: float | None = None) -> float:
        """The pause before the next try. Raises the fault when there is to be none."""
        self._failures += 1
        if self._failures >= self._patience.tries:
            raise fault
        return self._patience.pause_s(self._failures, asked_s)


@dataclass(frozen=True, slots=True)
class Again:
    """The call is to be sent once more, after a pause."""

    pause_s: float


class Attempts(Generic[T]):
    """One call, until its answer."""

    def __init__(self, call: Call[T], patience: Patience) -> None:
        self._call = call
        self._tries = Tries(patience)
        self._total_s = patience.total_s
        self._failed_at: float | None = None  # first
        self._lost = False  # an answer: what was asked for may be done

    def lost(self, fault: WireFault, now: float) -> Again:
        """No answer has come. Raises the fault when the call is given up."""
        if not self._call.repeatable:
            raise fault
        self._lost = True
        return self._again(fault, now)

    def answered(self, answer: Answer, now: float) -> T | Again:
        """Raises the gateway's error when that is the last word."""
        if self._call.repeatable and may_come_back(answer):
            return self._again(fault_of(answer), now, retry_after_s(answer))
        try:
            return settled(self._call, answer)
        except GatewayError as fault:
            if self._lost and isinstance(fault, self._call.done_by):
                return self._call.read(Answer(status=HTTPStatus.NO_CONTENT))
            raise

    def _again(self, fault: GatewayError, now: float, asked_s: float | None = None) -> Again:
        again = Again(self._tries.failed(fault, asked_s))
        if self._failed_at is None:
            self._failed_at = now
        elif self._total_s is not None and now - self._failed_at + again.pause_s > self._total_s:
            raise fault
        return again


def may_come_back(answer: Answer) -> bool:
    return answer.status in _AGAIN


def retry_after_s(answer: Answer) -> float | None:
    """Only in seconds: a date would need a clock, and no gateway of ours sends one."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() else None
