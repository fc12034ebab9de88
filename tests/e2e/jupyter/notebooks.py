"""Executes a notebook as users of nbclient and papermill do: a program for their environment.

    python notebooks.py '{"engine": "nbclient", "source": ..., "target": ..., ...}'

The target is written also when a cell has failed; then the error is the last line of stderr. Knows
those libraries and nothing of the gateway: which kernels are used is said by `manager`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# They are in the environment of the clients, where the type checker is not.
import nbformat
import papermill  # type: ignore[import-not-found]
from nbclient import NotebookClient  # type: ignore[import-not-found]


def by_nbclient(source: str, target: str, manager: str | None, **how: Any) -> None:
    notebook = nbformat.read(source, as_version=4)  # type: ignore[no-untyped-call]
    chosen = {"kernel_manager_class": manager} if manager else {}
    client = NotebookClient(notebook, **chosen, **how)
    try:
        client.execute()
    finally:
        nbformat.write(notebook, target)  # type: ignore[no-untyped-call]


def by_papermill(source: str, target: str, manager: str | None, **how: Any) -> None:
    chosen = {"kernel_manager_class": manager} if manager else {}
    papermill.execute_notebook(source, target, progress_bar=False, **chosen, **how)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    {"nbclient": by_nbclient, "papermill": by_papermill}[asked.pop("engine")](**asked)
