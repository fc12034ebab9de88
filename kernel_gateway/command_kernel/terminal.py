"""The pseudo-terminals of a command: two that it prints to and one that it asks.

Terminals and not pipes, because programs hold back what they print to a pipe and show no prompt
when they read from one. Knows ptys; must not know processes or what the text means.

The input terminal is in EXTPROC mode, the mode of a terminal whose lines are edited at the other
end, as ours are: nothing is echoed although programs see their ECHO flag, and a line may be longer
than the 4,095 characters of a terminal's own line editing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
from dataclasses import dataclass

#: Wide, so that few programs wrap or cut; progress bars fill it, so not wider.
ROWS, COLUMNS = 50, 200

#: Read in one go; what is left waits for the next turn of the loop.
BURST_BYTES = 64 * 2**10
#: Written in one go. The terminal's buffer has 4,096 bytes and drops what does not fit.
MOUTHFUL_BYTES = 1024

#: An answer that is this and nothing else ends the input (Ctrl-D). The terminal knows it itself.
END_OF_INPUT = "\x04"

_EXTPROC = 0o200000  # Linux; not in the termios module
_OUTPUT_FLAGS, _LOCAL_FLAGS, _CHARACTERS = 1, 3, 6  # places in what tcgetattr gives


@dataclass(frozen=True, slots=True)
class Modes:
    """What the programs have asked of their terminal."""

    echo: bool
    canonical: bool  # lines, not keys

    @property
    def hides_input(self) -> bool:
        """A password. Without lines, a program echoes by itself."""
        return self.canonical and not self.echo


class Terminal:
    """Hand `slave` to the command, then `release` it. Read until `ended`. Close it."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self._released = False
        self.ended = False
        os.set_blocking(self.master, False)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        attributes = termios.tcgetattr(self.master)
        attributes[_OUTPUT_FLAGS] &= ~termios.OPOST  # no \r before each \n
        termios.tcsetattr(self.master, termios.TCSANOW, attributes)

    def read(self) -> bytes:
        """What is there, at most a burst; empty when there is nothing (more) to read.

        When it is empty, everything that was printed before the call has been read: Linux looks
        into the buffers between the two ends before it says that there is nothing.
        """
        parts: list[bytes] = []
        room = BURST_BYTES
        while room > 0 and (part := self._read_some()):
            parts.append(part)
            room -= len(part)
        return b"".join(parts)

    def release(self) -> None:
        """Our hold on the command's end; the terminal ends when the last process lets go."""
        if not self._released:
            self._released = True
            os.close(self.slave)

    def never_answer(self) -> None:
        """Whoever reads is at the end of the input, at once."""
        attributes = termios.tcgetattr(self.master)
        attributes[_LOCAL_FLAGS] &= ~termios.ICANON
        attributes[_CHARACTERS][termios.VMIN] = 0
        attributes[_CHARACTERS][termios.VTIME] = 0
        termios.tcsetattr(self.master, termios.TCSANOW, attributes)

    def close(self) -> None:
        """Processes that still hold it are hung up."""
        self.release()
        os.close(self.master)

    def _read_some(self) -> bytes:
        try:
            return os.read(self.master, BURST_BYTES)
        except BlockingIOError:
            return b""
        except OSError as fault:
            if fault.errno != errno.EIO:
                raise
            self.ended = True
            return b""


class InputTerminal(Terminal):
    """Never released, so that we can ask how much of an answer is still to be read.

    What is read from it is what programs write to /dev/tty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.device = os.fstat(self.slave).st_rdev
        self._on_its_way = select.poll()
        self._on_its_way.register(self.slave, select.POLLIN)
        self._edit_lines_here()

    @property
    def modes(self) -> Modes:
        flags = termios.tcgetattr(self.master)[_LOCAL_FLAGS]
        return Modes(echo=bool(flags & termios.ECHO), canonical=bool(flags & termios.ICANON))

    @property
    def is_taken(self) -> bool:
        """Whether the programs have read all that was typed.

        What was typed reaches them by way of a worker of the system, late when it is busy: it is
        not counted as unread before. To look whether there is something to read sees to that.
        """
        if self._on_its_way.poll(0):
            return False
        (unread,) = struct.unpack("i", fcntl.ioctl(self.slave, termios.TIOCINQ, bytes(4)))
        return bool(unread == 0)

    def type(self, data: bytes) -> bytes:
        """Type a mouthful, when the last one is taken; what is left for the next time."""
        self._edit_lines_here()
        written = os.write(self.master, data[:MOUTHFUL_BYTES])
        return data[written:]

    def _edit_lines_here(self) -> None:
        """Again before each answer: `stty sane` takes it away."""
        attributes = termios.tcgetattr(self.master)
        if not attributes[_LOCAL_FLAGS] & _EXTPROC:
            attributes[_LOCAL_FLAGS] |= _EXTPROC
            termios.tcsetattr(self.master, termios.TCSANOW, attributes)


def typed(answer: str) -> bytes:
    """What is to be typed for an answer."""
    if answer == END_OF_INPUT:
        return END_OF_INPUT.encode()
    return answer.encode(errors="replace") + b"\n"
