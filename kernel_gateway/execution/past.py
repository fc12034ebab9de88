"""A finished run that only the store still has. It reads like a live one, and no longer changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway.execution.live import info_of
from kernel_gateway.runs.answer import Standing
from kernel_gateway.runs.records import Completed, Record, Seq

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.service import RunInfo
    from kernel_gateway.store.store import Store
    from kernel_gateway.store.values import StoredRun


@dataclass(frozen=True, slots=True)
class PastRun:
    identity: StoredRun
    store: Store

    @property
    def told(self) -> Seq:
        """The last of its records."""
        return Seq(self.identity.log_next - 1)

    @property
    def over(self) -> bool:
        return True

    @property
    def standing(self) -> Standing:
        view = self.identity.view
        assert view.outcome is not None
        assert view.reason is not None
        ending = Completed(outcome=view.outcome, reason=view.reason, exit_code=view.exit_code)
        return Standing(completed=ending)

    async def read(self, after: Seq, limit: int) -> Sequence[Record]:
        """May give fewer than there are, though never none: a page is bounded in size, too."""
        return await self.store.records(self.identity.uid, after=after, limit=limit)

    def info(self) -> RunInfo:
        return info_of(self.identity)
