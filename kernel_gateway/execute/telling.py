"""What a program that runs a notebook sees meanwhile: papermill's bar, its log, its two files.

Knows what a runner tells. Must not know how the notebook is run.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from tqdm.auto import tqdm

from kernel_gateway.notebook.plan import code_cells
from kernel_gateway.notebook.runner import KernelChosen, NotSaved
from kernel_gateway.runs import records
from kernel_gateway.runs.view import StepOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.notebook.runner import Event

log = logging.getLogger("kernel_gateway.execute")

_LEVELS = {"stdout": logging.INFO, "stderr": logging.WARNING}


class Telling:
    """Give it each event. Close it."""

    def __init__(
        self,
        *,
        progress_bar: bool | Mapping[str, Any],
        log_output: bool,
        stdout_file: TextIO | None,
        stderr_file: TextIO | None,
    ) -> None:
        self._progress_bar = progress_bar
        self._bar: tqdm[NoReturn] | None = None
        self._log_output = log_output
        self._files = {"stdout": stdout_file, "stderr": stderr_file}

    def tell(self, event: Event) -> None:
        if isinstance(event, KernelChosen):
            if event.choice.fallback:
                log.warning("%s", event.choice.fallback)
            log.info("Executing notebook with kernel: %s", event.choice.spec.name)
            self._bar = _bar(len(code_cells(event.notebook)), self._progress_bar)
        elif isinstance(event, NotSaved):
            log.warning("The output is written again later: %s", event.message)
        else:
            self._record(event.body)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _record(self, body: records.Body) -> None:
        if isinstance(body, records.StepChanged):
            self._step(body.state)
        elif isinstance(body, records.LogText):
            self._text(body.stream, body.text)
        elif isinstance(body, records.Output) and self._log_output and "text/plain" in body.data:
            log.info("%s", body.data["text/plain"])

    def _step(self, state: str) -> None:
        if self._bar is not None and state not in {StepOutcome.RUNNING, StepOutcome.NOT_RUN}:
            self._bar.update(1)

    def _text(self, stream: str, text: str) -> None:
        if self._log_output:
            log.log(_LEVELS.get(stream, logging.INFO), "%s", text)
        file = self._files.get(stream)
        if file is not None:
            file.write(text)
            file.flush()


def _bar(steps: int, wish: bool | Mapping[str, Any]) -> tqdm[NoReturn] | None:
    if wish is False:
        return None
    looks = {} if wish is True else wish
    return tqdm(total=steps, **{"unit": "cell", "desc": "Executing", **looks})
