"""Every exception that leaves a module of this package.

Knows: codes, HTTP statuses, sentences that help. Must not know: anything else of the package.

    GatewayError
    ├── CallerFault                 the caller can mend it
    │   ├── BadJson                 400 bad_json
    │   ├── BadSigning              400 bad_signing
    │   ├── InvalidField            422 invalid_field       (all faults at once, by path)
    │   ├── NotebookUnreadable      422 notebook_unreadable
    │   ├── OutsideFolder           422 outside_folder
    │   ├── Unauthorized            401 unauthorized
    │   ├── HostRefused             403 host_refused
    │   ├── OriginRefused           403 origin_refused
    │   ├── AdminsOnly              403 admins_only
    │   ├── NotFound                404
    │   │   ├── KernelNotFound      kernel_not_found
    │   │   ├── KernelSpecNotFound  kernelspec_not_found
    │   │   ├── SessionNotFound     session_not_found
    │   │   ├── FileNotThere        file_not_found
    │   │   ├── RunNotFound         run_not_found
    │   │   ├── ArtifactNotFound    artifact_not_found
    │   │   └── RouteNotFound       route_not_found
    │   ├── MethodNotAllowed        405 method_not_allowed
    │   ├── NotAcceptable           406 not_acceptable
    │   ├── Conflict                409
    │   │   ├── RunIdConflict       run_id_conflict
    │   │   ├── RunIdAmbiguous      run_id_ambiguous
    │   │   ├── RunActive           run_active
    │   │   ├── SessionExists       session_exists
    │   │   ├── NotWaiting          not_waiting
    │   │   ├── WrongPrompt         wrong_prompt
    │   │   ├── CannotCancel        cannot_cancel
    │   │   └── KernelDead          kernel_dead
    │   ├── RunExpired              410 run_expired
    │   ├── TooLarge                413 too_large
    │   ├── JsonNeeded              415 json_needed
    │   ├── RangeRefused            416 range_not_satisfiable
    │   └── TooMany                 429, told when to come back
    │       ├── QueueFull           queue_full
    │       ├── TooManyRuns         too_many_runs
    │       ├── TooManyKernels      too_many_kernels
    │       ├── TooManyClients      too_many_clients
    │       └── TooManyCalls        too_many_calls
    ├── KernelFault                 a kernel did what no kernel should
    │   ├── MalformedMessage        its message does not follow the protocol
    │   ├── BadSignature            its message is not signed with its key
    │   └── KernelStartFailed       it never came up; holds the end of its stderr
    ├── WireFault                   the gateway was not reached; told by the client library alone
    │   ├── Unreachable             unreachable
    │   └── UnexpectedAnswer        unexpected_answer       of something else, or garbled on its way
    └── OurFault
        ├── Draining                503 draining
        ├── StoreUnavailable        503 store_unavailable
        ├── DiskFull                507 disk_full
        ├── NotebookUnwritable      500 notebook_unwritable
        ├── GatewayLost             500 gateway_lost        it was killed
        ├── ImpossibleTransition    500 internal            a state table has no such entry
        └── Refused                 start-up cannot go on; the message says what to do
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class GatewayError(Exception):
    """Root of the tree. `code` is stable, `status` is the HTTP status, `str()` helps a person."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    @property
    def message(self) -> str:
        return str(self)


class CallerFault(GatewayError):
    """The call cannot be served as it stands; nothing was changed."""

    status = 400


class BadJson(CallerFault):
    """The body is not JSON, or not a JSON object."""

    code = "bad_json"


class BadSigning(CallerFault):
    """A signed call whose header cannot be read, or whose date is missing or too far off."""

    code = "bad_signing"


class InvalidField(CallerFault):
    """One or more fields are wrong. `fields` maps the path of each to what is wrong with it."""

    code = "invalid_field"
    status = 422

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{path}: {fault}" for path, fault in fields.items()))
        self.fields = dict(fields)


class NotebookUnreadable(CallerFault):
    """It is no notebook, or one that no version of nbformat we know allows."""

    code = "notebook_unreadable"
    status = 422


class OutsideFolder(CallerFault):
    """The path leads out of the session's folder, or cannot be that of a file there."""

    code = "outside_folder"
    status = 422


class Unauthorized(CallerFault):
    """No token, or none that is known."""

    code = "unauthorized"
    status = 401


class HostRefused(CallerFault):
    """The Host header names another machine: a web page may be rebinding its name to us."""

    code = "host_refused"
    status = 403


class OriginRefused(CallerFault):
    """A web page of another origin asks, and is not one of those that may."""

    code = "origin_refused"
    status = 403


class AdminsOnly(CallerFault):
    """It was asked in the name of somebody else."""

    code = "admins_only"
    status = 403


class NotFound(CallerFault):
    """No such thing, or it belongs to somebody else."""

    status = 404


class KernelNotFound(NotFound):
    code = "kernel_not_found"


