"""A notebook as a page to read or to print, by nbconvert if that is installed.

Knows how nbconvert is called. Must not know runs: it is given a notebook as it was written. A
process of its own does it, so that its templates and LaTeX cost no other run any time.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import sys
import tempfile
from contextlib import suppress
from enum import Enum
from pathlib import Path

from kernel_gateway.errors import Refused
from kernel_gateway.notebook.saving import FileSink

LIMIT_S = 300.0  # LaTeX that asks something would wait for ever
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*: ")  # the line of a traceback that names it
_MOST_CHARS = 500  # of what nbconvert says when it fails


class Form(Enum):
    HTML = "html"
    PDF = "pdf"


def check_installed(form: Form) -> None:
    """Raises `Refused` with what is to be installed."""
    if importlib.util.find_spec("nbconvert") is None:
        raise Refused(
            f"--{form.value} needs nbconvert, which is not installed: pip install nbconvert"
        )


async def render(notebook: bytes, form: Form, output: Path) -> None:
    """Raises `Refused` with what nbconvert says."""
    with tempfile.TemporaryDirectory(prefix="kernel-gateway-") as folder:
        source = Path(folder, f"{output.stem}.ipynb")  # its name is the title of the page
        await asyncio.to_thread(source.write_bytes, notebook)
        said = await _convert(source, form)
        await asyncio.to_thread(_put, source.with_suffix(f".{form.value}"), output, said)


def _put(made: Path, output: Path, said: str) -> None:
    try:
        FileSink(output).save(made.read_bytes())
    except FileNotFoundError as fault:
        if made.exists():
            raise Refused(f"{output} has no folder: make {output.parent} first.") from fault
        raise Refused(f"{output} was not made: {said or 'nbconvert gives no reason.'}") from fault
    except OSError as fault:
        raise Refused(f"{output} cannot be written: {fault.strerror}.") from fault


async def _convert(source: Path, form: Form) -> str:
    """Beside the source, with its name. What was said meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", "-m", "nbconvert", "--to", form.value, str(source)],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # signals of the terminal are for us; LaTeX ends with it
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            _, said = await process.communicate()
    except TimeoutError:
        return f"nbconvert took longer than {LIMIT_S:g} s."
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return _why(said.decode(errors="replace"))


def _why(said: str) -> str:
    """The exception that it ended with, else its last line."""
    lines = [line for line in said.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if _EXCEPTION.match(line)]
    told = lines[starts[-1] if starts else -1 :]
    return " ".join(" ".join(told).split())[:_MOST_CHARS]
