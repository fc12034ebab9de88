"""Where notebooks are executed: in this process, or by a gateway elsewhere.

Knows what the runner asks of either; that of a gateway is in `client/`. Must not know files, nor
what becomes of the output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from kernel_gateway.notebook.plan import plan
from kernel_gateway.service import RunRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from kernel_gateway.notebook.job import NotebookJob
    from kernel_gateway.runs.plan import RunPlan
    from kernel_gateway.service import (
        ArtifactContent,
        KernelSpecsView,
        LogPage,
        Owner,
        RunInfo,
        RunUid,
        Seq,
        Service,
    )


class Engine(Protocol):
    """All methods raise the errors of `errors.py`."""

    async def kernelspecs(self) -> KernelSpecsView: ...

    async def start(
        self, job: NotebookJob, notebook: Mapping[str, Any], kernel_name: str
    ) -> RunInfo:
        """A run with a kernel of its own; `notebook` is that of the job with its parameters."""

    async def run(self, uid: RunUid) -> RunInfo: ...

    async def log(self, uid: RunUid, *, after: Seq, wait_s: float) -> LogPage:
        """Waits for the first record behind `after`, or until none will come any more."""

    async def blob(self, uid: RunUid, artifact: str) -> bytes: ...

    async def artifact(self, uid: RunUid, artifact: str) -> ArtifactContent: ...

    async def cancel(
        self, uid: RunUid, *, escalate: bool, grace_s: float | None, message: str
    ) -> None:
        """Of a run that is over: hear no more of what its threads still print."""

    async def give_input(self, uid: RunUid, value: str | None, prompt_id: int) -> None:
        """None: there is no answer, and the cell fails for it."""


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """The service in this process."""

    service: Service
    owner: Owner

    async def kernelspecs(self) -> KernelSpecsView:
        return await self.service.kernelspecs()

    async def start(
        self, job: NotebookJob, notebook: Mapping[str, Any], kernel_name: str
    ) -> RunInfo:
        return await self.service.submit(self.owner, run_request(job, notebook, kernel_name))

    async def run(self, uid: RunUid) -> RunInfo:
        return await self.service.run(self.owner, uid)

    async def log(self, uid: RunUid, *, after: Seq, wait_s: float) -> LogPage:
        return await self.service.log(self.owner, uid, after=after, wait_s=wait_s)

    async def blob(self, uid: RunUid, artifact: str) -> bytes:
        return await self.service.blob(self.owner, uid, artifact)

    async def artifact(self, uid: RunUid, artifact: str) -> ArtifactContent:
        return await self.service.artifact(self.owner, uid, artifact)

    async def cancel(
        self, uid: RunUid, *, escalate: bool, grace_s: float | None, message: str
    ) -> None:
        await self.service.cancel(
            self.owner, uid, escalate=escalate, grace_s=grace_s, message=message
        )

    async def give_input(self, uid: RunUid, value: str | None, prompt_id: int) -> None:
        await self.service.give_input(self.owner, uid, value, prompt_id)


def run_request(job: NotebookJob, notebook: Mapping[str, Any], kernel_name: str) -> RunRequest:
    return RunRequest(
        plan=run_plan(job, notebook),
        kernel_name=kernel_name,
        labels=job.labels,
        cwd=job.cwd,
        env=job.env,
        secrets=job.secrets,
        files=job.files,
    )


def run_plan(job: NotebookJob, notebook: Mapping[str, Any]) -> RunPlan:
    made = plan(notebook, job.options)
    limits = replace(made.limits, start=job.start_limit_s)
    return replace(made, limits=limits, quiet_s=job.quiet_s, context=job.context)
