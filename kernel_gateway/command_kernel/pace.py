"""How fast a command may print. While it is ahead its terminal is not read, and so it has to wait.

Whoever listens to a kernel takes all that it says into memory, and cannot ask it to wait: `yes`
prints 100 MB a second. Pure: *now* is an argument.
"""

from __future__ import annotations

#: Far more than anybody reads, and less than a gateway stores.
BYTES_PER_S = 16 * 2**20
#: What a command may print at once.
BURST_S = 0.5


class Pace:
    def __init__(self, now: float) -> None:
        self._free_at = now - BURST_S

    def printed(self, size: int, now: float) -> None:
        self._free_at = max(self._free_at, now - BURST_S) + size / BYTES_PER_S

    def rest_s(self, now: float) -> float:
        """For how long nothing more is to be read."""
        return max(0.0, self._free_at - now)
