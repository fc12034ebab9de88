"""The end of what a process writes to its own stdout and stderr.

Knows a pipe and the loop. It is what says why a kernel did not start, so only its end is kept.
"""

from __future__ import annotations

import asyncio
import os

from kernel_gateway.kernels.kernel import ProcessOutput

_TAIL_BYTES = 64 * 2**10  # the beginning goes: what matters was written last
_FULL_PIPE_READS = 2  # a pipe holds 64 KiB; whoever writes more is alive


class OutputPipe:
    """One pipe for both streams, so that their order is kept. Close it when the process is gone."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tail = bytearray()
        self._dropped = 0
        self._read_end, self.write_end = os.pipe()
        # Ours alone: a process that finds its stdout non-blocking loses what it prints.
        os.set_blocking(self._read_end, False)
        self._open = True
        self._write_end_open = True
        self._loop.add_reader(self._read_end, self._read_some)

    def release_write_end(self) -> None:
        """The process has it now; as long as we had it too, no end would ever be seen."""
        if self._write_end_open:
            self._write_end_open = False
            os.close(self.write_end)

    def output(self) -> ProcessOutput:
        """A character that was cut in two is dropped whole."""
        torn = 0
        while self._dropped and torn < len(self._tail) and _continues(self._tail[torn]):
            torn += 1
        text = self._tail[torn:].decode(errors="replace")
        return ProcessOutput(text, self._dropped + torn)

    def close(self) -> None:
        """Take what is left and let go, though a grandchild may still hold the other end."""
        self.release_write_end()
        for _ in range(_FULL_PIPE_READS):
            self._read_some()
        self._let_go()

    def _read_some(self) -> None:
        if not self._open:
            return
        try:
            data = os.read(self._read_end, _TAIL_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._let_go()
        self._tail += data
        self._dropped += max(0, len(self._tail) - _TAIL_BYTES)
        del self._tail[:-_TAIL_BYTES]

    def _let_go(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)


def _continues(byte: int) -> bool:
    """A character of UTF-8 that began before it."""
    return byte & 0b1100_0000 == 0b1000_0000
