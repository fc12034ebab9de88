"""Floor 2.5: the use cases, as one Protocol with its values.

Every door (REST, WebSocket, headless, client library) calls these and nothing else. Implemented in
process by `execution.local`; over HTTP by the client library. Knows what can be asked and what is
answered; must not know how.

All methods raise the errors of `errors.py`. Every call names its owner: what belongs to somebody
else does not exist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType, Protocol

from kernel_gateway.runs.answer import Answer, ConsoleItem, Cursor, Status
from kernel_gateway.runs.plan import Limits, Mode, RunPlan
from kernel_gateway.runs.records import Artifact, Record, Seq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from kernel_gateway.messaging.raw import RawMessage
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.state import RunState
    from kernel_gateway.runs.view import Outcome, RunView

Owner = NewType("Owner", str)  # who a credential belongs to
RunId = NewType("RunId", str)  # the client's name of a run, unique within (owner, session)
LOCAL_OWNER = Owner("local")  # of what is run in process, and of the one token of a server
RunUid = NewType("RunUid", str)  # ours, a UUID, unique for ever
DEFAULT_COMMAND = "*"  # of a batch step: what its language usually needs

__all__ = [
    "DEFAULT_COMMAND",
    "LOCAL_OWNER",
    "Answer",
    "ApiKey",
    "Artifact",
    "ArtifactContent",
    "BatchCommands",
    "ChannelsClient",
    "ChannelsLink",
    "Completion",
    "ConsoleItem",
    "Cursor",
    "Delivery",
    "ExecuteCall",
    "ExecuteMode",
    "FileEntry",
    "FileListing",
    "HealthCheck",
    "Helping",
    "KernelHealth",
    "KernelInfoView",
    "KernelOutput",
    "KernelRequest",
    "KernelSpecView",
    "KernelSpecsView",
    "KernelState",
    "Keys",
    "Limits",
    "LogPage",
    "Mode",
    "NotebookSessionChange",
    "NotebookSessionRequest",
    "NotebookSessionView",
    "Owner",
    "Parting",
    "Readiness",
    "Record",
    "RunId",
    "RunInfo",
    "RunPage",
    "RunPlace",
    "RunPlan",
    "RunQuery",
    "RunRequest",
    "RunUid",
    "Seq",
    "Service",
    "SessionEvent",
    "SessionEventName",
    "SessionRequest",
    "SessionView",
    "Status",
    "Vitality",
    "Webhook",
    "WebhookEvent",
    "WebhookView",
]


class KernelState(StrEnum):
    """The states that Jupyter's clients know."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RESTARTING = "restarting"  # because somebody has asked for it
    AUTORESTARTING = "autorestarting"  # because its process has died
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRequest:
    name: str | None = None  # kernelspec; None: the default one
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    start_limit_s: float | None = None  # None: the configured one
    cull_idle_s: float | None = None  # None: the kernelspec's, else the configured one; 0: never
    #: Its sockets without a subprotocol are those of a jupyter_server, which takes 10 MiB a frame.
    for_jupyter_server: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelInfoView:
    """A kernel as it stands."""

    id: str
    name: str  # of its kernelspec
    owner: Owner
    state: KernelState
    generation: int
    last_activity: float  # wall clock
    queue_length: int
    connections: int = 0
    reason: str | None = None  # of a death or a failed start
    language_info: Mapping[str, Json] = field(default_factory=dict)  # once it has been ready
    for_jupyter_server: bool = False  # as it was requested


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSpecView:
    """A kind of kernel that can be started."""

    name: str
    display_name: str
    language: str  # as its kernel.json names it; may be empty
    spec: Mapping[str, Json] = field(default_factory=dict)  # the content of its kernel.json
    resources: tuple[str, ...] = ()  # names of the files beside it: logos, kernel.js, kernel.css


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSpecsView:
    default: str  # what a `KernelRequest` without a name means; it need not be installed
    specs: tuple[KernelSpecView, ...]  # by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What could stand at the cursor, best first."""

    matches: tuple[str, ...]
    start: int  # the text from here ...
    end: int  # ... to here is what a match replaces; characters


@dataclass(frozen=True, slots=True)
class KernelOutput:
    """What a kernel's process has written to its own stdout and stderr, at its start and since:
    the text that no run can claim."""

    text: str  # the end of it, of the present generation or the last one
    dropped: int  # bytes before that, which are no longer kept
    generation: int


