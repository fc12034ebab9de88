"""What papermill's engine of our name does (`kernel_gateway.papermill_engine`).

Knows papermill and nbclient, which are there when this is called. What papermill does itself is
left to it: parameters, the banner, the last save, the error of a cell. What goes wrong in another
way is raised as papermill's own engine raises it; the output is complete nevertheless.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from kernel_gateway.commands.base import version
from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.execute.call import NOT_STARTED, as_bytes, as_node, run_and_tell
from kernel_gateway.execute.telling import Telling
from kernel_gateway.execute.wishes import plan_options
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.papermill.banner import remove_banner
from kernel_gateway.notebook.saving import CopySink
from kernel_gateway.runs.view import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbformat import NotebookNode

    from kernel_gateway.notebook.runner import NotebookResult


def executed(
    nb: NotebookNode,
    kernel_name: str,
    output_path: str | None = None,
    progress_bar: bool | Mapping[str, Any] = True,
    log_output: bool = False,
    input_path: object = None,
    stdout_file: TextIO | None = None,
    stderr_file: TextIO | None = None,
    start_timeout: float = 60,
    **engine_kwargs: Any,
) -> NotebookNode:
    """The arguments are those that papermill gives to its engines; it works in the folder that
    papermill has gone to, and has told the notebook where it comes from."""
    options = plan_options(engine_kwargs)
    papers = nb.metadata.papermill
    source = read(as_bytes(nb))
    job = NotebookJob(
        source=source,
        version=version(),
        input_name=_name(papers.input_path),
        output_name=_name(papers.output_path),
        options=options,
        kernel_name=kernel_name if kernel_name != source.wish.name else None,
        cwd=Path.cwd(),
        start_limit_s=start_timeout,
    )
    sink = CopySink(None if output_path is None else _PapermillSink(output_path))
    telling = Telling(
        progress_bar=progress_bar,
        log_output=log_output,
        stdout_file=stdout_file,
        stderr_file=stderr_file,
    )
    _raise_for(run_and_tell(job, sink, telling))
    notebook = as_node(sink.last)
    remove_banner(notebook)
    notebook.metadata.papermill.parameters = papers.parameters
    return notebook


class _PapermillSink:
    """Where papermill writes, by what it writes with: its users register storage of their own."""

    def __init__(self, path: str) -> None:
        self._path = path

    def save(self, data: bytes) -> None:
        from papermill.iorw import papermill_io  # type: ignore[import-not-found]

        try:
            papermill_io.write(data.decode(), self._path)
        except Exception as fault:  # the boundary: each kind of storage has errors of its own
            raise OSError(str(fault) or type(fault).__name__) from fault

    def close(self) -> None:
        """Each save was complete."""


def _raise_for(result: NotebookResult) -> None:
    """Nothing where papermill finds it by itself: in the outputs, or in `metadata.papermill`."""
    from nbclient.exceptions import (  # type: ignore[import-not-found]
        CellTimeoutError,
        DeadKernelError,
    )

    code, message = result.reason.code, result.reason.message
    if code == "kernel_not_found":
        raise KernelSpecNotFound(message)
    if code in NOT_STARTED:
        raise RuntimeError(message)
    if result.outcome is Outcome.TIMEOUT:
        raise CellTimeoutError(message)
    if result.outcome is Outcome.LOST:
        raise DeadKernelError(message)


def _name(told: object) -> str | None:
    """Of a notebook that was in memory papermill tells the whole of it as its path."""
    return told if isinstance(told, str) else None
