"""`/api/runs/{id}/artifacts`: what a run has left beside its log, listed and as bytes.

The bytes are user code's, and so are names and types: they are kept as files and never shown.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.errors import ArtifactNotFound
from kernel_gateway.runs.records import ArtifactKind
from kernel_gateway.web import headers, render
from kernel_gateway.web.runs.reading import RunHandler

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import Artifact, RunInfo


class Artifacts(RunHandler):
    async def on_get(self, segment: str) -> None:
        info = await self.named_run(segment)
        items: list[Json] = [render.artifact_json(artifact) for artifact in info.artifacts]
        self.answer({"items": items})


class Content(RunHandler):
    async def on_get(self, segment: str, artifact_id: str) -> None:
        info = await self.named_run(segment)
        artifact = _named(info, artifact_id)
        tag = f'"{artifact.digest}"'
        self.set_header("ETag", tag)
        self.set_header("Cache-Control", "no-cache")
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            return
        span = self._wanted_part(artifact, tag)
        content = await self.service.artifact(
            self.owner,
            info.uid,
            artifact.id,
            start=span.start if span is not None else 0,
            stop=span.stop if span is not None else None,
        )
        self.set_header("Content-Type", _type(artifact))
        self.set_header("Content-Disposition", headers.attachment(_file_name(artifact)))
        self.set_header("Accept-Ranges", "bytes")
        if span is not None:
            self.set_status(HTTPStatus.PARTIAL_CONTENT)
            self.set_header("Content-Range", headers.content_range(span, artifact.size))
        await self.send(content.pieces, artifact.size if span is None else len(span))

    def _wanted_part(self, artifact: Artifact, tag: str) -> range | None:
        """None: all of it, as when the client has a part of something else."""
        asked = self.request.headers
        if "Range" not in asked or asked.get("If-Range", tag).strip() != tag:
            return None
        return headers.byte_range(asked["Range"], artifact.size)


def _named(info: RunInfo, artifact_id: str) -> Artifact:
    for artifact in info.artifacts:
        if artifact.id == artifact_id:
            return artifact
    raise ArtifactNotFound("The run has no such artifact.")


def _type(artifact: Artifact) -> str:
    kind = headers.media_type(artifact.mime)
    if artifact.kind is ArtifactKind.OVERSIZED and kind.startswith("text/") and ";" not in kind:
        return f"{kind}; charset=utf-8"  # as the log was
    return kind


def _file_name(artifact: Artifact) -> str:
    """The last part of a path; what is oversized has a description with slashes in its type."""
    path = artifact.kind is ArtifactKind.FILE
    name = artifact.name.rpartition("/")[2] if path else artifact.name.replace("/", "-")
    return name if name.strip(". ") else artifact.id


ROUTES = [
    (r"/api/runs/([^/]+)/artifacts", Artifacts),
    (r"/api/runs/([^/]+)/artifacts/([^/]+)", Content),
]
