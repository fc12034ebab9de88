"""The exit code that says how a notebook run ended. Knows outcomes and reasons, nothing else.

A command that was ended by a signal says so itself, as a shell would (143 for SIGTERM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.runs.view import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_OUTCOME: Mapping[Outcome, int] = {
    Outcome.OK: 0,
    Outcome.ERROR: 1,
    Outcome.TIMEOUT: 5,
    Outcome.LOST: 6,
    Outcome.CANCELLED: 130,
}
#: Where the reason says more than the outcome.
_BY_REASON: Mapping[str, int] = {
    "kernel_not_found": 3,
    "kernel_start_failed": 4,
    "start_limit": 4,
    "no_input": 7,
    # Of runs that never came to be:
    "invalid_field": 2,
    "too_large": 2,
    "notebook_unreadable": 2,
}


def exit_code(outcome: Outcome, reason_code: str) -> int:
    return _BY_REASON.get(reason_code, _BY_OUTCOME[outcome])
