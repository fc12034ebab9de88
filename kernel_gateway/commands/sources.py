"""The notebook that a command line names, or the sentence that says why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.commands.base import UsageError
from kernel_gateway.errors import NotebookUnreadable
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.places import read_notebook, shown

if TYPE_CHECKING:
    from kernel_gateway.notebook.document import Source


def read_source(name: str, done: str) -> Source:
    """`done` is what cannot be done with it then: "run". Raises `UsageError`."""
    try:
        data = read_notebook(name)
    except NotebookUnreadable as fault:
        raise UsageError(fault.message) from fault
    try:
        return read(data)
    except NotebookUnreadable as fault:
        raise UsageError(f"{shown(name)} cannot be {done}. {fault.message}") from fault
