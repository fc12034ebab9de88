"""Settings of the engine. Values only; `config.py` fills them from the user's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel_gateway.execution.languages import COMMAND_KERNEL, LANGUAGES, Language
from kernel_gateway.runs.log import LogLimits
from kernel_gateway.webhooks.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: A kernel of a run's own may take so much longer to start than its run may wait: so the run ends
#: by its limit, and says so.
START_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CullingSettings:
    cull_idle_timeout: float = 0.0  # seconds without activity; 0: never
    cull_idle_most_s: float | None = None  # that a kernelspec or a client can ask for
    cull_interval: float = 300.0  # seconds until an idle kernel with clients is looked at again
    cull_connected: bool = False  # even with clients connected
    cull_busy: bool = False  # even while it executes, or runs wait for it
    cull_sessions: bool = False  # with those that have a folder of their own
    #: What a client sends that is no activity: it does so by itself.
    untracked_message_types: tuple[str, ...] = (
        "comm_info_request",
        "kernel_info_request",
        "shutdown_request",
        "interrupt_request",
        "debug_request",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    queue_bound: int = 1000  # runs that may wait for one kernel, or for one of their own
    max_kernels: int | None = None  # of the whole gateway; None: no limit
    max_kernels_per_owner: int | None = None
    max_kernels_per_spec: Mapping[str, int] = field(default_factory=dict)  # others: no limit
    own_kernels: int = 8  # at one time, of runs that bring their own; the others wait their turn
    #: Warm kernels of each owner, started before he asks, by kernelspec.
    warm: Mapping[str, int] = field(default_factory=dict)
    warm_memory: int = 2**31  # bytes of all of them together
    command_spec: str = COMMAND_KERNEL  # kernelspec for the steps of batch runs
    sessions_dir: Path | None = None  # where sessions have their folders; None: none can be made
    artifacts_dir: Path | None = None  # where kernels leave files for their runs; None: nowhere
    run_limit_s: float | None = None  # of a run that is executed by a call; None: no limit
    archive_bytes: int = 2**31  # of what is downloaded as one archive; it is packed on our disk
    start_limit_s: float = 60.0  # for a kernel to come up
    health_limit_s: float = 5.0  # for a kernel to say that it is well, and for its own check
    shutdown_grace_s: float = 1.0  # between a polite shutdown and SIGTERM
    restart_limit: int = 5  # deaths in a row, no run having ended well between them
    restart_backoff_s: float = 0.5  # before the second restart in a row; doubles with each
    restart_backoff_most_s: float = 8.0
    recent_runs: int = 1000  # finished runs a kernel remembers, for output of their threads
    tail_chars: int = 2**21  # of a run's log kept in memory for its readers
    retention_s: float = 7 * 86_400.0  # of a run after its end; then its ID answers 410
    sweep_every_s: float = 300.0  # between two looks for runs whose retention is over
    spool_bytes: int = 32 * 2**20  # of what a kernel has said and a client has not taken
    max_clients: int = 1000  # connected to the channels of one kernel
    absence_s: float = 3600.0  # for which a client's place is kept when it has gone
    absent_clients: int = 20  # whose places are kept, of one kernel
    max_cells: int = 10_000  # of clients, sent to one kernel and not ended
    languages: tuple[Language, ...] = LANGUAGES
    images: Mapping[str, str] = field(default_factory=dict)  # to a language or a kernelspec
    log: LogLimits = field(default_factory=LogLimits)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    culling: CullingSettings = CullingSettings()

    def artifact_dir(self, kernel_id: str) -> Path | None:
        """Where this kernel leaves files for its runs."""
        return None if self.artifacts_dir is None else self.artifacts_dir / kernel_id

    def own_start_limit_s(self, limit_s: float | None) -> float:
        """For the kernel of a run's own to come up, when its run waits so long for that."""
        return (self.start_limit_s if limit_s is None else limit_s) + START_MARGIN_S
