"""`notebook/exits.py`: the table of exit codes."""

from __future__ import annotations

import pytest

from kernel_gateway.notebook.exits import exit_code
from kernel_gateway.runs.view import Outcome


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        (0, "ok", "done"),
        (0, "ok", "exited"),
        (1, "error", "exception"),
        (1, "error", "exit_code"),
        (2, "lost", "invalid_field"),
        (2, "lost", "too_large"),
        (2, "lost", "notebook_unreadable"),
        (3, "error", "kernel_not_found"),
        (4, "lost", "kernel_start_failed"),
        (4, "timeout", "start_limit"),
        (5, "timeout", "step_limit"),
        (5, "timeout", "run_limit"),
        (6, "lost", "kernel_died"),
        (6, "lost", "gateway_lost"),
        (7, "error", "no_input"),
        (130, "cancelled", "cancelled"),
    ],
)
def test_each_end_has_its_exit_code(code: int, outcome: str, reason: str) -> None:
    assert code == exit_code(Outcome(outcome), reason)
