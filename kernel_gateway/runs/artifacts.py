"""What a log puts aside: values too big to be inline, images and sounds, lines that were cut.

Knows IDs, digests, limits, and which outputs are files. Must not know records (`log.py` tells of
what is here) or who stores the bytes: they gather until the writer is free and calls `take`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway.runs.records import Artifact, ArtifactKind, Spilled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json

UNKNOWN_MIME = "application/octet-stream"

#: MIME types whose values are bytes in base64, and how their files are called.
_EXTENSIONS: Mapping[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "application/pdf": "pdf",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
}
_BINARY_TREES = ("audio/", "video/")  # what has no name above is called by its subtype
_MIME = re.compile(r"[A-Za-z0-9][\w.+-]{0,60}/[A-Za-z0-9][\w.+-]{0,100}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bytes of an artifact on their way to the store: all of them, or those from `offset` on."""

    artifact: str  # its ID, unique within the run
    mime: str
    digest: str  # of the whole; empty while that is still growing
    data: bytes
    offset: int = 0


class Shelf:
    """The artifacts of one run. Beyond its limits no byte is kept, and what is lost is counted."""

    def __init__(self, *, most: int, most_bytes: int, preview_chars: int) -> None:
        self.artifacts: list[Artifact] = []
        self.lost = 0  # artifacts that were not kept, or not whole
        self.lost_bytes = 0
        self._preview_chars = preview_chars
        self._places = most
        self._room = most_bytes
        self._ids = 0
        self._blobs: list[Blob] = []
        self._growing: list[Growing] = []

    @property
    def room(self) -> int | None:
        """Bytes that one more may have; None: not one more."""
        return self._room if self._places > 0 else None

    @property
    def waits(self) -> bool:
        """Whether there is something for the writer."""
        return bool(self._blobs) or any(growing.waits for growing in self._growing)

    def next_id(self) -> str:
        self._ids += 1
        return f"a{self._ids}"

    def add(self, artifact: Artifact) -> None:
        """One whose bytes somebody else has stored."""
        self._places -= 1
        self._room -= artifact.size
        self.artifacts.append(artifact)

    def put(self, data: bytes, *, name: str, kind: ArtifactKind, mime: str) -> Artifact | None:
        """None when there is no room."""
        if self._places <= 0 or len(data) > self._room:
            self.refuse(len(data))
            return None
        is_big = kind is ArtifactKind.OVERSIZED
        artifact = Artifact(
            id=self.next_id(),
            name=name,
            kind=kind,
            mime=mime,
            size=len(data),
            digest=_digest(data),
            preview=_beginning(data, self._preview_chars) if is_big else None,
        )
        self.add(artifact)
        self._blobs.append(Blob(artifact=artifact.id, mime=mime, digest=artifact.digest, data=data))
        return artifact

    def spill(self, data: bytes, *, name: str, mime: str) -> tuple[Spilled, Artifact | None]:
        """What stands in a value's place, and where the value is, if there was room."""
        artifact = self.put(data, name=name, kind=ArtifactKind.OVERSIZED, mime=mime)
        spilled = Spilled(
            artifact=artifact.id if artifact else None,
            size=len(data),
            digest=artifact.digest if artifact else _digest(data),
            preview=_beginning(data, self._preview_chars),
        )
        return spilled, artifact

    def begin(self, name: str, *, keep: bool = True) -> Growing:
        """A text that comes in parts. Call its `end`. One that is not to be kept is lost."""
        growing = Growing(self, name, has_place=keep and self._places > 0)
        self._places -= growing.has_place
        self._growing.append(growing)
        return growing

    def refuse(self, size: int) -> None:
        """An artifact for which there is no room."""
        self.lost += 1
        self.lost_bytes += size

    def take(self) -> tuple[Blob, ...]:
        """Everything that gathered, once."""
        for growing in self._growing:
            growing.hand_over()
        blobs, self._blobs = self._blobs, []
        return tuple(blobs)

    # -- for `Growing`

    def admit(self, size: int) -> int:
        """How many of so many bytes are kept."""
        kept = min(size, self._room)
        self._room -= kept
        return kept

    def gather(self, blob: Blob) -> None:
        self._blobs.append(blob)

    def ended(self, growing: Growing, artifact: Artifact | None) -> None:
        self._growing.remove(growing)
        if artifact is not None:
            self.artifacts.append(artifact)

    def preview(self, data: bytes) -> str:
        return _beginning(data, self._preview_chars)


