"""Executes all notebooks of a folder with nbclient, at the same time; run by its environment.

    python oracle.py FOLDER

Beside each is then NAME.done.ipynb, also of one that has failed.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import nbformat
from nbclient import NotebookClient  # type: ignore[import-not-found] # it is there, not here
from nbclient.exceptions import (  # type: ignore[import-not-found] # as above
    CellExecutionError,
    DeadKernelError,
)


async def execute(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": "."}},
    )
    with suppress(CellExecutionError, DeadKernelError):
        await client.async_execute()
    done = path.with_suffix(".done.ipynb")
    nbformat.write(notebook, done)  # type: ignore[no-untyped-call]


async def main(paths: list[Path]) -> None:
    await asyncio.gather(*(execute(path) for path in paths))


asyncio.run(main(sorted(Path(sys.argv[1]).glob("*.ipynb"))))
