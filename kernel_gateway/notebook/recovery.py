"""Output notebooks of a runner that was killed: what it leaves behind, and how they are finished.

Knows files of jobs, the service over the dead runner's store, and outputs that are files. Must not
know where such folders are, nor who is alive.

Before a notebook is run a small file says what it is and where its output goes, without anything
that was secret; the run itself carries the name of that file as a label. To finish an output is to
let the usual runner follow the log of that run, which the service has marked as lost: so there is
one fold of a log, and nothing here knows what is in a notebook.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import GatewayLost
from kernel_gateway.notebook.choice import Wish
from kernel_gateway.notebook.document import Source
from kernel_gateway.notebook.engine import LocalEngine
from kernel_gateway.notebook.job import Attempt, NotebookJob
from kernel_gateway.notebook.runner import NotebookRunner
from kernel_gateway.notebook.saving import FileSink, LastSink
from kernel_gateway.runs.outputs import METADATA_KEY
from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import (
    KernelSpecsView,
    KernelSpecView,
    Owner,
    RunInfo,
    RunQuery,
    RunUid,
    Service,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.notebook.runner import NotebookResult

log = logging.getLogger("kernel_gateway.notebook")

FORMAT = 1  # of a job's file
LABEL = "job"  # of a run: which file tells of it, and which attempt it is
FOLDER = "jobs"  # in that of the runner


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a file tells of a job whose output is not complete."""

    file: Path
    output: Path
    label: str
    job: NotebookJob  # as far as its output tells of it; not to be run again


# -- what a runner leaves behind -------------------------------------------------------------------


class JobFolder:
    """Implements `batch.Keeper`. `outputs` are the files by the numbers of the jobs; there is
    nothing to complete where the output is none."""

    def __init__(self, folder: Path, outputs: Sequence[Path | None]) -> None:
        self._folder = folder / FOLDER
        self._outputs = outputs

    def begin(self, number: int, job: NotebookJob) -> NotebookJob:
        output = self._outputs[number]
        if output is None:
            return job
        label = f"{number}.{job.attempt}"
        told = {"format": FORMAT, "output": str(output.absolute()), "label": label, **_told(job)}
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            FileSink(self._file(number)).save(json.dumps(told).encode())
        except OSError as fault:  # a precaution that fails is no reason not to run it
            log.warning("The output could not be recovered if we were killed: %s", fault)
        return replace(job, labels={**job.labels, LABEL: label})

    def end(self, number: int) -> None:
        with suppress(OSError):
            self._file(number).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.json"


def _told(job: NotebookJob) -> dict[str, Any]:
    source = job.source
    return {
        "version": job.version,
        "source": {
            "notebook": source.notebook,
            "wish": asdict(source.wish),
            "digest": source.digest,
            "version": source.version,
        },
        "input_name": job.input_name,
        "output_name": job.output_name,
        "parameters": dict(job.parameters),
        "kernel_name": job.kernel_name,
        "earlier": [asdict(one) for one in job.earlier],
    }


# -- what is found ---------------------------------------------------------------------------------


def left_behind(folder: Path) -> list[Kept]:
    """Of one runner, in the order of its notebooks. Blocks; what cannot be read is none of ours."""
    found = []
    for file in sorted((folder / FOLDER).glob("*.json"), key=lambda file: (len(file.name), file)):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.append(_kept(file, json.loads(file.read_bytes())))
    return found


def _kept(file: Path, told: Mapping[str, Any]) -> Kept:
    if told["format"] != FORMAT:
        raise ValueError("written by another version")
    source = told["source"]
    return Kept(
        file=file,
        output=Path(told["output"]),
        label=told["label"],
        job=NotebookJob(
            source=Source(**{**source, "wish": Wish(**source["wish"])}),
            version=told["version"],
            input_name=told["input_name"],
            output_name=told["output_name"],
            parameters=told["parameters"],
            allow_unknown_parameters=True,  # they were looked at before it was run
            kernel_name=told["kernel_name"],
            earlier=tuple(map(_attempt, told["earlier"])),
        ),
    )


def _attempt(told: Mapping[str, Any]) -> Attempt:
    return Attempt(
        uid=RunUid(told["uid"]), outcome=Outcome(told["outcome"]), reason=Reason(**told["reason"])
    )


# -- how it is finished ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    output: Path  # where it was written
    result: NotebookResult


async def finish(service: Service, owner: Owner, kept: Kept) -> Finished:
    """Write the output as the log tells it, and forget the job. `service` has the store of the
    runner that was killed. Raises `NotebookUnwritable`: the job is kept.

    A file that somebody has written since is not touched: ours is put beside it.
    """
    query = RunQuery(labels=((LABEL, kept.label),), limit=1)
    page = await service.runs(owner, query)
    run = page.runs[0] if page.runs else None
    output = await asyncio.to_thread(_place, kept, run)
    engine = _Past(service, owner, run, kept.job.source.wish.language)
    runner = NotebookRunner(engine, kept.job, LastSink(FileSink(output)), lambda event: None)
    result = await runner.run()
    await asyncio.to_thread(kept.file.unlink, missing_ok=True)
    return Finished(output=output, result=result)


def _place(kept: Kept, run: RunInfo | None) -> Path:
    """Its own, if that is not there or still what the killed runner has written."""
    try:
        told = json.loads(kept.output.read_bytes())["metadata"][METADATA_KEY]
        is_ours = _is_of(told, kept, run)
    except FileNotFoundError:
        is_ours = True
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # something else
        is_ours = False
    if is_ours:
        return kept.output
    name = kept.file.parent.parent.name  # of the runner's folder: no two have the same
    return kept.output.with_name(f"{kept.output.stem}.recovered-{name}.ipynb")


def _is_of(told: Mapping[str, Any], kept: Kept, run: RunInfo | None) -> bool:
    if "run" not in told:
        same: bool = told["input"]["digest"] == kept.job.source.digest
        return same
    known = {one.uid for one in kept.job.earlier} | ({run.uid} if run is not None else set())
    return told["run"].get("uid") in known


@dataclass(frozen=True, slots=True)
class _Past(LocalEngine):
    """In which there is one run, that is over already: to start it is to find it."""

    run_there: RunInfo | None
    language: str  # of its kernel, should that not be installed any more

    async def kernelspecs(self) -> KernelSpecsView:
        """The one that has executed it."""
        name = self._found().kernel_name
        specs = await self.service.kernelspecs()
        known = [spec for spec in specs.specs if spec.name == name]
        gone = KernelSpecView(name=name, display_name=name, language=self.language)
        return KernelSpecsView(default=name, specs=tuple(known or [gone]))

    async def start(
        self, job: NotebookJob, notebook: Mapping[str, Any], kernel_name: str
    ) -> RunInfo:
        return self._found()

    def _found(self) -> RunInfo:
        if self.run_there is None:
            raise GatewayLost("The gateway was killed before the run began.")
        return self.run_there