class Vitality(StrEnum):
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"  # it answers, and its own check says no
    UNRESPONSIVE = "unresponsive"  # it does not answer on control in time
    STARTING = "starting"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """What came of the user's own check; see `set_health_check`."""

    ok: bool | None  # None: it could not be made, and why
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelHealth:
    status: Vitality
    checked_at: float  # wall clock
    message: str = ""
    check: HealthCheck | None = None  # None: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether something new can be taken at this moment."""

    draining: bool
    store_fault: str | None  # why nothing can be stored at present
    kernels: int
    warm: int  # kernels that are nobody's yet, for whoever comes next
    runs: int  # that have not ended

    @property
    def ready(self) -> bool:
        return not self.draining and self.store_fault is None


# -- sessions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """A session with a folder of its own; made, or found again by its name."""

    image: str  # as the client calls it: a language, an image with registry and tag, a kernelspec
    name: str | None = None  # unique among the owner's sessions; None: its ID
    env: Mapping[str, str] = field(default_factory=dict)  # of its kernel and of each batch step
    tag: str | None = None  # the client's, for people
    reuse: bool = True  # false: a name that is taken is an error


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session as it stands. Its ID is the ID of its kernel."""

    id: str
    name: str
    owner: Owner
    image: str
    language: str
    tag: str | None
    env: Mapping[str, str]
    kernel: KernelInfoView
    created: bool  # by the call that gave this view
    created_at: float  # wall clock
    age_s: float  # of the monotonic clock
    run_count: int  # of runs so far; never falls


class SessionEventName(StrEnum):
    """What happens to a session, in this order and each once."""

    ENQUEUED = "enqueued"
    SCHEDULED = "scheduled"
    PREPARING = "preparing"
    CREATING = "creating"
    STARTED = "started"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    CANCELLED = "cancelled"  # it never came up

    @property
    def is_last(self) -> bool:
        """Nothing more is told of the session, but that it was ended."""
        return self in {SessionEventName.TERMINATED, SessionEventName.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    event: SessionEventName
    session_id: str
    session_name: str
    owner: Owner
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file, a folder or a link in a session's folder. Links are told and never followed."""

    name: str
    mode: int  # st_mode
    size: int  # bytes
    ctime: float  # wall clock, as the next two
    mtime: float
    atime: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FileListing:
    path: Path  # absolute, of the listed folder
    entries: tuple[FileEntry, ...]  # by name


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A pair of keys that may sign calls."""

    access_key: str
    secret: str = field(repr=False)
    owner: Owner


class Keys(Protocol):
    async def key(self, access_key: str) -> ApiKey | None:
        """None when it is unknown or revoked. Asked at each call, so that a revocation counts."""


# -- sessions as Jupyter's clients know them ------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookSessionRequest:
    """A document and the kernel that it is executed on; found again by its path."""

    path: str
    name: str = ""
    type: str = "notebook"
    kernel: KernelRequest = field(default_factory=KernelRequest)  # to be started
    kernel_id: str | None = None  # or this one, which is there


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookSessionChange:
    """What is None stays."""

    path: str | None = None
    name: str | None = None
    type: str | None = None
    kernel: KernelRequest | None = None  # a new one takes the place of the present one
    kernel_id: str | None = None  # or this one


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookSessionView:
    id: str
    path: str
    name: str
    type: str
    kernel: KernelInfoView  # dead, with the reason, when it has gone without its session
    created: bool = False  # by the call that gave this view


# -- the channels of a kernel ---------------------------------------------------------------------


class Parting(StrEnum):
    """Why a client's link to a kernel is over, though the client did not end it."""

    DELETED = "the kernel was deleted"
    REPLACED = "another connection of this session has taken over"
    TOO_MUCH = "too many requests wait for this kernel"
    TOO_SLOW = "too much was said that may not be dropped and was not read"


class ChannelsClient(Protocol):
    """The client's end of a link. Called on the loop; neither may block, nor raise."""

    def on_news(self) -> None:
        """There is something to `take`; told once, and again after a `take` has emptied it."""

    def on_parted(self, why: Parting) -> None:
        """The link is over; nothing more can be taken or passed on."""


@dataclass(frozen=True, slots=True)
class Helping:
    """What is next for a client, in order."""

    messages: Sequence[RawMessage]
    last: int  # number of the last of them, or of the one taken before; for `acknowledge`


class ChannelsLink(Protocol):
    """One client's link to a kernel, over all its generations. What a session has not acknowledged
    is kept for it: a later link with its ID takes it up there."""

    session_id: str

    def take(self, most_bytes: int) -> Helping:
        """About so much of what is next, at least one message if there is any."""

    def acknowledge(self, number: int) -> None:
        """The client has everything up to this one."""

    def pass_on(self, message: RawMessage) -> None:
        """To the kernel, at once; kept while it is starting. `MalformedMessage` for a request
        whose content is not what its type promises."""

    def detach(self) -> None:
        """The client has gone, perhaps to come back. Harmless when repeated."""