class Growing:
    """An oversized text while it comes. Where the room ends it ends, too: with a whole character,
    and with no holes."""

    MIME = "text/plain"

    def __init__(self, shelf: Shelf, name: str, *, has_place: bool) -> None:
        self.has_place = has_place
        self._shelf = shelf
        self._name = name
        self._id = shelf.next_id() if has_place else ""
        self._preview = ""
        self._size = 0
        self._lost = 0
        self._handed_over = 0  # bytes
        self._waiting = bytearray()
        self._hash = hashlib.sha256()

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def add(self, data: bytes) -> None:
        kept = self._shelf.admit(len(data)) if self.has_place and not self._lost else 0
        if kept < len(data):
            self._lost += len(data) - kept
            data = data[:kept].decode(errors="ignore").encode()
            self._lost += kept - len(data)
        if not self._size:
            self._preview = self._shelf.preview(data)
        self._size += len(data)
        self._hash.update(data)
        self._waiting += data

    def hand_over(self) -> None:
        """What has come, as a part."""
        if self._waiting:
            self._shelf.gather(
                Blob(
                    artifact=self._id,
                    mime=self.MIME,
                    digest="",
                    data=bytes(self._waiting),
                    offset=self._handed_over,
                )
            )
            self._handed_over += len(self._waiting)
            self._waiting.clear()

    def end(self) -> Artifact | None:
        """None when nothing of it was kept."""
        self.hand_over()
        if self._lost:
            self._shelf.refuse(self._lost)
        artifact = Artifact(
            id=self._id,
            name=self._name,
            kind=ArtifactKind.OVERSIZED,
            mime=self.MIME,
            size=self._size,
            digest=f"sha256:{self._hash.hexdigest()}",
            preview=self._preview,
        )
        kept = artifact if self._size else None
        self._shelf.ended(self, kept)
        return kept


def is_binary(mime: str) -> bool:
    """Whether values of this type are bytes in base64."""
    return mime in _EXTENSIONS or mime.startswith(_BINARY_TREES)


def decoded(mime: str, value: Json) -> bytes | None:
    """The bytes of an image, a sound and the like; None for everything else."""
    if not is_binary(mime) or not isinstance(value, str):
        return None
    try:
        return base64.b64decode("".join(value.split()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def file_name(stem: str, mime: str) -> str:
    """As people call it. The type is of a kernel, and may be anything."""
    essence = mime.partition(";")[0].strip()
    subtype = essence.rpartition("/")[2].removeprefix("x-")
    is_usual = len(subtype) <= 8 and subtype.isascii() and subtype.isalnum()
    return f"{stem}.{_EXTENSIONS.get(essence, subtype if is_usual else 'bin')}"


def safe_mime(mime: str) -> str:
    """A type of a kernel as it may stand in a header, without parameters."""
    essence = mime.partition(";")[0].strip()
    return essence if _MIME.fullmatch(essence) else UNKNOWN_MIME


def whereabouts(mime: str, item: Spilled) -> str:
    """For people who see the output without its value."""
    if item.artifact is None:
        return f"A {mime} value of {item.size} bytes was not kept: the run had no room for it."
    return f"A {mime} value of {item.size} bytes is kept as artifact {item.artifact} of the run."


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _beginning(data: bytes, chars: int) -> str:
    return data[: 4 * chars].decode(errors="ignore")[:chars]
