"""What a deployer can choose about kernels, as plain frozen values.

Knows names, units and defaults. Must not know where they come from (`config.py` reads them from
traitlets) nor what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

Transport: TypeAlias = Literal["ipc", "tcp"]
Encryption: TypeAlias = Literal["disabled", "auto", "required"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSettings:
    """Patterns are those of the shell (`*`, `?`), case matters."""

    #: Name of the kernelspec for requests that name none; None: `python3`, else the first there is.
    default_spec: str | None = None
    #: Folders of kernelspecs that are searched before Jupyter's own.
    spec_folders: tuple[Path, ...] = ()
    #: How we talk to local kernels; tcp is taken anyway where the path of a socket gets too long.
    transport: Transport = "ipc"
    #: CurveZMQ. `auto`: on tcp, where the kernelspec declares it. `required`: always, or no start.
    transport_encryption: Encryption = "auto"
    #: Whether ipykernel writes its SQLite history; it costs half of a cell's time.
    history: bool = False
    #: Where the private folder of each kernel is made; None: $XDG_RUNTIME_DIR, else the temporary
    #: folder. The shorter the better: the path of a socket has 107 bytes.
    runtime_dir: Path | None = None
    #: Soft limit of a kernel's descriptors; None: what the gateway was started with.
    descriptors: int | None = None
    #: How much kernels step back when processors are short, beyond what the gateway does: nice(1).
    nice: int = 0
    #: Whether ipykernels are forked from a fork server, a process that has imported what they need.
    #: Each owner has servers of his own.
    fork_server: bool = True
    #: Fork servers at one time; kernels of other owners are then started as usual.
    fork_servers: int = 8
    #: Modules that they import beside ipykernel, for all kernels.
    fork_preload: tuple[str, ...] = ()
    #: More variables that modules read when they are imported: kernels that differ in one come from
    #: different fork servers. Patterns.
    fork_environment: tuple[str, ...] = ()
    #: Which of the gateway's own variables kernels inherit.
    env_passlist: tuple[str, ...] = ("*",)
    #: Which of them no kernel ever sees, whatever the pass-list says.
    env_secrets: tuple[str, ...] = (
        "KERNEL_GATEWAY_*",
        "KG_*",  # of jupyter_kernel_gateway, which may share our environment
        "BACKEND_ACCESS_KEY",  # of whoever tried the client in the shell that started us
        "BACKEND_SECRET_KEY",
        "JUPYTER_TOKEN",
        "JUPYTER_GATEWAY_AUTH_TOKEN",
        "JUPYTERHUB_API_TOKEN",
        "JPY_API_TOKEN",
        "CONFIGPROXY_AUTH_TOKEN",
    )