# -- runs ---------------------------------------------------------------------------------------


class WebhookEvent(StrEnum):
    """Which records of a run are delivered."""

    START = "start"  # the state changes up to running
    OUTPUT = "output"  # output, update, clear, error, metric, artifact
    LOGS = "logs"
    INPUT = "input"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    url: str
    events: tuple[WebhookEvent, ...] = tuple(WebhookEvent)
    secret: str | None = field(default=None, repr=False)  # None: deliveries are not signed
    trace: tuple[tuple[str, str], ...] = ()  # traceparent and tracestate of who created the run


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One of a webhook, as its last attempt has left it."""

    id: str
    attempt: int  # from 1
    status: int | None  # of the answer; None: there was none
    at: float  # wall clock
    first: Seq  # of its records
    last: Seq
    error: str = ""  # why there was no answer


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookView:
    """Without its secret."""

    url: str
    events: tuple[WebhookEvent, ...]
    deliveries: tuple[Delivery, ...] = ()  # the newest ones


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run to be created, or found again when its ID is known and its body the same.

    On a kernel that is there, on that of a session, or, when neither is named, on a kernel of its
    own, which is started for it and ends with it.
    """

    plan: RunPlan
    kernel_id: str | None = None
    session: str | None = None  # name or ID; of a notebook's session the ID
    kernel_name: str | None = None  # kernelspec of a kernel of its own; None: the default one
    run_id: RunId | None = None  # None: we assign one
    labels: Mapping[str, str] = field(default_factory=dict)  # to group runs; no part of the body
    webhook: Webhook | None = None
    # Of a kernel of its own, and of nothing else:
    cwd: Path | None = None  # where it starts
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # never stored
    #: A working folder of its own with these files, by their paths in it; instead of `cwd`. What is
    #: new or changed in it at the end becomes artifacts.
    files: Mapping[str, bytes] | None = field(default=None, repr=False)
    #: Names in `env` whose values are masked in all that the run leaves behind.
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A run with its names, its place and its log's measures."""

    id: RunId
    uid: RunUid
    owner: Owner
    mode: Mode
    kernel_id: str  # of a run with a kernel of its own that of the kernel it will have
    kernel_name: str
    generation: int | None
    queue_position: int | None  # 0 = next; None when not queued
    view: RunView
    log_next: Seq  # the sequence number that the next record will get, as far as told
    log_bytes: int  # of text stored
    log_dropped: int  # bytes lost for good
    context: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()  # in order of their records
    webhook: WebhookView | None = None
    cancel_on_disconnect: bool = False
    created: bool = False  # by the call that gave this


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactContent:
    """Read `pieces` once, or call its `aclose`."""

    artifact: Artifact
    pieces: AsyncIterator[bytes]


class ExecuteMode(StrEnum):
    QUERY = "query"
    BATCH = "batch"
    CONTINUE = "continue"
    INPUT = "input"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCommands:
    """Lines for the shell. None or empty leaves a step out, `*` is the default of its language."""

    clean: str | None = None
    build: str | None = None
    exec: str | None = None

    @property
    def want_defaults(self) -> bool:
        """Then it matters what language they are for."""
        return DEFAULT_COMMAND in {self.clean, self.build, self.exec}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteCall:
    """One call of the execute API. Which run it means is decided by kernel and run ID."""

    kernel_id: str
    mode: ExecuteMode
    run_id: RunId | None
    code: str = ""
    commands: BatchCommands = BatchCommands()  # of a batch
    wait_s: float = 2.0
    after: Cursor | None = None  # None: behind the last answer given
    prompt_id: int | None = None
    #: Backend.AI's rule: another body under the ID of a run that is over makes a new run.
    reuse_finished: bool = False


