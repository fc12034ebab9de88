"""What a deployer can choose about the store, as plain frozen values.

Knows names, units and defaults. Must not know where they come from nor what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

#: `normal` survives the death of the gateway, `full` a loss of power (and costs an fsync a commit).
Durability: TypeAlias = Literal["normal", "full"]

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    #: Database, spill files and lock are in here; made private when it is made.
    folder: Path
    durability: Durability = "normal"
    #: How long the ID of a run is still known as expired (410) after its retention, which is set by
    #: who ends it (`expires_at`); then it is unknown (404).
    expired_s: float = 30 * _DAY_S
    #: Waiting for somebody else's transaction, before the store counts as unavailable.
    busy_timeout_s: float = 10.0
    #: Between tries of a commit that failed: the first wait, doubled each time up to the second.
    retry_first_s: float = 0.1
    retry_max_s: float = 2.0
    #: How long closing goes on trying to write what is left, before it gives up and says so.
    close_limit_s: float = 10.0
