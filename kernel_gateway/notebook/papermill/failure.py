"""What `execute_notebook` raises when the code of a notebook fails, in papermill's form.

No `GatewayError`: nothing of ours has failed. Knows notebooks and the states of steps.
"""

from __future__ import annotations

import functools
import re
import sys
from typing import TYPE_CHECKING, Any

from kernel_gateway.notebook.papermill.banner import is_banner
from kernel_gateway.runs.view import Failure, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.runs.records import Reason
    from kernel_gateway.runs.view import StepView

_ENDED_IT = frozenset(
    {StepOutcome.ERROR, StepOutcome.TIMED_OUT, StepOutcome.DIED, StepOutcome.CANCELLED}
)
_COLOURS = re.compile(r"\x1b\[[\d;]*[mK]")


class NotebookFailed(Exception):
    """A notebook came to a bad end. Its output is complete all the same.

    Where papermill is loaded it is a `PapermillExecutionError` as well. `ename` and `evalue` are
    those of the exception in the notebook; where there was none, the reason's code and message.
    """

    def __init__(
        self,
        cell_index: int | None,
        exec_count: int | None,
        source: str,
        ename: str,
        evalue: str,
        traceback: Sequence[str],
    ) -> None:
        super().__init__(cell_index, exec_count, source, ename, evalue, traceback)
        self.cell_index = cell_index  # without error banners; None: it failed between two cells
        self.exec_count = exec_count
        self.source = source
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback

    def __str__(self) -> str:
        where = " " if self.exec_count is None else self.exec_count
        told = _COLOURS.sub("", "\n".join(self.traceback)) or f"{self.ename}: {self.evalue}"
        return f'\n{75 * "-"}\nException encountered at "In [{where}]":\n{told}\n'

    def __reduce__(self) -> tuple[Any, ...]:
        """Processes hand it on, and not all of them have loaded papermill."""
        return _made, self.args


def failure(
    cells: Sequence[Mapping[str, Any]], steps: Sequence[StepView], reason: Reason
) -> NotebookFailed:
    """To be raised for a run that came to this end."""
    step = next((step for step in steps if step.state in _ENDED_IT), None)
    if step is None:
        return _made(None, None, "", reason.code, reason.message, [])
    page = [cell for cell in cells if not is_banner(cell)]
    places = [index for index, cell in enumerate(page) if cell["cell_type"] == "code"]
    place = places[step.index]
    error = step.error or Failure(ename=reason.code, evalue=reason.message)
    return _made(
        place,
        step.execution_count,
        page[place]["source"],
        error.ename,
        error.evalue,
        list(error.traceback),
    )


def _made(*args: Any) -> NotebookFailed:
    """Such that whoever has loaded papermill catches it as papermill's own."""
    theirs = getattr(sys.modules.get("papermill.exceptions"), "PapermillExecutionError", None)
    return NotebookFailed(*args) if theirs is None else _twin(theirs)(*args)


@functools.cache
def _twin(theirs: type[Exception]) -> type[NotebookFailed]:
    return type("NotebookFailed", (NotebookFailed, theirs), {"__module__": __name__})
