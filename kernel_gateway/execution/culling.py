"""Which kernels are ended because nobody uses them any more, and when.

Knows how long each kernel may be idle, and by its session whether it is. Must not know how a kernel
is ended (`cull` does that). There is one timer, for the moment at which the first of them can be
due: whatever happens meanwhile only makes that later.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.execution.tasks import Tasks
from kernel_gateway.kernels.kernel import told_us
from kernel_gateway.service import KernelState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from kernel_gateway.execution.clock import Clock, Handle
    from kernel_gateway.execution.session import Session
    from kernel_gateway.execution.settings import CullingSettings
    from kernel_gateway.kernels.kernel import Launcher
    from kernel_gateway.runs.events import Instant

log = logging.getLogger("kernel_gateway.execution")

NEVER_S = 0.0  # as a limit of idleness


class Culler:
    """Tell it of each session: `watch` when it is made, `forget` when it is ended."""

    def __init__(
        self,
        launcher: Launcher,
        settings: CullingSettings,
        clock: Clock,
        cull: Callable[[Session, float], Coroutine[Any, Any, None]],
    ) -> None:
        self._launcher = launcher
        self._settings = settings
        self._clock = clock
        self._cull = cull
        self._limits: dict[str, float] = {}  # seconds, by session; of those that are culled at all
        self._sessions: dict[str, Session] = {}  # with those whose limit is still being read
        self._specs: dict[str, float | None] = {}  # what each kernelspec asks for; read once
        self._reading: set[str] = set()
        self._timer: Handle | None = None
        self._timer_at = math.inf
        self._tasks = Tasks("culling")

    # -- which, and after how long -----------------------------------------------------------------

    def watch(self, session: Session, asked_s: float | None) -> None:
        """`asked_s`: by who made the kernel; None: its kernelspec decides, else the settings."""
        if session.folder is not None and not self._settings.cull_sessions:
            return
        self._sessions[session.id] = session
        spec = session.origin.spec_name.lower()
        if asked_s is not None:
            self._limit(session, self._capped(asked_s))
        elif spec in self._specs:
            self._limit(session, self._limit_of_spec(spec))
        elif spec not in self._reading:
            self._reading.add(spec)
            self._tasks.start(self._read(spec))

    def forget(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        self._limits.pop(session.id, None)

    async def _read(self, spec: str) -> None:
        """A kernelspec that cannot be read asks for nothing."""
        asked: float | None = None
        try:
            asked = asked_by((await asyncio.to_thread(self._launcher.kernelspec, spec)).spec)
        except KernelSpecNotFound as fault:
            log.warning("its kernels are culled as all others are: %s", fault)
        self._specs[spec] = asked
        self._reading.discard(spec)
        for session in list(self._sessions.values()):
            if session.id not in self._limits and session.origin.spec_name.lower() == spec:
                self._limit(session, self._limit_of_spec(spec))

    def _limit_of_spec(self, spec: str) -> float:
        asked = self._specs[spec]
        return self._settings.cull_idle_timeout if asked is None else self._capped(asked)

    def _capped(self, asked_s: float) -> float:
        most = self._settings.cull_idle_most_s
        if most is None:
            return asked_s
        return most if asked_s == NEVER_S else min(asked_s, most)

    def _limit(self, session: Session, limit_s: float) -> None:
        if limit_s == NEVER_S:
            self.forget(session)
            return
        self._limits[session.id] = limit_s
        self._look_at(self._due(session, self._clock.now()))

    # -- when --------------------------------------------------------------------------------------

    def _due(self, session: Session, now: Instant) -> float:
        """On the monotonic clock: not before this, and then if nothing has happened."""
        limit_s = self._limits[session.id]
        due = session.last_activity.mono + limit_s
        if session.view().state is KernelState.DEAD:
            return due
        if session.is_busy and not self._settings.cull_busy:
            return now.mono + limit_s  # from its end on, at the earliest
        if session.connections and not self._settings.cull_connected:
            return max(due, now.mono + self._settings.cull_interval)
        return due

    def _look_at(self, due: float) -> None:
        if due >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._clock.call_later(max(0.0, due - self._clock.now().mono), self._look)

    def _look(self) -> None:
        self._timer, self._timer_at = None, math.inf
        now = self._clock.now()
        for session_id in list(self._limits):
            session = self._sessions[session_id]
            due = self._due(session, now)
            if due > now.mono:
                self._look_at(due)
            else:
                self._end(session, now)

    def _end(self, session: Session, now: Instant) -> None:
        idle_s = now.mono - session.last_activity.mono
        log.warning("%r is culled: idle for %.0f s", session, idle_s)
        self._tasks.start(self._cull(session, idle_s))

    # -- its end -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Nothing more is culled; what is being culled goes on: `join`."""
        self._sessions.clear()
        self._limits.clear()
        if self._timer is not None:
            self._timer.cancel()

    async def join(self) -> None:
        await self._tasks.join()


def asked_by(spec: Mapping[str, object]) -> float | None:
    """Seconds that a kernel.json asks for; None when it asks for nothing that we understand."""
    asked = told_us(spec).get("cull_idle_timeout")
    if asked is None and isinstance(metadata := spec.get("metadata"), dict):
        asked = metadata.get("cull_idle_timeout")  # as jupyter_server has it
    if isinstance(asked, bool) or not isinstance(asked, int | float):
        return None
    return float(asked) if math.isfinite(asked) and asked >= 0 else None
