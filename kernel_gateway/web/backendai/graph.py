"""The schema of the questions in GraphQL, and how they are answered.

Knows graphql-core, and what the client shows of sessions and keys. Must not know HTTP. It is
imported at the first question only. Values that the original has and we do not are null or empty,
each so that the client's own formatting can take it.
"""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Protocol

from graphql import GraphQLError, build_schema, execute, parse, validate

from kernel_gateway.errors import CallerFault, InvalidField, SessionNotFound
from kernel_gateway.web import render as common
from kernel_gateway.web.backendai import render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from graphql import DocumentNode, ExecutionResult, GraphQLResolveInfo

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import ApiKey, SessionView
    from kernel_gateway.web.backendai.schemas import Question

MAX_TOKENS = 1000
MAX_DEPTH = 20  # all fragments on top of each other; introspection needs 13
MAX_ERRORS = 20
MAX_PAGE = 100  # the client asks for no more

_SCHEMA = build_schema(
    """
    scalar UUID
    scalar DateTime
    scalar JSONString

    type Query {
      keypair(access_key: String): KeyPair
      compute_session_list(
        limit: Int!, offset: Int!, filter: String, order: String, domain_name: String,
        group_id: UUID, access_key: String, status: String
      ): ComputeSessionList
      compute_session(id: UUID!): ComputeSession
    }

    type KeyPair {
      user_id: String  user_info: UserInfo  projects: [String]
      access_key: String  secret_key: String  is_active: Boolean  is_admin: Boolean
      created_at: DateTime  modified_at: DateTime  last_used: DateTime
      resource_policy: String  rate_limit: Int  concurrency_used: Int
      ssh_public_key: String  ssh_private_key: String  dotfiles: String  bootstrap_script: String
    }

    type UserInfo { email: String  full_name: String }

    type ComputeSessionList { items: [ComputeSession]!  total_count: Int! }

    type ComputeSession {
      id: UUID  session_id: UUID  main_kernel_id: UUID  tag: String  name: String  type: String
      image: String  registry: String  architecture: String
      cluster_template: String  cluster_mode: String  cluster_size: Int
      domain_name: String  group_name: String  group_id: UUID  agent_ids: [String]
      user_email: String  user_id: UUID  access_key: String
      created_user_email: String  created_user_id: UUID
      status: String  status_info: String  status_data: JSONString  status_changed: DateTime
      created_at: DateTime  terminated_at: DateTime  starts_at: DateTime  scheduled_at: DateTime
      startup_command: String  result: String  num_queries: Int
      resource_opts: JSONString  scaling_group: String  service_ports: JSONString
      mounts: [String]  occupying_slots: JSONString  occupied_slots: JSONString
      containers: [ComputeContainer]  dependencies: [ComputeSession]
      abusing_reports: [JSONString]  idle_checks: JSONString
    }

    type ComputeContainer {
      id: UUID  session_id: UUID  role: String
      cluster_role: String  cluster_idx: Int  cluster_hostname: String
      image: String  registry: String
      status: String  status_info: String  status_data: JSONString  status_changed: DateTime
      agent: String  container_id: String  resource_opts: JSONString  occupied_slots: JSONString
      preopen_ports: [Int]  live_stat: JSONString  last_stat: JSONString
    }
    """
)


class Source(Protocol):
    """Where the answers come from; all of it belongs to whoever asks."""

    async def own_key(self) -> ApiKey | None:
        """None for a caller with the gateway's token."""

    async def sessions(self, access_key: str | None) -> list[SessionView]:
        """Oldest first. `AdminsOnly` for the key of somebody else."""

    async def session(self, session_id: str) -> SessionView:
        """`SessionNotFound`."""


async def answered(question: Question, source: Source) -> dict[str, Json]:
    """`{"data", "errors"}`, as GraphQL has it."""
    try:
        document = parse(question.query, max_tokens=MAX_TOKENS)
        _check_depth(document)
    except RecursionError:
        return _refused([GraphQLError("The query is nested too deeply.")])
    except GraphQLError as fault:
        return _refused([fault])
    if faults := validate(_SCHEMA, document, max_errors=MAX_ERRORS):
        return _refused(faults)
    result: Any = execute(
        _SCHEMA,
        document,
        root_value=_QUESTIONS,
        context_value=source,
        variable_values=dict(question.variables),
        operation_name=question.operation,
    )
    return _result_json(await result if isawaitable(result) else result)


def _check_depth(document: DocumentNode) -> None:
    """As if each definition stood within the others: fragments may."""
    if sum(_depth(definition) for definition in document.definitions) > MAX_DEPTH:
        raise GraphQLError("The query is nested too deeply.")


def _depth(node: Any) -> int:
    deepest = 0
    left = [(node, 0)]
    while left:
        at, depth = left.pop()
        deepest = max(deepest, depth)
        inside = getattr(at, "selection_set", None)
        left.extend((part, depth + 1) for part in (inside.selections if inside else ()))
    return deepest


