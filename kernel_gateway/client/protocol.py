"""Every call as a value, and every answer as what it means.

Knows the routes of `docs/reference/http.md`, their fields, and which call may be sent again when
its answer was lost. Must not know sockets, time, nor where the gateway is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence  # noqa: TC003 - for `get_type_hints`
from dataclasses import dataclass, field, fields, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

from kernel_gateway.client import parse
from kernel_gateway.errors import (
    CallerFault,
    GatewayError,
    InvalidField,
    KernelNotFound,
    OurFault,
    RangeRefused,
    RunExpired,
    RunIdAmbiguous,
    RunNotFound,
    SessionExists,
    TooLarge,
    UnexpectedAnswer,
)
from kernel_gateway.messaging.strict_json import Json, encode

if TYPE_CHECKING:
    from kernel_gateway.client.values import RecordPage
    from kernel_gateway.runs.records import Artifact, Seq
    from kernel_gateway.runs.state import RunState
    from kernel_gateway.runs.view import Outcome
    from kernel_gateway.service import (
        BatchCommands,
        KernelInfoView,
        KernelSpecsView,
        Limits,
        RunInfo,
        RunPage,
        RunPlace,
        Webhook,
    )

T = TypeVar("T")

Pairs = tuple[tuple[str, str], ...]

_JSON: Pairs = (("Content-Type", "application/json"),)
_PLAIN: Pairs = (("Accept", "text/plain"),)
_EVENTS: Pairs = (("Accept", "text/event-stream"), ("Accept-Encoding", "identity"))
_AS_IT_IS: Pairs = (("Accept-Encoding", "identity"),)

#: IDs that are taken for folders by whatever resolves an address.
_NOT_IN_PATHS = {".", ".."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    verb: str
    path: str  # below the address of the gateway, percent-encoded
    read: Callable[[Answer], T]  # of an answer that is no error
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes | None = field(default=None, repr=False)  # code, or a password
    wait_s: float = 0.0  # for so long the gateway may hold it
    repeatable: bool = True  # sent twice it does what it does once
    #: Errors that mean "done" when it was sent before and its answer was lost.
    done_by: tuple[type[GatewayError], ...] = ()


# -- runs ---------------------------------------------------------------------------------------


def create(
    *,
    code: str | None = None,
    notebook: Mapping[str, Json] | None = None,
    parameters: Mapping[str, Json] | None = None,
    commands: BatchCommands | None = None,
    kernel: str | None = None,
    kernel_name: str | None = None,
    session: str | None = None,
    run_id: str | None = None,
    labels: Mapping[str, str] | None = None,
    context: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    timeout: float | None = None,
    options: Mapping[str, Json] | None = None,
    webhook: Webhook | None = None,
    cancel_on_disconnect: bool = False,
    files: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[str] | None = None,
    wait: float | None = None,
) -> Call[RunInfo]:
    """By `PUT` where the ID allows it; with an ID it can be repeated, without one it cannot."""
    wanted = {
        **_work(code, notebook, commands, options),
        "parameters": dict(parameters) if parameters else None,
        "kernel": _kernel(kernel, kernel_name),
        "session": session,
        "labels": dict(labels) if labels else None,
        "context": dict(context) if context else None,
        "limits": _fields(limits) if limits else None,
        "timeout": timeout,
        "webhook": _webhook_json(webhook) if webhook else None,
        "cancel_on_disconnect": cancel_on_disconnect or None,
        "files": None if files is None else dict(files),
        "env": dict(env) if env else None,
        "secrets": list(secrets) if secrets else None,
    }
    by_path = run_id is not None and run_id not in _NOT_IN_PATHS
    if not by_path:
        wanted["runId"] = run_id
    return Call(
        verb="PUT" if by_path else "POST",
        path=_run_path(run_id or "") if by_path else "/api/runs",
        read=_created,
        headers=(*_JSON, *_prefer(wait), *(webhook.trace if webhook else ())),
        body=encode({name: value for name, value in wanted.items() if value is not None}),
        wait_s=wait or 0.0,
        repeatable=run_id is not None,
    )


def _work(
    code: str | None,
    notebook: Mapping[str, Json] | None,
    commands: BatchCommands | None,
    options: Mapping[str, Json] | None,
) -> dict[str, Any]:
    if sum(one is not None for one in (code, notebook, commands)) != 1:
        raise InvalidField({"code": "is needed, or else a notebook or commands; just one of them"})
    more = dict(options or {})
    if code is not None:
        return {"mode": "query", "code": code, "options": more or None}
    if notebook is not None:
        return {"mode": "notebook", "notebook": dict(notebook), "options": more or None}
    return {"mode": "batch", "options": {**more, **_fields(commands)}}


def _kernel(kernel: str | None, name: str | None) -> Json:
    if kernel is not None and name is not None:
        raise InvalidField({"kernel_name": "is of a kernel to be started, and kernel of another"})
    return kernel if name is None else {"name": name}


def _webhook_json(webhook: Webhook) -> Json:
    secret: dict[str, Json] = {} if webhook.secret is None else {"secret": webhook.secret}
    return {"url": webhook.url, "events": list(webhook.events), **secret}


def _fields(value: Any) -> dict[str, Json]:
    """Those that say something."""
    pairs = ((item.name, getattr(value, item.name)) for item in fields(value))
    return {name: item for name, item in pairs if item is not None}


def _prefer(wait: float | None) -> Pairs:
    return () if wait is None else (("Prefer", f"wait={round(wait)}"),)


def run(run_id: str, *, outputs: bool = False) -> Call[RunInfo]:
    return _get(_run_path(run_id), _json(parse.run_info), (("outputs", str(outputs).lower()),))


def outputs(run_id: str) -> Call[list[dict[str, Json]] | None]:
    """None: they are too big for one answer."""
    return _get(_run_path(run_id), _json(lambda raw: raw.get("outputs")), (("outputs", "true"),))


def runs(
    *,
    state: RunState | str | None = None,
    outcome: Outcome | str | None = None,
    kernel: str | None = None,
    labels: Mapping[str, str | None] | None = None,
    limit: int | None = None,
    before: RunPlace | None = None,
) -> Call[RunPage]:
    query = _query(
        state=state, outcome=outcome, kernel=kernel, limit=limit, cursor=before, outputs="false"
    )
    named = (labels or {}).items()
    wanted = (("label", name if value is None else f"{name}={value}") for name, value in named)
    return _get("/api/runs", _json(parse.run_page), (*query, *wanted))


def records(
    run_id: str, *, after: int = 0, wait: float = 0.0, limit: int | None = None
) -> Call[RecordPage]:
    return Call(
        verb="GET",
        path=_run_path(run_id, "records"),
        read=_json(parse.record_page),
        query=_query(after=after, wait=wait or None, limit=limit),
        wait_s=wait,
    )


def events(run_id: str, after: Seq) -> Call[None]:
    """Its answer is a stream, for `following.py`."""
    return Call(
        verb="GET",
        path=_run_path(run_id, "events"),
        read=_nothing,
        headers=(*_EVENTS, ("Last-Event-ID", str(after))),
    )


def text(run_id: str, stream: str | None = None) -> Call[str]:
    return Call(
        verb="GET",
        path=_run_path(run_id, "log"),
        read=lambda answer: answer.body.decode(errors="replace"),
        query=_query(stream=stream),
        headers=_PLAIN,
    )


def give_input(run_id: str, value: str | None, prompt_id: int | None = None) -> Call[None]:
    """With the number of its prompt it can be repeated: a prompt is answered once."""
    wanted: dict[str, Json] = {"value": value}
    if prompt_id is not None:
        wanted["prompt_id"] = prompt_id
    return Call(
        verb="POST",
        path=_run_path(run_id, "input"),
        read=_nothing,
        headers=_JSON,
        body=encode(wanted),
        repeatable=prompt_id is not None,
    )


def cancel(
    run_id: str, *, grace: float | None = None, escalate: bool = True, message: str | None = None
) -> Call[RunInfo]:
    wanted: dict[str, Json] = {"escalate": "kill" if escalate else "none"}
    if grace is not None:
        wanted["grace"] = grace
    if message is not None:
        wanted["message"] = message
    return Call(
        verb="POST",
        path=_run_path(run_id, "cancel"),
        read=_json(parse.run_info),
        headers=_JSON,
        body=encode(wanted),
    )


def delete_run(run_id: str) -> Call[None]:
    return Call(
        verb="DELETE",
        path=_run_path(run_id),
        read=_nothing,
        done_by=(RunExpired, RunNotFound),
    )


def artifacts(run_id: str) -> Call[tuple[Artifact, ...]]:
    return _get(_run_path(run_id, "artifacts"), _json(parse.artifacts))


def artifact(run_id: str, artifact: Artifact, start: int = 0) -> Call[None]:
    """Its answer is a stream, for `download.py`."""
    rest: Pairs = ()
    if start:
        rest = (("Range", f"bytes={start}-"), ("If-Range", f'"{artifact.digest}"'))
    return Call(
        verb="GET",
        path=_run_path(run_id, "artifacts", artifact.id),
        read=_nothing,
        headers=(*_AS_IT_IS, *rest),
    )


def content(run_id: str, artifact_id: str) -> Call[bytes]:
    """All of an artifact in one answer, for what is small enough to be held."""
    return Call(
        verb="GET",
        path=_run_path(run_id, "artifacts", artifact_id),
        read=lambda answer: answer.body,
        headers=_AS_IT_IS,
    )


def notebook(run_id: str) -> Call[dict[str, Json]]:
    return _get(_run_path(run_id, "notebook"), _json(dict))


def inspect(notebook: Mapping[str, Json]) -> Call[dict[str, Json]]:
    return Call(
        verb="POST",
        path="/api/notebooks/inspect",
        read=_json(dict),
        headers=_JSON,
        body=encode({"notebook": dict(notebook)}),
    )


# -- kernels, and the gateway as a whole ----------------------------------------------------------


def kernels() -> Call[tuple[KernelInfoView, ...]]:
    return _get("/api/kernels", _json(parse.kernels))


def kernelspecs() -> Call[KernelSpecsView]:
    return _get("/api/kernelspecs", _json(parse.kernelspecs))


def create_kernel(
    name: str | None = None, env: Mapping[str, str] | None = None
) -> Call[KernelInfoView]:
    wanted: dict[str, Json] = {} if name is None else {"name": name}
    if env:
        wanted["env"] = dict(env)
    return Call(
        verb="POST",
        path="/api/kernels",
        read=_json(parse.kernel),
        headers=_JSON,
        body=encode(wanted),
        repeatable=False,  # each time it starts one more
    )


def delete_kernel(kernel_id: str) -> Call[None]:
    return Call(
        verb="DELETE",
        path=_path("kernels", kernel_id),
        read=_nothing,
        done_by=(KernelNotFound,),
    )


def limits() -> Call[dict[str, Json]]:
    return _get("/api/limits", _json(dict))


def health() -> Call[dict[str, Json]]:
    """How the gateway is, also when it can take nothing new."""
    return _get("/healthz", _json(dict))


def raw(call: Call[Any]) -> Call[Any]:
    """The same, read as nothing but JSON."""
    query = tuple(pair for pair in call.query if pair != ("outputs", "false"))
    return replace(call, read=_json(lambda value: value), query=query)


def _get(path: str, read: Callable[[Answer], T], query: Pairs = ()) -> Call[T]:
    return Call(verb="GET", path=path, read=read, query=query)


def _query(**values: object) -> Pairs:
    return tuple((name, str(value)) for name, value in values.items() if value is not None)


def _run_path(run_id: str, *rest: str) -> str:
    return _path("runs", run_id, *rest)


def _path(*parts: str) -> str:
    if _NOT_IN_PATHS & set(parts):
        raise InvalidField({"id": "cannot be part of an address; use the uid of the run"})
    try:
        return "/api/" + "/".join(quote(part, safe="") for part in parts)
    except UnicodeEncodeError:
        raise InvalidField({"id": "must not contain lone surrogates"}) from None


# -- answers ------------------------------------------------------------------------------------


def settled(call: Call[T], answer: Answer) -> T:
    """What the answer means. Raises the gateway's error as its own, of `errors.py`."""
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise fault_of(answer)
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise UnexpectedAnswer(
            f"The answer is {answer.status}, a redirection: the address is not the gateway's own."
        )
    return call.read(answer)


