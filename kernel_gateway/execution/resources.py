"""Files that lie beside a kernel.json: which there are, and the content of one.

Knows the file system of Linux. Must not know HTTP, nor what the files are for. A kernelspec may lie
in a folder that users' code can write, so no path is given to the system as a whole: each folder on
the way is opened from the one above it and no link is followed.

All of it blocks: call it in threads.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from kernel_gateway.errors import FileNotThere, OutsideFolder, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_BYTES = 16 * 2**20  # of one file, which is read into memory

_SCRIPTS = ("kernel.js", "kernel.css")
_LOGO = "logo-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe does not wait for us


def resource_names(folder: Path) -> tuple[str, ...]:
    """Those that a client asks for by name; none where the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = {one.name for one in entries if one.is_file(follow_symlinks=False)}
    except OSError:
        return ()
    logos = sorted(name for name in found if name.startswith(_LOGO))
    return (*(name for name in _SCRIPTS if name in found), *logos)


def read_resource(folder: Path, file: str) -> bytes:
    """Any regular file below the folder. `FileNotThere`, `OutsideFolder`, `TooLarge`."""
    parts = file.split("/")
    if not all(parts) or "\0" in file or {".", ".."} & set(parts):
        raise OutsideFolder("This is no path of a file in the kernelspec's folder.")
    try:
        with _opened(folder, parts) as number:
            return _read(number)
    except (OSError, UnicodeEncodeError):  # the deployer's links too: what is there is not told
        raise FileNotThere("There is no such file in the kernelspec's folder.") from None


@contextmanager
def _opened(folder: Path, parts: list[str]) -> Iterator[int]:
    """Links to the folder itself are the deployer's."""
    with ExitStack() as stack:
        here = os.open(folder, _FOLDER)
        stack.callback(os.close, here)
        for name in parts:
            here = os.open(name, _BELOW, dir_fd=here)
            stack.callback(os.close, here)
        yield here


def _read(number: int) -> bytes:
    status = os.fstat(number)
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError
    with open(number, "rb", closefd=False) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise TooLarge(f"The file is longer than {MOST_BYTES} bytes.")
    return data