def _refused(faults: Sequence[GraphQLError]) -> dict[str, Json]:
    return {"data": None, "errors": [_error_json(fault) for fault in faults]}


def _result_json(result: ExecutionResult) -> dict[str, Json]:
    answer: dict[str, Json] = {"data": result.data}
    if result.errors:
        for fault in result.errors:
            _raise_ours(fault.original_error)
        answer["errors"] = [_error_json(fault) for fault in result.errors]
    return answer


def _raise_ours(fault: Exception | None) -> None:
    """The library takes every exception for an answer; one that is a bug of ours is none."""
    if fault is not None and not isinstance(fault, (CallerFault, GraphQLError)):
        raise fault


def _error_json(fault: GraphQLError) -> Json:
    formatted: dict[str, Any] = {**fault.formatted}
    return formatted


# -- questions ----------------------------------------------------------------------------------


async def _keypair(info: GraphQLResolveInfo[Any], access_key: str | None = None) -> dict[str, Any]:
    source: Source = info.context
    await source.sessions(access_key)  # refuses the key of somebody else
    key = await source.own_key()
    return {
        "user_id": None if key is None else key.owner,
        "user_info": {"email": None, "full_name": None},
        "projects": [render.GROUP],
        "access_key": None if key is None else key.access_key,
        "secret_key": None if key is None else key.secret,
        "is_active": True,
        "is_admin": False,
        "dotfiles": "[]",
    }


async def _session(info: GraphQLResolveInfo[Any], id: str) -> dict[str, Any] | None:  # noqa: A002 - GraphQL's name of it
    source: Source = info.context
    try:
        return _session_json(await source.session(id), await source.own_key())
    except SessionNotFound:
        return None


async def _session_list(
    info: GraphQLResolveInfo[Any],
    limit: int,
    offset: int,
    filter: str | None = None,  # noqa: A002 - GraphQL's name of it
    order: str | None = None,
    access_key: str | None = None,
    status: str | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Newest first, as the original has them."""
    if filter:
        raise InvalidField({"filter": "is not supported here"})
    source: Source = info.context
    sessions = await source.sessions(access_key)
    key = await source.own_key()
    items = [_session_json(session, key) for session in reversed(sessions)]
    wanted = set(status.split(",")) if status else None
    items = [item for item in items if wanted is None or item["status"] in wanted]
    page = _ordered(items, order)[max(0, offset) :][: max(0, min(limit, MAX_PAGE))]
    return {"items": page, "total_count": len(items)}


_QUESTIONS: Mapping[str, Callable[..., Any]] = {
    "keypair": _keypair,
    "compute_session": _session,
    "compute_session_list": _session_list,
}


def _ordered(items: list[dict[str, Any]], order: str | None) -> list[dict[str, Any]]:
    """`order` is as the original's: `+name,-created_at`, the first one counting most."""
    for key in reversed([key.strip() for key in (order or "").split(",") if key.strip()]):
        name = key.lstrip("+-")
        if name not in _ORDERED:
            raise InvalidField({"order": f"must be by {', '.join(_ORDERED)}, with + or - before"})
        items = sorted(items, key=lambda item: item[name] or "", reverse=key.startswith("-"))
    return items


_ORDERED = ("name", "image", "status", "created_at", "tag", "type")


def _session_json(session: SessionView, key: ApiKey | None) -> dict[str, Any]:
    status = render.status_of(session)
    created = common.instant(session.created_at)
    return {
        "id": session.id,
        "session_id": session.id,
        "main_kernel_id": session.id,
        "tag": session.tag,
        "name": session.name,
        "type": "INTERACTIVE",
        "image": session.image,
        "registry": "",
        "architecture": render.ARCHITECTURE,
        "cluster_mode": "single-node",
        "cluster_size": 1,
        "domain_name": render.DOMAIN,
        "group_name": render.GROUP,
        "agent_ids": [],
        "access_key": session.owner if key is None else key.access_key,
        "status": status,
        "status_info": session.kernel.reason,
        "status_changed": common.instant(session.kernel.last_activity),
        "created_at": created,
        "scheduled_at": created,
        "result": "UNDEFINED",
        "num_queries": session.run_count,
        "resource_opts": "{}",
        "service_ports": "{}",
        "mounts": [],
        "occupying_slots": "{}",
        "occupied_slots": "{}",
        "containers": [_container_json(session, status)],
        "dependencies": [],
        "abusing_reports": [],
        "idle_checks": "{}",
    }


def _container_json(session: SessionView, status: str) -> dict[str, Any]:
    return {
        "id": session.id,
        "session_id": session.id,
        "role": "main",
        "cluster_role": "main",
        "cluster_idx": 1,
        "cluster_hostname": "main1",
        "image": session.image,
        "registry": "",
        "status": status,
        "status_info": session.kernel.reason,
        "status_changed": common.instant(session.kernel.last_activity),
        "resource_opts": "{}",
        "occupied_slots": "{}",
        "preopen_ports": [],
        "live_stat": "{}",
        "last_stat": "{}",
    }
