"""What a kernel is started with: its environment and its arguments, decided and not yet done.

Knows settings and requests. Must not know processes; reads no global but what it is given.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.kernels.settings import KernelSettings

#: What a terminal's programs go by. A kernel has none, so what is said of ours would be wrong: its
#: commands would colour their output and start pagers that wait for a key.
_TERMINAL = {"TERM", "COLORTERM", "COLUMNS", "LINES", "PAGER", "GIT_PAGER", "MANPAGER"}
_IPYKERNEL = {"ipykernel", "ipykernel_launcher"}
_HISTORY = "--HistoryManager.enabled"
#: Programs of kernels whose ZeroMQ is not libzmq and knows tcp alone: Deno's, and the one of Java.
_TCP_ONLY = {"deno", "java", "run_kotlin_kernel"}


def kernel_environment(
    own: Mapping[str, str], requested: Mapping[str, str], settings: KernelSettings
) -> dict[str, str]:
    """The gateway's own variables without its secrets and its terminal, then those of the request.

    The provisioner adds the kernelspec's, and fills its `${NAME}` from what is here: no secret.
    """
    inherited = {name: value for name, value in own.items() if _passes(name, settings)}
    return {**inherited, **requested}


def _passes(name: str, settings: KernelSettings) -> bool:
    if name in _TERMINAL or _matches(name, settings.env_secrets):
        return False
    return _matches(name, settings.env_passlist)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def kernel_argv(argv: Sequence[str], settings: KernelSettings) -> list[str]:
    """History off for ipykernel, unless the kernelspec or the settings want it."""
    if settings.history or not _is_ipykernel(argv) or _says_itself(argv):
        return list(argv)
    return [*argv, f"{_HISTORY}=False"]


def speaks_ipc(argv: Sequence[str], metadata: Mapping[str, object]) -> bool:
    """As far as is known; a kernelspec may say `"transport": "tcp"` in its metadata."""
    if "transport" in metadata:
        return metadata["transport"] == "ipc"
    return not any(PurePath(argument).stem in _TCP_ONLY for argument in argv)


def _is_ipykernel(argv: Sequence[str]) -> bool:
    return any(PurePath(argument).stem in _IPYKERNEL for argument in argv)


def _says_itself(argv: Sequence[str]) -> bool:
    return any(argument.startswith(_HISTORY) for argument in argv)
