"""A gateway elsewhere as the engine of notebook runs.

Knows the client, and how a job is said in a body. Must not know files of the caller, nor what
becomes of the output. What is sent is planned by the gateway as it would be here. A run whose
caller has died must not go on for ever, and no connection tells that between two pages of its log:
so it is ended when nobody has read it for a while.
"""

from __future__ import annotations

import asyncio
import base64
import tempfile
import uuid
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_gateway.client import protocol
from kernel_gateway.client.download import named_artifact
from kernel_gateway.client.patience import Patience
from kernel_gateway.client.values import Gap, Unknown
from kernel_gateway.errors import GatewayError, Unreachable, WireFault
from kernel_gateway.runs.records import Record
from kernel_gateway.service import ArtifactContent, LogPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from typing import Any

    from kernel_gateway.client.asynchronous import AsyncClient
    from kernel_gateway.client.protocol import Call
    from kernel_gateway.client.values import RecordPage
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.job import NotebookJob
    from kernel_gateway.notebook.plan import PlanOptions
    from kernel_gateway.runs.records import Artifact, Seq
    from kernel_gateway.service import KernelSpecsView, RunInfo, RunUid

#: Longer than we go on asking for a gateway that is away, and than a picture takes to be fetched.
UNREAD_S = 120.0
#: For the client: a gateway that is away is asked for half a minute, however it fails.
PATIENCE = Patience(total_s=30.0)
#: What nobody wants to wait for is asked of the gateway so long.
HASTE_S = 2.0
_CHUNK_BYTES = 2**20


class RemoteEngine:
    """Implements `notebook.engine.Engine`; the client is the caller's to close."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def kernelspecs(self) -> KernelSpecsView:
        return await self._client.kernelspecs()

    async def start(
        self, job: NotebookJob, notebook: Mapping[str, Any], kernel_name: str
    ) -> RunInfo:
        """Under an ID of its own: sent again when the answer was lost, it is made once. A run that
        was perhaps made, and of which nobody will know, is ended if that can be."""
        run_id = str(uuid.uuid4())
        call = await asyncio.to_thread(creation, job, notebook, kernel_name, run_id)
        try:
            return await self._client.ask(call)
        except (WireFault, asyncio.CancelledError):
            with suppress(GatewayError):
                async with _in_haste(HASTE_S):
                    await self._client.cancel(run_id, grace=0.0, message="nobody waits for it")
            raise

    async def run(self, uid: RunUid) -> RunInfo:
        return await self._client.run(uid)

    async def log(self, uid: RunUid, *, after: Seq, wait_s: float) -> LogPage:
        """Records in a form that only a newer client knows are passed over."""
        while True:
            page = await self._client.page(uid, after=after, wait=wait_s)
            known = tuple(_known(page))
            if known or page.sealed or page.finished or not page.records:
                return LogPage(
                    records=known, next=page.next, finished=page.finished, sealed=page.sealed
                )
            after = page.next

    async def blob(self, uid: RunUid, artifact: str) -> bytes:
        return await self._client.content(uid, artifact)

    async def artifact(self, uid: RunUid, artifact: str) -> ArtifactContent:
        known = named_artifact(await self._client.artifacts(uid), artifact)
        return ArtifactContent(artifact=known, pieces=self._pieces(uid, known))

    async def _pieces(self, uid: RunUid, artifact: Artifact) -> AsyncIterator[bytes]:
        """Out of a file: it is seen to be the right one before a byte of it is told."""
        # Folder and file not by a thread, which would leave them to nobody when we are cancelled.
        folder = tempfile.TemporaryDirectory(prefix="kernel-gateway-")
        try:
            path = Path(folder.name) / "artifact"
            await self._client.download(uid, artifact, path)
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                    yield piece
        finally:
            await asyncio.to_thread(folder.cleanup)

    async def cancel(
        self, uid: RunUid, *, escalate: bool, grace_s: float | None, message: str
    ) -> None:
        """Who does not wait for the code does not wait for a gateway that is away, either."""
        async with _in_haste(HASTE_S if escalate else None):
            await self._client.cancel(uid, escalate=escalate, grace=grace_s, message=message)

    async def give_input(self, uid: RunUid, value: str | None, prompt_id: int) -> None:
        await self._client.input(uid, value, prompt_id)


@asynccontextmanager
async def _in_haste(limit_s: float | None) -> AsyncIterator[None]:
    """Raises `Unreachable` when it takes longer."""
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise Unreachable("The gateway does not answer in time.") from None


def creation(
    job: NotebookJob, notebook: Mapping[str, Any], kernel_name: str, run_id: str
) -> Call[RunInfo]:
    """The run as the job asks for it. Its folder is its own, whatever is put into it; the folder
    and the variables of the caller stay here, but for those that the job names."""
    return protocol.create(
        notebook=notebook,
        kernel_name=kernel_name,
        run_id=run_id,
        labels=job.labels,
        context=job.context,
        limits=replace(job.options.limits, start=job.start_limit_s),
        options={**_options(job.options), "quiet": job.quiet_s, "unread": UNREAD_S},
        files={name: base64.b64encode(data).decode() for name, data in (job.files or {}).items()},
        env=job.env,
        secrets=job.secrets,
    )


def _options(asked: PlanOptions) -> dict[str, Json]:
    chosen: dict[str, Json] = {
        "from": asked.from_,
        "until": asked.until,
        "only": list(asked.only) or None,
    }
    return {
        "allow_errors": asked.allow_errors,
        "allow_stdin": asked.allow_stdin,
        "skip_tag": asked.skip_tag,
        **{name: value for name, value in chosen.items() if value is not None},
    }


def _known(page: RecordPage) -> Iterator[Record]:
    for told in page.records:
        if not isinstance(told.body, Gap | Unknown):
            yield Record(seq=told.seq, at=told.at, step=told.step, body=told.body)