@dataclass(frozen=True, slots=True, order=True)
class RunPlace:
    """Of a run among all, by the time of its creation. As text: `1800000000.25_UID`."""

    created_at: float
    uid: str

    def __str__(self) -> str:
        return f"{self.created_at!r}_{self.uid}"

    @classmethod
    def parse(cls, text: str) -> RunPlace:
        """Raises `ValueError` for anything but a place that we gave out."""
        at, _, uid = text.partition("_")
        place = cls(float(at), uid)
        if str(place) != text or not (math.isfinite(place.created_at) and uid.isprintable()):
            raise ValueError(f"not a place: {text!r}")
        return place


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs are listed, newest first."""

    kernel_id: str | None = None
    state: RunState | None = None
    outcome: Outcome | None = None
    labels: tuple[tuple[str, str | None], ...] = ()  # all of them; None: whatever its value
    limit: int = 100
    before: RunPlace | None = None  # `next` of the page before


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    runs: tuple[RunInfo, ...]
    next: RunPlace | None  # give it as `before`; None: there are no more


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Records behind a cursor, oldest first."""

    records: tuple[Record, ...]
    next: Seq  # give it as `after`
    finished: bool  # the run is over and this page holds its last record (late ones apart)
    #: ... and none will come behind it: a kernel of the run's own, which could say more, is gone.
    sealed: bool = False


