"""Whether the system has killed a process for want of memory.

Linux counts such kills for each control group, and says nothing of whom it has hit. So a process
that SIGKILL has ended was meant when the count of its group has risen since it started. Knows the
files of cgroups, version 2 and 1; must not know kernels. Where nothing is counted, nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Count:
    """Of the kills in one group."""

    file: Path
    kills: int


class OomKills:
    """Of all processes of one launcher: they may share a group, and each kill has one victim."""

    def __init__(self, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> None:
        self._proc = proc
        self._cgroups = cgroups
        self._explained: dict[Path, int] = {}

    def count_of(self, pid: int) -> Count | None:
        """Of the group that the process is in at this moment. Reads files."""
        for file in self._files_of(pid):
            kills = _kills(file)
            if kills is not None:
                return Count(file, kills)
        return None

    def explains(self, before: Count) -> bool:
        """A kill more than `before`, that was no other's end. Ask once for each victim. Reads a
        file."""
        now = _kills(before.file)
        known = max(before.kills, self._explained.get(before.file, 0))
        if now is None or now <= known:
            return False
        self._explained[before.file] = known + 1
        return True

    def _files_of(self, pid: int) -> list[Path]:
        """The likely ones first. A container may have its own group mounted as the root of all."""
        files: list[Path] = []
        for line in _text(self._proc / str(pid) / "cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            group = path.lstrip("/")
            if "memory" in controllers.split(","):
                root = self._cgroups / "memory"
                files[:0] = [root / group / "memory.oom_control", root / "memory.oom_control"]
            elif not controllers:
                files += [
                    root / path / "memory.events"
                    for root in (self._cgroups, self._cgroups / "unified")
                    for path in (group, "")
                ]
        return files


def _kills(file: Path) -> int | None:
    for line in _text(file).splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
