"""How values become the JSON of the contracts.

Knows the shapes of answers and which routes exist to link to. Must not know HTTP nor the engine.
Everything here is a pure function of a value of `service.py`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http.client import responses
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kernel_gateway.errors import GatewayError, InvalidField, RunIdAmbiguous, TooLarge
from kernel_gateway.runs.records import Completed, Reason, body_json
from kernel_gateway.service import (
    Answer,
    Artifact,
    ConsoleItem,
    Cursor,
    KernelHealth,
    KernelInfoView,
    KernelOutput,
    KernelSpecsView,
    KernelSpecView,
    NotebookSessionView,
    Owner,
    Readiness,
    Record,
    RunInfo,
    Seq,
    Status,
    WebhookView,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.view import Failure, Prompt, RunView, StepView

_FIRST = Seq(1)  # nothing of a log goes before all of it does
_ATTEMPT = 1  # no run is executed twice

#: What terminals act on: colours and cursor moves (CSI), titles and links (OSC), short sequences.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def instant(at: float) -> str:
    """UTC with exactly six digits of microseconds and `Z`: browsers parse just that."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _instant(at: float | None) -> str | None:
    return None if at is None else instant(at)


def without_ansi(text: str) -> str:
    return _ANSI.sub("", text)


# -- runs ---------------------------------------------------------------------------------------


def run_json(info: RunInfo, base_url: str = "") -> dict[str, Json]:
    view = info.view
    return {
        "id": info.id,
        "uid": info.uid,
        "owner": info.owner,
        "mode": info.mode,
        "kernel": {
            "id": info.kernel_id,
            "name": info.kernel_name,
            "generation": info.generation,
        },
        "labels": dict(info.labels),
        "context": dict(info.context),
        "queue_position": info.queue_position,
        **_view_json(view),
        "metrics": dict(view.metrics),
        "artifacts": [artifact_json(artifact) for artifact in info.artifacts],
        "log": {
            "first": _FIRST,
            "next": info.log_next,
            "bytes": info.log_bytes,
            "dropped": info.log_dropped,
        },
        "attempt": _ATTEMPT,
        "webhook": _webhook_json(info.webhook),
        "links": run_links(info, base_url),
    }


def _view_json(view: RunView) -> dict[str, Json]:
    return {
        "state": view.state,
        "outcome": view.outcome,
        "reason": _reason_json(view.reason),
        "phase": view.phase,
        "created_at": instant(view.created_at),
        "started_at": _instant(view.started_at),
        "finished_at": _instant(view.finished_at),
        "queue_time": view.queue_time,
        "predict_time": view.predict_time,
        "execution_count": view.execution_count,
        "exit_code": view.exit_code,
        "error": _failure_json(view.error),
        "input_request": _prompt_json(view.prompt),
        "steps": [_step_json(step) for step in view.steps],
        "is_stream": view.is_stream,
        "history": [{"state": state, "at": instant(at)} for state, at in view.history],
    }


def run_links(info: RunInfo, base_url: str = "") -> dict[str, Json]:
    """By uid: there are IDs that no URL can carry."""
    here = f"{base_url}/api/runs/{info.uid}"
    return {
        "self": here,
        "events": f"{here}/events",
        "log": f"{here}/log",
        "records": f"{here}/records",
        "artifacts": f"{here}/artifacts",
        "notebook": f"{here}/notebook",
        "input": f"{here}/input",
        "cancel": f"{here}/cancel",
    }


def artifact_json(artifact: Artifact) -> dict[str, Json]:
    return {
        "id": artifact.id,
        "name": artifact.name,
        "kind": artifact.kind,
        "mime": artifact.mime,
        "size": artifact.size,
        "digest": artifact.digest,
        **_without_null({"preview": artifact.preview}),
    }