class Service(Protocol):
    def readiness(self) -> Readiness:
        """Of the gateway as a whole."""

    # -- kernels
    async def kernelspecs(self) -> KernelSpecsView:
        """What can be started at this moment; unreadable ones are left out."""

    async def kernelspec(self, name: str) -> KernelSpecView:
        """That of this name, in whatever case. `KernelSpecNotFound`."""

    async def kernelspec_file(self, name: str, file: str) -> bytes:
        """One of its `resources`, or another file below its folder. `KernelSpecNotFound`,
        `FileNotThere`, `OutsideFolder`, `TooLarge`."""

    async def create_kernel(self, owner: Owner, request: KernelRequest) -> KernelInfoView:
        """At once, before the kernel is there. `KernelSpecNotFound`, `TooManyKernels`."""

    async def kernels(self, owner: Owner) -> list[KernelInfoView]: ...

    async def kernel(self, owner: Owner, kernel_id: str) -> KernelInfoView:
        """`KernelNotFound`."""

    async def kernel_ready(self, owner: Owner, kernel_id: str) -> KernelInfoView:
        """When the kernel has come up. `KernelDead` with the reason when it will not."""

    async def delete_kernel(self, owner: Owner, kernel_id: str) -> None:
        """Its runs end as cancelled; returns when the process is gone."""

    async def interrupt_kernel(self, owner: Owner, kernel_id: str) -> None:
        """Cancel the run in flight by interrupts only; harmless on an idle kernel."""

    async def restart_kernel(self, owner: Owner, kernel_id: str) -> KernelInfoView:
        """The run in flight ends as lost, queued ones go to the next generation. At once."""

    async def kernel_output(self, owner: Owner, kernel_id: str) -> KernelOutput:
        """`KernelNotFound`."""

    async def kernel_health(self, owner: Owner, kernel_id: str) -> KernelHealth:
        """Asked now, on control, within a limit; callers at the same time share one question."""

    async def set_health_check(
        self, owner: Owner, kernel_id: str, expression: str | None
    ) -> KernelHealth:
        """An expression of the kernel's language that `kernel_health` has evaluated from now on, in
        a subshell of its own: true is healthy. None: none; the kernelspec may have one, too."""

    async def complete(self, owner: Owner, kernel_id: str, code: str, cursor: int) -> Completion:
        """Nothing while the kernel is busy, and after a limit: it never waits behind a run."""

    def channels(
        self,
        owner: Owner,
        kernel_id: str,
        client: ChannelsClient,
        *,
        session_id: str | None = None,
        behind_lab: bool = False,
    ) -> ChannelsLink:
        """A session that is linked already is taken over. None: a session of its own.

        `behind_lab`: JupyterLab is at the other end, which takes `restarting` for a death.
        `KernelNotFound`, `TooManyClients`."""

    # -- sessions as Jupyter's clients know them: a path and its kernel; kept over restarts of ours
    async def open_notebook_session(
        self, owner: Owner, request: NotebookSessionRequest
    ) -> NotebookSessionView:
        """The session of that path, made if there is none; its kernel is started if it has none
        that lives. `KernelNotFound`, `KernelSpecNotFound`, `TooManyKernels`."""

    async def notebook_sessions(self, owner: Owner) -> list[NotebookSessionView]:
        """Oldest first."""

    async def notebook_session(self, owner: Owner, session_id: str) -> NotebookSessionView:
        """`SessionNotFound`."""

    async def change_notebook_session(
        self, owner: Owner, session_id: str, change: NotebookSessionChange
    ) -> NotebookSessionView:
        """A kernel that it had and that no other session has is ended. `SessionNotFound`,
        `KernelNotFound`, `KernelSpecNotFound`, `TooManyKernels`, `SessionExists`."""

    async def end_notebook_session(self, owner: Owner, session_id: str) -> None:
        """With its kernel. `SessionNotFound`."""

    # -- sessions: a kernel with a name, a folder and an environment of its own
    async def create_session(self, owner: Owner, request: SessionRequest) -> SessionView:
        """At once, before its kernel is there. `SessionExists` where the name is taken and not to
        be used again or has another image, `KernelSpecNotFound`, `TooManyKernels`."""

    async def session(self, owner: Owner, name_or_id: str) -> SessionView:
        """`SessionNotFound`."""

    async def sessions(self, owner: Owner) -> list[SessionView]:
        """Oldest first."""

    async def session_log(self, owner: Owner, session_id: str, *, limit_chars: int) -> str:
        """The end of all that its runs have printed, oldest first."""

    def session_events(
        self, owner: Owner, name_or_id: str | None = None
    ) -> AsyncIterator[SessionEvent]:
        """Each event once, those that have happened first. None: of all sessions, for ever;
        of one: until it has ended. `SessionNotFound`."""

    async def put_files(self, owner: Owner, session_id: str, files: Mapping[str, bytes]) -> None:
        """Written into its folder by their paths, all or none. `OutsideFolder`."""

    async def list_files(self, owner: Owner, session_id: str, path: str) -> FileListing:
        """`OutsideFolder`, `FileNotThere`."""

    async def archives(
        self, owner: Owner, session_id: str, paths: Sequence[str]
    ) -> Sequence[AsyncIterator[bytes]]:
        """Each path as a tar of its own, in pieces; packed with its first piece, which may raise
        `TooLarge`. `OutsideFolder`, `FileNotThere`."""

    # -- runs
    async def submit(self, owner: Owner, request: RunRequest) -> RunInfo:
        """Stored and queued when it returns, whether or not a kernel is there. `RunIdConflict`,
        `RunExpired`, `QueueFull`, `TooManyRuns`, `KernelNotFound`, `SessionNotFound`,
        `KernelSpecNotFound`, `InvalidField` for a webhook that may not be called."""

    async def execute(self, owner: Owner, call: ExecuteCall) -> Answer:
        """Waits until there is an end, a prompt, a finished phase or `wait_s` is over."""

    async def run(
        self, owner: Owner, run_id: str, kernel_id: str | None = None, *, wait_s: float = 0.0
    ) -> RunInfo:
        """By run ID or uid, when it is over, or so many seconds later. `RunNotFound`,
        `RunIdAmbiguous`, `RunExpired`."""

    async def runs(self, owner: Owner, query: RunQuery) -> RunPage:
        """The owner's, newest first; also those of kernels that are gone."""

    async def run_plan(self, owner: Owner, run_id: str, kernel_id: str | None = None) -> RunPlan:
        """What it executes, whole."""

    async def delete_run(self, owner: Owner, run_id: str, kernel_id: str | None = None) -> None:
        """With its log and its artifacts; its ID is expired from now on. `RunActive`."""

    async def reader_left(self, owner: Owner, run_id: str) -> None:
        """A reader's connection was lost: ends a run that asked for that, if it was the last."""

    async def log(
        self,
        owner: Owner,
        run_id: str,
        *,
        after: Seq = Seq(0),
        wait_s: float = 0.0,
        limit: int = 1000,
        kernel_id: str | None = None,
    ) -> LogPage:
        """At most `limit` records behind `after`; waits up to `wait_s` for the first of them."""

    async def blob(self, owner: Owner, run_id: str, artifact: str) -> bytes:
        """The whole value that a `Spilled` stands for. `ArtifactNotFound`."""

    async def artifact(
        self,
        owner: Owner,
        run_id: str,
        artifact_id: str,
        *,
        start: int = 0,
        stop: int | None = None,
        kernel_id: str | None = None,
    ) -> ArtifactContent:
        """Its bytes from `start` to before `stop`, in pieces. `ArtifactNotFound`."""

    async def give_input(
        self,
        owner: Owner,
        run_id: str,
        value: str | None,
        prompt_id: int | None = None,
        *,
        kernel_id: str | None = None,
    ) -> None:
        """`NotWaiting`, `WrongPrompt`. None: nobody has an answer, and the step fails for it."""

    async def cancel(
        self,
        owner: Owner,
        run_id: str,
        *,
        grace_s: float | None = None,
        escalate: bool = True,
        message: str = "cancelled",
        kernel_id: str | None = None,
    ) -> RunInfo:
        """Returns at once; a run that has reached its kernel is `cancelling` until it ends."""
