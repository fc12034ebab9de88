"""What a reader of a run is told, where `service.py` has no value for it.

A gateway can be newer than its client, and can tell of a gap in what it has kept. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - for `get_type_hints`
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kernel_gateway.messaging.strict_json import Json  # noqa: TC001 - for `get_type_hints`

if TYPE_CHECKING:
    from kernel_gateway.runs.records import Body, Seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Records that were asked for and are no longer kept. What is behind them follows."""

    kind: ClassVar[str] = "gap"
    first: Seq
    last: Seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A record in a form that this client does not know; a newer gateway's."""

    kind: str
    fields: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A record as it has come over the wire."""

    seq: Seq  # of a gap that of its last record
    at: float  # wall clock
    step: int | None  # index of the step; None for what concerns the run
    body: Body | Gap | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPage:
    """Records behind a cursor, oldest first."""

    records: tuple[Told, ...]
    next: Seq  # give it as `after`
    finished: bool  # the run is over and this page holds its last record (late ones apart)
    sealed: bool  # ... and none will come behind it