def _webhook_json(webhook: WebhookView | None) -> Json:
    if webhook is None:
        return None
    return {
        "url": webhook.url,
        "events": list(webhook.events),
        "deliveries": [
            {
                "id": delivery.id,
                "attempt": delivery.attempt,
                "status": delivery.status,
                "at": instant(delivery.at),
                "first": delivery.first,
                "last": delivery.last,
                **_without_null({"error": delivery.error or None}),
            }
            for delivery in webhook.deliveries
        ],
    }


def _reason_json(reason: Reason | None) -> Json:
    if reason is None:
        return None
    detail: dict[str, Json] = {
        "signal": reason.signal,
        "exit_code": reason.exit_code,
        "limit": reason.limit,
        "worked": reason.worked,
    }
    return {"code": reason.code, "message": reason.message, **_without_null(detail)}


def _failure_json(failure: Failure | None) -> Json:
    if failure is None:
        return None
    plain = "\n".join(failure.traceback) or f"{failure.ename}: {failure.evalue}"
    return {
        "ename": failure.ename,
        "evalue": failure.evalue,
        "traceback": list(failure.traceback),
        "plain": without_ansi(plain),
    }


def _prompt_json(prompt: Prompt | None) -> Json:
    if prompt is None:
        return None
    return {"prompt_id": prompt.prompt_id, "prompt": prompt.prompt, "password": prompt.password}


def _step_json(step: StepView) -> Json:
    detail: dict[str, Json] = {
        "phase": step.phase,
        "exit_code": step.exit_code,
        "execution_count": step.execution_count,
        "error": _failure_json(step.error),
        "duration": step.duration,
        "msg_id": step.msg_id,
    }
    return {
        "index": step.index,
        "name": step.name,
        "state": step.state,
        "started_at": _instant(step.started_at),
        "finished_at": _instant(step.finished_at),
        **_without_null(detail),
    }


def _without_null(values: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}


# -- logs ---------------------------------------------------------------------------------------


def record_json(info: RunInfo, record: Record, base_url: str = "") -> dict[str, Json]:
    """`completed` has the whole run: give it one that was looked at after its end."""
    run = {"run": run_json(info, base_url)} if isinstance(record.body, Completed) else {}
    return {
        "run_id": info.id,
        "uid": info.uid,
        "seq": record.seq,
        "at": instant(record.at),
        "step": record.step,
        "kind": record.body.kind,
        **body_json(record.body),
        **run,
    }


# -- execute ------------------------------------------------------------------------------------


def answer_json(answer: Answer) -> dict[str, Json]:
    """Backend.AI's result object; more fields than its own are allowed."""
    return {
        "runId": answer.run_id,
        "status": answer.status,
        "exitCode": answer.exit_code,
        "console": console_json(answer.console),
        "options": _options_json(answer),
        "files": [],
        "cursor": _cursor_json(answer.cursor),
        **_without_null({"queuePosition": answer.queue_position}),
    }


def _cursor_json(cursor: Cursor) -> Json:
    """A number, but within a value that is too big for one answer."""
    return str(cursor) if cursor.offset else cursor.seq


def console_json(console: Sequence[ConsoleItem]) -> list[Json]:
    return [
        [item.type, item.value if isinstance(item.value, str) else list(item.value)]
        for item in console
    ]


def _options_json(answer: Answer) -> Json:
    if answer.status is not Status.WAITING_INPUT:
        return None
    return {"is_password": bool(answer.is_password), "prompt_id": answer.prompt_id}


# -- kernels ------------------------------------------------------------------------------------

_ISOLATION = "none"  # that is in force: kernels run as the gateway's own user


def kernelspecs_json(found: KernelSpecsView, base_url: str) -> dict[str, Json]:
    return {
        "default": found.default,
        "kernelspecs": {spec.name: kernelspec_json(spec, base_url) for spec in found.specs},
    }


def kernelspec_json(spec: KernelSpecView, base_url: str) -> dict[str, Json]:
    return {
        "name": spec.name,
        "spec": dict(spec.spec),
        "resources": {
            _resource(file): f"{base_url}/kernelspecs/{quote(spec.name, safe='')}/{quote(file)}"
            for file in spec.resources
        },
    }