class KernelSpecNotFound(NotFound):
    code = "kernelspec_not_found"


class SessionNotFound(NotFound):
    code = "session_not_found"


class FileNotThere(NotFound):
    code = "file_not_found"


class RunNotFound(NotFound):
    code = "run_not_found"


class ArtifactNotFound(NotFound):
    code = "artifact_not_found"


class RouteNotFound(NotFound):
    code = "route_not_found"


class MethodNotAllowed(CallerFault):
    code = "method_not_allowed"
    status = 405


class NotAcceptable(CallerFault):
    """The caller takes no form in which this can be given."""

    code = "not_acceptable"
    status = 406


class Conflict(CallerFault):
    """The call contradicts the present state."""

    status = 409


class RunIdConflict(Conflict):
    """The run ID is taken by a run with another body."""

    code = "run_id_conflict"


class RunIdAmbiguous(Conflict):
    """Several sessions have a run of this ID; `uids` settle which is meant."""

    code = "run_id_ambiguous"

    def __init__(self, run_id: str, uids: tuple[str, ...]) -> None:
        super().__init__(
            f"Several sessions have a run {run_id!r}; ask for one of the uids {', '.join(uids)}."
        )
        self.uids = uids


class RunActive(Conflict):
    """The run is not over, so it cannot be removed: cancel it first."""

    code = "run_active"


class SessionExists(Conflict):
    """The name is taken by a session that is not to be used again, or has another image."""

    code = "session_exists"

    def __init__(self, name: str, session_id: str) -> None:
        super().__init__(f"A session named {name!r} exists already.")
        self.session_id = session_id


class NotWaiting(Conflict):
    """The run is not waiting for input; the text was not kept."""

    code = "not_waiting"


class WrongPrompt(Conflict):
    """The run waits for the answer to another prompt."""

    code = "wrong_prompt"


class CannotCancel(Conflict):
    """Whatever would end the run would hit others."""

    code = "cannot_cancel"


class KernelDead(Conflict):
    """The kernel has died and is not coming back by itself."""

    code = "kernel_dead"


class RunExpired(CallerFault):
    """The run is over and its retention has ended."""

    code = "run_expired"
    status = 410


class TooLarge(CallerFault):
    """The body, or one field of it, is above its limit."""

    code = "too_large"
    status = 413

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class JsonNeeded(CallerFault):
    """The body says that it is something else than JSON, or does not say what it is."""

    code = "json_needed"
    status = 415


class RangeRefused(CallerFault):
    """None of what was asked for is there; the whole has `size` bytes."""

    code = "range_not_satisfiable"
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"There are {size} bytes, and none of those that were asked for.")
        self.size = size


class TooMany(CallerFault):
    """A limit is reached; worth another try after `retry_after_s`."""

    status = 429
    retry_after_s: ClassVar[int] = 5


class QueueFull(TooMany):
    code = "queue_full"


class TooManyRuns(TooMany):
    """As many runs with kernels of their own wait as may wait."""

    code = "too_many_runs"


class TooManyKernels(TooMany):
    code = "too_many_kernels"


class TooManyClients(TooMany):
    """A kernel's channels have as many sessions as they may have."""

    code = "too_many_clients"


class TooManyCalls(TooMany):
    """The key has made all the calls that it may make in a while."""

    code = "too_many_calls"


class KernelFault(GatewayError):
    """The kernel is at fault. Never an HTTP error of its own: it becomes the end of a run."""


class MalformedMessage(KernelFault):
    code = "malformed_message"


class BadSignature(KernelFault):
    code = "bad_signature"


class KernelStartFailed(KernelFault):
    code = "kernel_start_failed"


class WireFault(GatewayError):
    """Between a client and its gateway. No gateway tells it: what became of the call is unknown."""

    status = 502


class Unreachable(WireFault):
    """No connection, or it was lost before the answer was complete."""

    code = "unreachable"


class UnexpectedAnswer(WireFault):
    """What answered is no gateway, or one that this client does not understand."""

    code = "unexpected_answer"


class OurFault(GatewayError):
    """We are at fault."""


class Draining(OurFault):
    """The gateway is on its way down and takes nothing new."""

    code = "draining"
    status = 503


class StoreUnavailable(OurFault):
    """The database does not take writes at present."""

    code = "store_unavailable"
    status = 503


class DiskFull(OurFault):
    """No room for a new run."""

    code = "disk_full"
    status = 507


class NotebookUnwritable(OurFault):
    """The output notebook cannot be written to where it belongs."""

    code = "notebook_unwritable"


class GatewayLost(OurFault):
    """Who was to execute a run was killed before it began."""

    code = "gateway_lost"


class ImpossibleTransition(OurFault):
    """A state table has no entry for this event: a bug of ours, the state is unchanged."""


class Refused(OurFault):
    """The program cannot start as asked; the message is one line that says what to do."""
