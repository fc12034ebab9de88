"""`execute_notebook`: one call from an input to an output and the notebook in memory.

Knows papermill's arguments and where notebooks are. How one is run is in `inside`.
"""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import nbformat
from nbformat import NotebookNode

from kernel_gateway.commands.base import version
from kernel_gateway.errors import KernelSpecNotFound, KernelStartFailed
from kernel_gateway.execute import inside
from kernel_gateway.execute.report import without_code
from kernel_gateway.execute.telling import Telling
from kernel_gateway.execute.wishes import plan_options
from kernel_gateway.notebook.choice import choose
from kernel_gateway.notebook.document import Document, read
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.papermill.failure import failure
from kernel_gateway.notebook.papermill.metadata import About
from kernel_gateway.notebook.parameters.injection import parameterized
from kernel_gateway.notebook.parameters.inspection import inspected
from kernel_gateway.notebook.parameters.paths import filled
from kernel_gateway.notebook.places import read_notebook, shown, sink_for
from kernel_gateway.notebook.saving import CopySink, LastSink
from kernel_gateway.runs.view import Outcome, StepOutcome, StepView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.document import Source
    from kernel_gateway.notebook.engine import LocalEngine
    from kernel_gateway.notebook.runner import NotebookResult

log = logging.getLogger("kernel_gateway.execute")

ENGINES = (None, "kernel_gateway", "nbclient")  # nbclient: papermill's default, by its name

NOT_STARTED = frozenset({"kernel_start_failed", "start_limit"})


def execute_notebook(
    input_path: str | Path | NotebookNode,
    output_path: str | Path | None,
    parameters: Mapping[str, Json] | None = None,
    engine_name: str | None = None,
    request_save_on_cell_execute: bool = True,
    prepare_only: bool = False,
    kernel_name: str | None = None,
    language: str | None = None,
    progress_bar: bool | Mapping[str, Any] = True,
    log_output: bool = False,
    stdout_file: TextIO | None = None,
    stderr_file: TextIO | None = None,
    start_timeout: float = 60,
    report_mode: bool = False,
    cwd: str | Path | None = None,
    **engine_kwargs: Any,
) -> NotebookNode:
    """Run a notebook, write what becomes of it, and give it back. Works inside a running loop.

    The arguments are papermill's; `docs/how-to/papermill.md` tells where they do more or less.
    Raises `NotebookFailed` when the notebook fails, and the errors of `kernel_gateway.errors` when
    it cannot be run or written. The output is complete in any case.
    """
    if engine_name not in ENGINES:
        raise ValueError(f"There is no engine {engine_name!r} here: leave engine_name away.")
    options = plan_options(engine_kwargs)
    values = {name: _json_value(name, value) for name, value in (parameters or {}).items()}
    input_name, output_name = _names(input_path, output_path, values)
    log.info("Input Notebook:  %s", input_name or "NotebookNode object")
    log.info("Output Notebook: %s", output_name or "Notebook will not be saved")
    source = _source(input_path if isinstance(input_path, NotebookNode) else input_name, language)
    _warn_of_unknown(values, source)
    job = NotebookJob(
        source=without_code(source, values) if report_mode else source,
        version=version(),
        input_name=input_name and shown(input_name),
        output_name=output_name and shown(output_name),
        options=options,
        parameters=values,
        allow_unknown_parameters=True,
        kernel_name=kernel_name,
        cwd=Path.cwd() if cwd is None else Path(cwd).expanduser().absolute(),
        start_limit_s=start_timeout,
    )
    sink = _sink(output_name, by_time=request_save_on_cell_execute)
    if prepare_only:
        inside.in_thread(lambda engine: _prepare(engine, job, sink))
        return as_node(sink.last)
    telling = Telling(
        progress_bar=progress_bar,
        log_output=log_output,
        stdout_file=stdout_file,
        stderr_file=stderr_file,
    )
    result = run_and_tell(job, sink, telling)
    notebook = as_node(sink.last)
    _raise_for(result, notebook)
    return notebook


# -- what is run, and where to ---------------------------------------------------------------------


def _names(
    given: str | Path | NotebookNode, wanted: str | Path | None, values: Mapping[str, Json]
) -> tuple[str | None, str | None]:
    """Of input and output, with parameters filled in. A notebook in memory has none."""
    run_uuid, now = str(uuid.uuid4()), datetime.now(UTC)

    def name(place: str | Path | NotebookNode | None) -> str | None:
        if place is None or isinstance(place, NotebookNode):
            return None
        return filled(str(place), values, run_uuid=run_uuid, now=now)

    return name(given), name(wanted)


def _json_value(name: str, value: object) -> Json:
    """A tuple as a list, and keys as text. Raises `TypeError` for what no notebook can hold."""
    try:
        taken: Json = json.loads(json.dumps(value))
    except (TypeError, ValueError) as fault:
        raise TypeError(f"The parameter {name!r} is no value of JSON: {fault}.") from fault
    return taken


def _source(given: NotebookNode | str | None, language: str | None) -> Source:
    data = read_notebook(given) if isinstance(given, str) else as_bytes(given)
    source = read(data)
    if language is None:
        return source
    return replace(source, wish=replace(source.wish, language=language))


def _sink(output: str | None, *, by_time: bool) -> CopySink:
    if output is None:
        return CopySink(None)
    sink = sink_for(output)
    return CopySink(sink if by_time else LastSink(sink))


def _warn_of_unknown(values: Mapping[str, Json], source: Source) -> None:
    """As papermill: the notebook may do something with them in another way."""
    if not values:
        return
    found = inspected(source.notebook, kernel=source.wish.name, language=source.wish.language)
    if found.tagged and found.inspectable:
        known = {one.name for one in found.parameters}
        for name in values.keys() - known:
            log.warning("Passed unknown parameter: %s", name)


def as_node(data: bytes) -> NotebookNode:
    notebook: NotebookNode = nbformat.reads(data.decode(), as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def as_bytes(notebook: NotebookNode | None) -> bytes:
    text: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    return text.encode()


# -- the run ---------------------------------------------------------------------------------------


def run_and_tell(job: NotebookJob, sink: CopySink, telling: Telling) -> NotebookResult:
    try:
        return inside.run(job, sink, telling.tell)
    finally:
        telling.close()


def _raise_for(result: NotebookResult, notebook: NotebookNode) -> None:
    """Nothing when all is well."""
    reason = result.reason
    if result.outcome is Outcome.OK:
        return
    if reason.code == "kernel_not_found":
        raise KernelSpecNotFound(reason.message)
    if reason.code in NOT_STARTED:
        raise KernelStartFailed(reason.message)
    raise failure(notebook["cells"], result.steps, reason)


async def _prepare(engine: LocalEngine, job: NotebookJob, sink: CopySink) -> None:
    """Parameters in, and nothing executed."""
    source = job.source
    spec = choose(await engine.kernelspecs(), job.kernel_name, source.wish).spec
    notebook = parameterized(
        source.notebook,
        job.parameters,
        kernel=spec.name,
        language=spec.language,
        allow_unknown=job.allow_unknown_parameters,
    )
    document = Document(replace(source, notebook=notebook))
    document.set_kernel(spec)
    about = About(
        version=job.version,
        input_path=job.input_name,
        output_path=job.output_name,
        parameters=job.parameters,
    )
    steps = [
        StepView(index=index, name=name, state=StepOutcome.PENDING)
        for index, name in enumerate(document.names)
    ]
    document.set_papermill(about, steps, None, None)
    sink.save(document.encode())
    sink.close()
