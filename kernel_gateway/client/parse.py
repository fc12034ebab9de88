"""Values out of the JSON of answers: the other direction of what the gateway renders.

Knows the fields that are needed, and passes over all others: a newer gateway has more. What is
needed and is not there, or is not what it should be, is an `UnexpectedAnswer`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from kernel_gateway.client.values import Gap, RecordPage, Told, Unknown
from kernel_gateway.errors import UnexpectedAnswer
from kernel_gateway.runs.plan import Mode
from kernel_gateway.runs.records import (
    BODIES,
    Artifact,
    ArtifactKind,
    Reason,
    Seq,
    Spilled,
)
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Failure, Outcome, Prompt, RunView, StepOutcome, StepView
from kernel_gateway.service import (
    Delivery,
    KernelInfoView,
    KernelSpecsView,
    KernelSpecView,
    KernelState,
    Owner,
    RunId,
    RunInfo,
    RunPage,
    RunPlace,
    RunUid,
    WebhookEvent,
    WebhookView,
)

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json

Raw = Mapping[str, Any]
T = TypeVar("T")

_WRONG = (KeyError, TypeError, ValueError, AttributeError)


def _checked(parse: Callable[[Any], T]) -> Callable[[Any], T]:
    """Whatever is wrong with what came is said in one way."""

    @wraps(parse)
    def guarded(raw: Any) -> T:
        try:
            return parse(raw)
        except _WRONG as fault:
            raise UnexpectedAnswer(
                f"The answer is not what this client understands ({type(fault).__name__}: {fault})."
            ) from None

    return guarded


@_checked
def parsed(data: bytes | str) -> Any:
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


# -- runs ---------------------------------------------------------------------------------------


@_checked
def run_info(raw: Raw) -> RunInfo:
    kernel, log = raw["kernel"], raw["log"]
    return RunInfo(
        id=RunId(raw["id"]),
        uid=RunUid(raw["uid"]),
        owner=Owner(raw["owner"]),
        mode=Mode(raw["mode"]),
        kernel_id=kernel["id"],
        kernel_name=kernel["name"],
        generation=kernel["generation"],
        queue_position=raw.get("queue_position"),
        view=_view(raw),
        log_next=Seq(log["next"]),
        log_bytes=log["bytes"],
        log_dropped=log["dropped"],
        context=raw.get("context") or {},
        labels=raw.get("labels") or {},
        artifacts=tuple(_artifact(item) for item in raw.get("artifacts") or ()),
        webhook=_webhook(raw.get("webhook")),
        cancel_on_disconnect=bool(raw.get("cancel_on_disconnect")),
    )


@_checked
def run_page(raw: Raw) -> RunPage:
    place = raw.get("next")
    return RunPage(
        runs=tuple(run_info(item) for item in raw["items"]),
        next=None if place is None else RunPlace.parse(place),
    )


@_checked
def artifacts(raw: Raw) -> tuple[Artifact, ...]:
    return tuple(_artifact(item) for item in raw["items"])


def _view(raw: Raw) -> RunView:
    outcome = raw.get("outcome")
    return RunView(
        state=RunState(raw["state"]),
        outcome=None if outcome is None else Outcome(outcome),
        reason=_optional(_reason, raw.get("reason")),
        exit_code=raw.get("exit_code"),
        created_at=_at(raw["created_at"]),
        started_at=_optional(_at, raw.get("started_at")),
        finished_at=_optional(_at, raw.get("finished_at")),
        queue_time=raw.get("queue_time"),
        predict_time=raw.get("predict_time"),
        prompt=_optional(_prompt, raw.get("input_request")),
        steps=tuple(_step(item) for item in raw["steps"]),
        history=tuple((RunState(item["state"]), _at(item["at"])) for item in raw["history"]),
        is_stream=bool(raw.get("is_stream")),
        metrics=raw.get("metrics") or {},
    )


def _step(raw: Raw) -> StepView:
    return StepView(
        index=raw["index"],
        name=raw["name"],
        state=StepOutcome(raw["state"]),
        phase=raw.get("phase"),
        started_at=_optional(_at, raw.get("started_at")),
        finished_at=_optional(_at, raw.get("finished_at")),
        exit_code=raw.get("exit_code"),
        execution_count=raw.get("execution_count"),
        error=_optional(_failure, raw.get("error")),
        duration=raw.get("duration"),
        msg_id=raw.get("msg_id"),
    )


def _failure(raw: Raw) -> Failure:
    return Failure(ename=raw["ename"], evalue=raw["evalue"], traceback=tuple(raw["traceback"]))


def _prompt(raw: Raw) -> Prompt:
    return Prompt(prompt_id=raw["prompt_id"], prompt=raw["prompt"], password=raw["password"])


def _reason(raw: Raw) -> Reason:
    return Reason(**_known(Reason, raw))


def _artifact(raw: Raw) -> Artifact:
    return Artifact(**{**_known(Artifact, raw), "kind": ArtifactKind(raw["kind"])})


def _webhook(raw: Raw | None) -> WebhookView | None:
    if raw is None:
        return None
    known = {event.value for event in WebhookEvent}
    return WebhookView(
        url=raw["url"],
        events=tuple(WebhookEvent(event) for event in raw["events"] if event in known),
        deliveries=tuple(_delivery(item) for item in raw.get("deliveries") or ()),
    )


def _delivery(raw: Raw) -> Delivery:
    return Delivery(
        id=raw["id"],
        attempt=raw["attempt"],
        status=raw.get("status"),
        at=_at(raw["at"]),
        first=Seq(raw.get("first", 0)),
        last=Seq(raw.get("last", 0)),
        error=raw.get("error") or "",
    )


def _optional(parse: Callable[[Any], T], raw: Any) -> T | None:
    return None if raw is None else parse(raw)


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# -- records ------------------------------------------------------------------------------------


@_checked
def told(raw: Raw) -> Told:
    body = _body(raw)
    return Told(
        seq=body.last if isinstance(body, Gap) else Seq(int(raw["seq"])),
        at=_at(raw["at"]) if "at" in raw else 0.0,
        step=raw.get("step"),
        body=body,
    )


@_checked
def record_page(raw: Raw) -> RecordPage:
    return RecordPage(
        records=tuple(told(item) for item in raw["items"]),
        next=Seq(raw["next"]),
        finished=bool(raw["finished"]),
        sealed=bool(raw["sealed"]),
    )


def _body(raw: Raw) -> Any:
    """What cannot be read is unknown, not an error: the run goes on behind it."""
    kind = raw["kind"]
    if kind == Gap.kind:
        return Gap(first=Seq(int(raw["from"])), last=Seq(int(raw["to"])))
    try:
        return BODIES[kind](**_values(_known(BODIES[kind], raw)))
    except _WRONG:
        return Unknown(kind=kind, fields=dict(raw))


def _values(values: dict[str, Any]) -> dict[str, Any]:
    if isinstance(values.get("reason"), Mapping):
        values["reason"] = _reason(values["reason"])
    if isinstance(values.get("artifact"), Mapping):
        values["artifact"] = _artifact(values["artifact"])
    for name in ("traceback", "buffers"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    if values.get("spilled") is not None:
        values["spilled"] = {
            mime: Spilled(**_known(Spilled, item)) for mime, item in values["spilled"].items()
        }
    return values


def _known(kind: type, raw: Raw) -> dict[str, Any]:
    names = _names(kind)
    return {name: value for name, value in raw.items() if name in names}


@cache
def _names(kind: type) -> frozenset[str]:
    return frozenset(item.name for item in fields(kind))


# -- kernels ------------------------------------------------------------------------------------


@_checked
def kernel(raw: Raw) -> KernelInfoView:
    return KernelInfoView(
        id=raw["id"],
        name=raw["name"],
        owner=Owner(raw.get("owner", "")),
        state=KernelState(raw["execution_state"]),
        generation=raw.get("generation", 0),
        last_activity=_at(raw["last_activity"]),
        queue_length=raw.get("queue_length", 0),
        connections=raw.get("connections", 0),
        reason=raw.get("reason"),
    )


@_checked
def kernels(raw: Any) -> tuple[KernelInfoView, ...]:
    return tuple(kernel(item) for item in raw)


@_checked
def kernelspecs(raw: Raw) -> KernelSpecsView:
    models = raw["kernelspecs"]
    return KernelSpecsView(
        default=raw["default"], specs=tuple(_kernelspec(models[name]) for name in sorted(models))
    )


def _kernelspec(raw: Raw) -> KernelSpecView:
    spec: Mapping[str, Json] = raw["spec"]
    return KernelSpecView(
        name=raw["name"],
        display_name=str(spec.get("display_name", raw["name"])),
        language=str(spec.get("language", "")),
        spec=spec,
        resources=tuple(sorted(raw.get("resources") or ())),
    )
