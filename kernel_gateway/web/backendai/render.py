"""How values become the JSON of Backend.AI's API.

Knows its shapes. Must not know HTTP nor the engine: pure functions of the values of `service.py`.
"""

from __future__ import annotations

import platform
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.service import Answer, KernelState, SessionEventName, Status
from kernel_gateway.web import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import (
        Completion,
        FileEntry,
        FileListing,
        SessionEvent,
        SessionView,
    )

EXIT_NOT_BUILT = 127  # of a run whose build failed; the compiler's own was told with the build

ARCHITECTURE = platform.machine()
DOMAIN = "default"
GROUP = "default"

_STATUS = {
    KernelState.STARTING: "PREPARING",
    KernelState.IDLE: "RUNNING",
    KernelState.BUSY: "RUNNING",
    KernelState.RESTARTING: "RESTARTING",
    KernelState.AUTORESTARTING: "RESTARTING",
    KernelState.DEAD: "ERROR",
}


# -- runs ---------------------------------------------------------------------------------------


def told(answer: Answer) -> Answer:
    """The same answer with the exit code that Backend.AI gives it."""
    built = answer.reason is None or answer.reason.code != "build_failed"
    if answer.status is not Status.FINISHED or built:
        return answer
    return replace(answer, exit_code=EXIT_NOT_BUILT)


def result_json(answer: Answer) -> dict[str, Json]:
    result = {**render.answer_json(told(answer)), "options": options_json(answer)}
    if answer.prompt_id is not None:
        result["prompt_id"] = answer.prompt_id  # to be given back as an option of the input
    return {"result": result}


def options_json(answer: Answer) -> Json:
    if answer.status is not Status.WAITING_INPUT:
        return None
    return {"is_password": bool(answer.is_password)}


def completion_json(completion: Completion) -> dict[str, Json]:
    suggestions: list[Json] = list(completion.matches)
    return {"result": {"status": "finished", "error": None, "suggestions": suggestions}}


# -- sessions -----------------------------------------------------------------------------------


def status_of(session: SessionView) -> str:
    return _STATUS[session.kernel.state]


def created_json(session: SessionView, status: str) -> dict[str, Json]:
    return {
        "sessionId": session.id,
        "sessionName": session.name,
        "status": status,
        "servicePorts": [],
        "created": session.created,
    }


def info_json(session: SessionView) -> dict[str, Json]:
    return {
        "lang": session.image,
        "image": session.image,
        "architecture": ARCHITECTURE,
        "status": status_of(session),
        "statusInfo": session.kernel.reason,
        "age": int(session.age_s * 1000),
        "creationTime": render.instant(session.created_at),
        "terminationTime": None,
        "numQueriesExecuted": session.run_count,
        "tag": session.tag,
        "domainName": DOMAIN,
        "groupId": None,
        "userId": session.owner,
        "environ": [f"{name}={value}" for name, value in session.env.items()],
        "lastStat": None,
        "idleChecks": {},
    }


# -- files --------------------------------------------------------------------------------------


def listing_json(listing: FileListing) -> dict[str, Json]:
    files: list[Json] = [_entry_json(entry) for entry in listing.entries]
    return {"files": encode(files).decode(), "errors": "", "abspath": str(listing.path)}


def _entry_json(entry: FileEntry) -> Json:
    return {
        "mode": stat.filemode(entry.mode),
        "size": entry.size,
        "ctime": entry.ctime,
        "mtime": entry.mtime,
        "atime": entry.atime,
        "filename": entry.name,
    }


# -- events -------------------------------------------------------------------------------------

#: A session waits for its turn before it has a kernel.
_OF_THE_SESSION_ALONE = {SessionEventName.ENQUEUED, SessionEventName.SCHEDULED}


def event_blocks(
    event: SessionEvent, scope: str, access_key: str | None = None
) -> Iterator[tuple[str, dict[str, Json]]]:
    """`(name, data)` of each event that is told to a listener of this scope (`*` is both).

    An owner may have several keys; a listener knows the one that it came with.
    """
    data: dict[str, Json] = {
        "sessionId": event.session_id,
        "sessionName": event.session_name,
        "ownerAccessKey": access_key or event.owner,
        "reason": event.reason,
    }
    if scope != "session" and event.event not in _OF_THE_SESSION_ALONE:
        yield f"kernel_{event.event}", {**data, "kernelId": event.session_id}
    if scope != "kernel":
        yield f"session_{event.event}", data
