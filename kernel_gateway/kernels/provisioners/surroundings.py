"""What a process inherits from whoever starts it, beside its variables; and the packages on disk.

A kernel is to have the limits, the control group and the namespaces of the program that asks for
it, and these come from the process that forks. Above all, a number of a process means nothing in
another namespace. Knows /proc.
"""

from __future__ import annotations

import hashlib
import os
import site
import sys
from pathlib import Path

_ME = Path("/proc/self")
_TEXTS = ("cgroup", "limits", "oom_score_adj")
_NAMESPACES = (
    *("cgroup", "ipc", "mnt", "net", "pid_for_children", "time_for_children", "user", "uts"),
)
_STATUS = (
    *("Uid", "Gid", "Groups", "Umask", "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed"),
    *("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
)
_PACKAGES = ("site-packages", "dist-packages")


def surroundings() -> str:
    """The same word for the same surroundings."""
    told = [
        *(_text(_ME / name) for name in _TEXTS),
        *(_link(_ME / "ns" / name) for name in _NAMESPACES),
        *(line for line in _text(_ME / "status").splitlines() if line.startswith(_STATUS)),
        str(os.getpriority(os.PRIO_PROCESS, 0)),
    ]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def packages_stamp() -> str:
    """Another one as soon as a package comes, goes or is replaced: its folder then changes."""
    folders = [folder for folder in sys.path if os.path.basename(folder) in _PACKAGES]
    if site.ENABLE_USER_SITE and site.USER_SITE is not None:  # it may come into being
        folders.append(site.USER_SITE)
    return " ".join(f"{folder}:{_changed_ns(folder)}" for folder in dict.fromkeys(folders))


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # an older kernel has it not
        return ""


def _link(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:
        return ""
