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

from kernel_gateway.errors import GatewayLost, NotFound
from kernel_gateway.notebook.bringing import Brought, Findings, Homes, bring
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
    from collections.abc import Collection, Mapping, Sequence

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
    homes: Homes
    label: str
    language: str  # of the kernel that was chosen
    job: NotebookJob  # as far as its output tells of it; not to be run again


# -- what a runner leaves behind -------------------------------------------------------------------


class JobFolder:
    """Implements `batch.Keeper`. `outputs` are the files by the numbers of the jobs, and `homes`
    are for what they leave behind; there is nothing to complete where the output is none."""

    def __init__(
        self, folder: Path, outputs: Sequence[Path | None], homes: Sequence[Homes]
    ) -> None:
        self._folder = folder / FOLDER
        self._outputs = outputs
        self._homes = homes
        self._told: dict[int, dict[str, Any]] = {}

    def begin(self, number: int, job: NotebookJob) -> NotebookJob:
        output = self._outputs[number]
        if output is None:
            return job
        label = f"{number}.{job.attempt}"
        homes = self._homes[number]
        self._told[number] = {
            "format": FORMAT,
            "output": str(output.absolute()),
            "work": str(homes.work.absolute()),
            "artifacts": str(homes.artifacts.absolute()),
            "label": label,
            "language": job.source.wish.language,
            **_told(job),
        }
        self._write(number)
        return replace(job, labels={**job.labels, LABEL: label})

    def chosen(self, number: int, language: str) -> None:
        told = self._told.get(number)
        if told is not None and told["language"] != language:
            told["language"] = language
            self._write(number)

    def _write(self, number: int) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            FileSink(self._file(number)).save(json.dumps(self._told[number]).encode())
        except OSError as fault:  # a precaution that fails is no reason not to run it
            log.warning("The output could not be recovered if we were killed: %s", fault)

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
        homes=Homes(work=Path(told["work"]), artifacts=Path(told["artifacts"])),
        label=told["label"],
        language=told["language"],
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
    homes: Homes
    brought: Brought

    @property
    def is_whole(self) -> bool:
        """Nothing is left that somebody may want."""
        return not self.brought.faults


async def finish(
    service: Service, owner: Owner, kept: Kept, taken: Collection[Path] = ()
) -> Finished:
    """Write the output as the log tells it, bring what the run has left behind, and forget the job.
    `service` has the store of the runner that was killed. Raises `GatewayError`: the job is kept,
    as it is when something could not be brought.

    A file that somebody has written since, or that is `taken` by a run that goes on, is not
    touched: ours is put beside it, and so is what comes home.
    """
    job, run = await _last_run(service, owner, kept)
    output = await asyncio.to_thread(_place, kept, run, taken)
    homes = kept.homes
    if output != kept.output:
        homes = replace(homes, artifacts=homes.artifacts.with_name(_beside(kept, homes.artifacts)))
    engine = _Past(service, owner, run, kept.language)
    found = Findings()
    runner = NotebookRunner(engine, job, LastSink(FileSink(output)), found.tell)
    result = await runner.run()
    uid = None if run is None else run.uid
    finished = Finished(
        output=output,
        result=result,
        homes=homes,
        brought=await bring(engine, uid, found, homes),
    )
    if finished.is_whole:
        await asyncio.to_thread(kept.file.unlink, missing_ok=True)
    return finished


async def _last_run(
    service: Service, owner: Owner, kept: Kept
) -> tuple[NotebookJob, RunInfo | None]:
    """Of its attempt; where that had not begun, of the one before. With the job that it was of."""
    page = await service.runs(owner, RunQuery(labels=((LABEL, kept.label),), limit=1))
    if page.runs:
        return kept.job, page.runs[0]
    if not kept.job.earlier:
        return kept.job, None
    *earlier, last = kept.job.earlier
    try:
        return replace(kept.job, earlier=tuple(earlier)), await service.run(owner, last.uid)
    except NotFound:
        return replace(kept.job, earlier=()), None


def _place(kept: Kept, run: RunInfo | None, taken: Collection[Path]) -> Path:
    """Its own, if that is not there or still what the killed runner has written."""
    try:
        told = json.loads(kept.output.read_bytes())["metadata"][METADATA_KEY]
        is_ours = _is_of(told, kept, run)
    except FileNotFoundError:
        is_ours = True
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # something else
        is_ours = False
    if is_ours and kept.output not in taken:
        return kept.output
    return kept.output.with_name(f"{_beside(kept, kept.output.with_suffix(''))}.ipynb")


def _beside(kept: Kept, path: Path) -> str:
    """By the runner's folder: no two have the same."""
    return f"{path.name}.recovered-{kept.file.parent.parent.name}"


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
