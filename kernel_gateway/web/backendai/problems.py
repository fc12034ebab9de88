"""How an error looks in Backend.AI's API: `application/problem+json`.

Knows the errors of the gateway and the types that the original's clients know. Must not know HTTP
requests, nor who raised what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway import errors
from kernel_gateway.errors import GatewayError, InvalidField, SessionExists

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json

CONTENT_TYPE = "application/problem+json"
TYPES = "https://api.backend.ai/probs/"


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of error."""

    status: int
    slug: str  # the end of its `type`
    title: str


INVALID_PARAMS = Problem(400, "invalid-api-params", "Missing or invalid API parameters.")
INTERNAL = Problem(500, "internal-server-error", "Internal server error.")
UNAVAILABLE = Problem(503, "service-unavailable", "Service unavailable.")
NO_SESSION = Problem(404, "object-not-found", "No such session.")
METHOD_NOT_ALLOWED = Problem(405, "method-not-allowed", "HTTP Method Not Allowed.")

#: By the nearest class; what is not here is `INVALID_PARAMS`.
PROBLEMS: Mapping[type[GatewayError], Problem] = {
    errors.GatewayError: INTERNAL,
    errors.OurFault: UNAVAILABLE,
    errors.ImpossibleTransition: INTERNAL,
    errors.CallerFault: INVALID_PARAMS,
    errors.Unauthorized: Problem(401, "auth-failed", "Credential/signature mismatch."),
    errors.BadSigning: Problem(
        400, "invalid-auth-params", "Missing or invalid authorization parameters."
    ),
    errors.HostRefused: Problem(403, "generic-forbidden", "Forbidden operation."),
    errors.OriginRefused: Problem(403, "generic-forbidden", "Forbidden operation."),
    errors.AdminsOnly: Problem(403, "generic-forbidden", "Forbidden operation."),
    errors.KernelNotFound: NO_SESSION,
    errors.SessionNotFound: NO_SESSION,
    errors.FileNotThere: Problem(404, "object-not-found", "No such file."),
    errors.RouteNotFound: Problem(404, "url-not-found", "Unknown URL path."),
    errors.MethodNotAllowed: METHOD_NOT_ALLOWED,
    errors.RunIdConflict: Problem(
        409, "run-id-conflict", "The run ID is in use with another body."
    ),
    errors.SessionExists: Problem(
        400,
        "session-already-exists",
        "The session already exists but you requested not to reuse existing one.",
    ),
    errors.KernelDead: Problem(409, "session-dead", "The session's kernel does not run."),
    errors.TooManyKernels: Problem(412, "quota-exceeded", "You have reached your resource limit."),
    errors.TooMany: Problem(
        429, "rate-limit-exceeded", "You have reached your API query rate limit."
    ),
}


def problem_of(fault: GatewayError) -> Problem:
    return next(PROBLEMS[kind] for kind in type(fault).__mro__ if kind in PROBLEMS)


def problem_json(
    problem: Problem, message: str = "", data: Mapping[str, Json] | None = None
) -> dict[str, Json]:
    value: dict[str, Json] = {"type": TYPES + problem.slug, "title": problem.title}
    if message:
        value["msg"] = message
    if data:
        value["data"] = dict(data)
    return value


def data_of(fault: GatewayError) -> dict[str, Json]:
    """What a program may want to know of it."""
    if isinstance(fault, InvalidField):
        return dict(fault.fields)
    if isinstance(fault, SessionExists):
        return {"existingSessionId": fault.session_id}
    return {}
