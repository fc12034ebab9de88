"""What can be stored, and how it is handed over. Frozen values: they cross to another thread.

Knows the values of the floors below. Must not know tables, SQL or files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from kernel_gateway.runs.records import Seq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.errors import GatewayError
    from kernel_gateway.runs.log import Batch
    from kernel_gateway.runs.plan import RunPlan
    from kernel_gateway.runs.records import Artifact
    from kernel_gateway.runs.view import RunView
    from kernel_gateway.service import Delivery, Owner, RunId, RunUid, Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run. Its names, digest and plan are written once; later puts leave them as they are.

    The measures of the log are what the store *has*, whenever it is asked: they are written with
    the records and not with the run, so after a crash they are true without any repair.
    """

    uid: RunUid
    run_id: RunId
    owner: Owner
    session: str  # the scope of the run ID: a kernel's ID, or empty for a kernel of its own
    kernel_id: str
    kernel_name: str
    generation: int | None
    digest: str  # of the body, for "same ID, same body"
    plan: RunPlan  # read without its code where that is long; `Store.plan` has it all
    labels: Mapping[str, str] = field(default_factory=dict)  # written once
    webhook: Webhook | None = None  # written once
    view: RunView
    artifacts: tuple[Artifact, ...] = ()
    deliveries: tuple[Delivery, ...] = ()  # ignored in a put: see `PutDeliveries`
    log_next: Seq = Seq(1)  # ignored in a put, as are the next two
    log_bytes: int = 0
    log_dropped: int = 0
    expires_at: float | None  # wall clock; set with the end


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are listed. None: all."""

    kernel_id: str | None = None
    labels: tuple[tuple[str, str | None], ...] = ()  # all of them; None: whatever its value
    finished: bool | None = None
    outcome: str | None = None
    before: tuple[float, str] | None = None  # `created_at` and uid: those behind it in the list


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    id: str
    owner: Owner
    kernel_name: str
    created_at: float
    ended_at: float | None
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNotebookSession:
    """A path and its kernel, as Jupyter's clients know them."""

    id: str
    owner: Owner
    path: str  # one session a path and owner; who puts them sees to that
    name: str
    type: str
    kernel_id: str
    kernel_name: str
    created_at: float
    gone_at: float | None = None  # the kernel
    reason: str | None = None  # why it is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    access_key: str
    secret: str = field(repr=False)  # as it is: request signatures are computed from it
    owner: Owner
    created_at: float
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class PutRun:
    """Insert the run, or replace what changes of it."""

    run: StoredRun
    new: bool = False  # it cannot be there yet, so nothing has to be looked for


@dataclass(frozen=True, slots=True)
class AppendRecords:
    """The next records of a run. They must follow on the last one: no hole, nothing twice."""

    uid: RunUid
    batch: Batch


@dataclass(frozen=True, slots=True)
class PutDeliveries:
    """How far the deliveries of a run's webhook have come. Harmless when the run is gone."""

    uid: RunUid
    told: Seq  # everything up to this record was delivered, or given up
    over: bool  # nothing more will be delivered
    deliveries: Sequence[Delivery]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWebhook:
    """Deliveries that a gateway has left undone."""

    run: StoredRun
    told: Seq


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """Remove a run with all that it left. Its ID is expired until its retention would have ended.

    Harmless when there is no such run. What comes later for it (output of a thread) is discarded.
    """

    uid: RunUid


@dataclass(frozen=True, slots=True)
class PutSession:
    session: StoredSession


@dataclass(frozen=True, slots=True)
class PutNotebookSession:
    session: StoredNotebookSession


@dataclass(frozen=True, slots=True)
class DeleteNotebookSession:
    """Harmless when there is none."""

    id: str


@dataclass(frozen=True, slots=True)
class PutKey:
    key: StoredKey


@dataclass(frozen=True, slots=True)
class Expire:
    """Retention is over: remove the runs, remember their IDs until `until`."""

    uids: Sequence[RunUid]
    until: float


@dataclass(frozen=True, slots=True)
class ForgetExpired:
    """IDs of expired runs that were remembered until `now` or less become unknown."""

    now: float


Write: TypeAlias = (
    PutRun
    | AppendRecords
    | PutDeliveries
    | DeleteRun
    | PutSession
    | PutNotebookSession
    | DeleteNotebookSession
    | PutKey
    | Expire
    | ForgetExpired
)


class Source(Protocol):
    """Something that has writes to give, now and then. All calls come on the loop's thread."""

    def take(self) -> Sequence[Write]:
        """The writer is free: everything that gathered. It is committed as one, or not at all."""

    def stored(self) -> None:
        """What the last `take` gave is committed; tell the readers."""

    def refused(self, fault: GatewayError) -> None:
        """What the last `take` gave can never be stored, by a mistake of ours: it is dropped.

        The store has logged it. The log of the run stays as it was before, so nothing can follow
        on it any more: end the run, do not go on appending.
        """
