"""Files on their way to a run, and home from it.

Knows the caller's folders, and artifacts by name. Must not know where a run is executed. Names of
artifacts come from the code that was run, so nothing is ever written outside of the folder that is
meant for them, over a link neither. A file that is there is replaced, as the run would have done it
there. What cannot be brought is told, and is no fault of the run.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kernel_gateway.errors import GatewayError, Refused, Unreachable
from kernel_gateway.runs.records import Artifact, ArtifactAdded, ArtifactKind, Dropped, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kernel_gateway.service import ArtifactContent, RunUid

MOST_BYTES = 2**30  # of all files that are sent: they are held in memory, and in base64 too
_UNFIT = {"Cc", "Cs"}  # controls, NUL among them, and surrogates
LINK = "inode/symlink"  # the type of an artifact that was a link


# -- there -----------------------------------------------------------------------------------------


def gathered(folder: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """Files, and all that lies in folders, by their paths below the folder. Blocks.

    Raises `Refused` for what lies outside of it or is no file, and when it is too much.
    """
    folder = Path(os.path.normpath(folder))
    found: dict[str, bytes] = {}
    room = MOST_BYTES
    for name in names:
        top = Path(os.path.normpath(folder / name))
        if not top.is_relative_to(folder):
            raise Refused(f"{name} is outside of the working folder {folder}: it cannot be sent.")
        try:
            for path in _files(top):
                room -= path.stat().st_size
                if room < 0:
                    raise Refused(f"The files to be sent have more than {MOST_BYTES} bytes.")
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
        except OSError as fault:
            raise Refused(f"{fault.filename or top} cannot be read: {fault.strerror}.") from fault
    return found


def _files(top: Path) -> Iterator[Path]:
    """A link stands for the file that it leads to; one to a folder could lead anywhere."""
    if not top.is_dir():
        yield _checked(top)
        return
    for above, folders, names in os.walk(top, onerror=_raise):
        folders.sort()
        for name in folders:
            if os.path.islink(os.path.join(above, name)):
                raise Refused(f"{above}/{name} is a link to a folder: send what it leads to.")
        for name in sorted(names):
            yield _checked(Path(above, name))


def _checked(path: Path) -> Path:
    if not path.is_file():
        what = "is neither a file nor a folder" if os.path.lexists(path) else "is not there"
        raise Refused(f"{path} {what}: it cannot be sent.")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise Refused(f"{str(path)!r} has a name that is not UTF-8: it cannot be sent.") from None
    return path


def _raise(fault: OSError) -> None:
    """A folder that cannot be looked into is not an empty one."""
    raise fault


# -- and back --------------------------------------------------------------------------------------


class Keeper(Protocol):
    """What is wanted of an engine."""

    async def artifact(self, uid: RunUid, artifact: str) -> ArtifactContent: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """Where files belong."""

    work: Path  # those of the working folder
    artifacts: Path  # those that the code has left as artifacts; made when there are any


@dataclass(slots=True)
class Findings:
    """What a run has left behind, as its records tell it. The bytes of outputs are none of it: they
    are in the notebook. Lines that were too long for it are."""

    artifacts: list[Artifact] = field(default_factory=list)
    _oversized: dict[str, Artifact] = field(default_factory=dict)  # by their IDs

    def tell(self, event: object) -> None:
        if not isinstance(event, Record):
            return
        match event.body:
            case ArtifactAdded(artifact=artifact) if artifact.kind is ArtifactKind.OVERSIZED:
                self._oversized[artifact.id] = artifact
            case ArtifactAdded(artifact=artifact) if event.step is None:
                self.artifacts.append(artifact)
            case Dropped(artifact=str(whole)) if whole in self._oversized:
                self.artifacts.append(self._oversized.pop(whole))


@dataclass(slots=True)
class Brought:
    """What has come of it."""

    work: int = 0
    artifacts: int = 0
    faults: list[str] = field(default_factory=list)  # sentences without an end
    is_cut_short: bool = False  # somebody did not want to wait for it

    def give_up(self, number: int, why: str) -> None:
        """`number` files are left where they are."""
        if number:
            self.faults.append(f"Not brought, as {why}: {_files_said(number)}")

    def line(self, homes: Homes) -> str:
        """For people; empty when there was nothing to be brought."""
        parts = [
            f"{_files_said(number)} in {folder}"
            for number, folder in ((self.work, homes.work), (self.artifacts, homes.artifacts))
            if number
        ]
        return "; ".join([*([f"Brought {' and '.join(parts)}"] if parts else []), *self.faults])


async def bring(
    engine: Keeper,
    uid: RunUid | None,
    found: Findings,
    homes: Homes,
    *,
    patience: asyncio.Timeout | None = None,
) -> Brought:
    """Put each file where it belongs. `uid` is None of a run that nobody can be asked for any more.
    Nothing that goes wrong is raised, but `asyncio`'s own. When `patience`, which is not entered
    yet, comes to its end, the rest is left."""
    brought = Brought()
    left = list(found.artifacts)
    try:
        async with patience or asyncio.timeout(None):
            await _bring_all(engine, uid, left, homes, brought)
    except TimeoutError:
        brought.is_cut_short = True
        brought.give_up(len(left), "it was stopped")
    return brought


async def _bring_all(
    engine: Keeper, uid: RunUid | None, left: list[Artifact], homes: Homes, brought: Brought
) -> None:
    """What is done with goes from `left`."""
    if uid is None:
        brought.give_up(len(left), "the run is lost")
        return
    while left:
        artifact = left[0]
        is_work = artifact.kind is ArtifactKind.WORK
        folder = homes.work if is_work else homes.artifacts
        try:
            target = await asyncio.to_thread(_target, folder, artifact)
            await _write(target, await engine.artifact(uid, artifact.id))
        except Unreachable as fault:  # each of the others would be waited for as long
            brought.give_up(len(left), f"the gateway is away ({_why(fault)})")
            return
        except (GatewayError, OSError) as fault:
            brought.faults.append(f"{_shown(artifact.name)} was not brought: {_why(fault)}")
        else:
            brought.work += is_work
            brought.artifacts += not is_work
        del left[0]


def _target(folder: Path, artifact: Artifact) -> Path:
    """With the folders above it, which are made. Blocks. Raises `Refused` and `OSError`."""
    parts = artifact.name.split("/")
    if not all(map(_is_name, parts)):
        raise Refused("its name is no path below the folder")
    if artifact.mime == LINK:
        raise Refused("it is a link")
    folder = folder.resolve()
    target = folder.joinpath(*parts)
    if not target.parent.resolve().is_relative_to(folder):
        raise Refused("a link on its way leads out of the folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _is_name(part: str) -> bool:
    """Spaces of all kinds are in use; what steers a terminal, or is no text at all, is not."""
    return part not in {"", ".", ".."} and not any(unicodedata.category(c) in _UNFIT for c in part)


async def _write(target: Path, content: ArtifactContent) -> None:
    """As a whole: whatever happens, what was there is there until all of it has come."""
    part = target.with_name(f".kernel-gateway-{secrets.token_hex(8)}.part")
    # Not in a thread, which would leave it open to nobody when we are cancelled meanwhile.
    file = part.open("xb")
    try:
        with file:
            async for piece in content.pieces:
                await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(_put, part, target)
    except BaseException:
        await asyncio.to_thread(part.unlink, missing_ok=True)
        raise


def _put(part: Path, target: Path) -> None:
    """A script that is replaced stays one that can be run."""
    with suppress(FileNotFoundError):
        status = target.lstat()
        if stat.S_ISREG(status.st_mode):
            part.chmod(stat.S_IMODE(status.st_mode))
    part.replace(target)


def _files_said(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:97]}...")


def _why(fault: GatewayError | OSError) -> str:
    text = fault.message if isinstance(fault, GatewayError) else fault.strerror
    return (text or type(fault).__name__).rstrip(".")
