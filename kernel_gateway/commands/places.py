"""Where an artifact is put below a folder.

Names of artifacts come from the code that was run: what they say is a wish. Knows paths. Nothing
that this module returns lies outside of its folder.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kernel_gateway.errors import Refused
from kernel_gateway.runs.records import Artifact, ArtifactKind

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_NAME_BYTES = 200  # of one part; file systems end at 255, and a file in the making has more
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def places(artifacts: Iterable[Artifact]) -> list[tuple[Artifact, PurePosixPath]]:
    """A place for each, relative to the folder, no two the same."""
    taken: set[PurePosixPath] = set()
    found = []
    for artifact in artifacts:
        place = _wished(artifact)
        if place in taken:
            place = place.with_name(f"{_id(artifact)}-{place.name}")
        taken.add(place)
        found.append((artifact, place))
    return found


def _wished(artifact: Artifact) -> PurePosixPath:
    """Its name if that is one, else its ID."""
    parts = artifact.name.split("/")
    if artifact.kind is ArtifactKind.OVERSIZED:
        parts = ["_".join(parts)]  # what it is of, and no path
    if all(map(_is_plain, parts)):
        return PurePosixPath(*parts)
    return PurePosixPath(_id(artifact))


def _is_plain(part: str) -> bool:
    if part in {"", ".", ".."} or not part.isprintable():
        return False
    return len(part.encode()) <= _MOST_NAME_BYTES


def _id(artifact: Artifact) -> str:
    """The gateway's own, which is no path either unless somebody else plays its part."""
    if not _ID.fullmatch(artifact.id):
        raise Refused(f"The gateway tells of an artifact {artifact.id!r}, which is no ID.")
    return artifact.id


def made_place(folder: Path, place: PurePosixPath) -> Path:
    """With the folders above it, which are made. Raises `Refused` for a link among them, and when
    something is there already: nothing is replaced that the code was not asked to write."""
    here = folder
    for part in place.parent.parts:
        here = here / part
        if here.is_symlink():
            raise Refused(f"{str(here)!r} is a link; nothing is written through it.")
        here.mkdir(exist_ok=True)
    target = folder / place
    if target.is_symlink() or target.exists():
        raise Refused(f"{str(target)!r} is there already.")
    return target