def _created(answer: Answer) -> RunInfo:
    info = _json(parse.run_info)(answer)
    return replace(info, created=answer.status == HTTPStatus.CREATED)


def _json(read: Callable[[Any], T]) -> Callable[[Answer], T]:
    return lambda answer: read(parse.parsed(answer.body))


def _nothing(answer: Answer) -> None:
    return None


def _known_faults() -> dict[str, type[GatewayError]]:
    found: dict[str, type[GatewayError]] = {}
    left: list[type[GatewayError]] = [GatewayError]
    while left:
        kind = left.pop()
        if "code" in vars(kind):
            found[kind.code] = kind
        left += kind.__subclasses__()
    return found


_FAULTS = _known_faults()


def fault_of(answer: Answer) -> GatewayError:
    """As the gateway raised it, with its own words."""
    try:
        error = parse.parsed(answer.body)["error"]
        code, message = str(error["code"]), str(error["message"])
        fault = _built(_FAULTS.get(code) or _by_status(answer.status), message, error, answer)
    except (UnexpectedAnswer, KeyError, TypeError, AttributeError):
        return UnexpectedAnswer(f"The answer is {answer.status}, and not one of a gateway.")
    fault.args = (message,)
    return fault


def _by_status(status: int) -> type[GatewayError]:
    """Of a code that a newer gateway has."""
    return CallerFault if status < HTTPStatus.INTERNAL_SERVER_ERROR else OurFault


def _built(
    kind: type[GatewayError], message: str, error: Mapping[str, Any], answer: Answer
) -> GatewayError:
    details = error.get("details") or {}
    if issubclass(kind, InvalidField):
        return kind(error.get("fields") or {"body": message})
    if issubclass(kind, RunIdAmbiguous):
        return kind("", tuple(details.get("uids") or ()))
    if issubclass(kind, SessionExists):
        return kind("", "")
    if issubclass(kind, RangeRefused):
        total = answer.headers.get("content-range", "").rpartition("/")[2]
        return kind(int(total) if total.isdecimal() else 0)
    if issubclass(kind, TooLarge):
        return kind(message, error.get("field"))
    return kind(message)
