"""What Linux says of a pseudo-terminal, as far as the console builds on it."""

from __future__ import annotations

import os
from contextlib import closing

from kernel_gateway.command_kernel.terminal import MOUTHFUL_BYTES, InputTerminal


def test_what_was_typed_is_untaken_from_the_first_moment_until_it_is_read() -> None:
    """It is on its way for a while; who took it for read would type what finds no room."""
    with closing(InputTerminal()) as terminal:
        for _ in range(1_000):
            assert not terminal.type(b"x" * (MOUTHFUL_BYTES - 1) + b"\n")
            assert not terminal.is_taken
            assert MOUTHFUL_BYTES == len(os.read(terminal.slave, 4 * MOUTHFUL_BYTES))
            assert terminal.is_taken