def _resource(file: str) -> str:
    """What Jupyter's server calls it: a logo goes without the end of its name."""
    return PurePath(file).stem if file.startswith("logo-") else file


def kernel_json(kernel: KernelInfoView) -> dict[str, Json]:
    model: dict[str, Json] = {
        "id": kernel.id,
        "name": kernel.name,
        "last_activity": instant(kernel.last_activity),
        "execution_state": kernel.state,
        "connections": kernel.connections,
        "generation": kernel.generation,
        "isolation": _ISOLATION,
        "queue_length": kernel.queue_length,
        "owner": kernel.owner,
    }
    return model if kernel.reason is None else {**model, "reason": kernel.reason}


def kernel_health_json(health: KernelHealth) -> dict[str, Json]:
    check = health.check
    return {
        "status": health.status,
        "checked_at": instant(health.checked_at),
        "message": health.message,
        "check": None if check is None else {"ok": check.ok, "message": check.message},
    }


def kernel_output_json(output: KernelOutput) -> dict[str, Json]:
    return {"text": output.text, "dropped": output.dropped, "generation": output.generation}


# -- the process --------------------------------------------------------------------------------


def status_json(
    kernels: Sequence[KernelInfoView], started: float, last_change: float
) -> dict[str, Json]:
    last = max([last_change, *(kernel.last_activity for kernel in kernels)])
    return {
        "connections": sum(kernel.connections for kernel in kernels),
        "kernels": len(kernels),
        "last_activity": instant(last),
        "started": instant(started),
    }


def readiness_json(readiness: Readiness) -> dict[str, Json]:
    if readiness.draining:
        status = "draining"
    else:
        status = "ok" if readiness.store_fault is None else "store_unavailable"
    return {
        "status": status,
        "ready": readiness.ready,
        "kernels": readiness.kernels,
        "warm": readiness.warm,
        "runs": readiness.runs,
        **_without_null({"message": readiness.store_fault}),
    }


def me_json(owner: Owner, granted: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "identity": {
            "username": owner,
            "name": owner,
            "display_name": owner,
            "initials": None,
            "avatar_url": None,
            "color": None,
        },
        "permissions": {**granted, "updatable_fields": []},
    }


def notebook_session_json(session: NotebookSessionView) -> dict[str, Json]:
    model: dict[str, Json] = {
        "id": session.id,
        "path": session.path,
        "name": session.name,
        "type": session.type,
        "kernel": kernel_json(session.kernel),
    }
    if session.type != "notebook":
        return model
    return {**model, "notebook": {"path": session.path, "name": session.name}}  # the old way


# -- errors -------------------------------------------------------------------------------------


def error_json(
    code: str,
    message: str,
    *,
    fields: Mapping[str, str] | None = None,
    field: str | None = None,
    details: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    error: dict[str, Json] = {"code": code, "message": message}
    if fields:
        error["field"] = next(iter(fields))
        error["fields"] = dict(fields)
    elif field is not None:
        error["field"] = field
    if details:
        error["details"] = dict(details)
    return error


def fault_json(fault: GatewayError) -> dict[str, Json]:
    """The error object of a fault that the caller may know."""
    more: dict[str, Any] = {}
    if isinstance(fault, InvalidField):
        more["fields"] = fault.fields
    if isinstance(fault, TooLarge):
        more["field"] = fault.field
    if isinstance(fault, RunIdAmbiguous):
        more["details"] = {"uids": list(fault.uids)}
    return error_json(fault.code, fault.message, **more)


def jupyter_error(status: int, error: Mapping[str, Json]) -> dict[str, Json]:
    """Jupyter's clients show `message`, and `reason` where they have one line only."""
    reason = responses.get(status, "Error")
    return {"message": error["message"], "reason": reason, "error": dict(error)}
