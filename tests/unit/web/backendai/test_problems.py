"""Errors as problems: the table of the contract."""

from __future__ import annotations

import pytest

from kernel_gateway import errors
from kernel_gateway.web.backendai.problems import data_of, problem_json, problem_of

EXISTS = errors.SessionExists("mine", "uuid")


@pytest.mark.parametrize(
    ("fault", "status", "slug"),
    [
        (errors.Unauthorized("x"), 401, "auth-failed"),
        (errors.BadSigning("x"), 400, "invalid-auth-params"),
        (errors.BadJson("x"), 400, "invalid-api-params"),
        (errors.InvalidField({"a": "b"}), 400, "invalid-api-params"),
        (errors.TooLarge("x"), 400, "invalid-api-params"),
        (errors.OutsideFolder("x"), 400, "invalid-api-params"),
        (errors.RunNotFound("x"), 400, "invalid-api-params"),
        (errors.RunExpired("x"), 400, "invalid-api-params"),
        (errors.NotWaiting("x"), 400, "invalid-api-params"),
        (errors.WrongPrompt("x"), 400, "invalid-api-params"),
        (errors.KernelSpecNotFound("x"), 400, "invalid-api-params"),
        (EXISTS, 400, "session-already-exists"),
        (errors.SessionNotFound("x"), 404, "object-not-found"),
        (errors.KernelNotFound("x"), 404, "object-not-found"),
        (errors.FileNotThere("x"), 404, "object-not-found"),
        (errors.RouteNotFound("x"), 404, "url-not-found"),
        (errors.MethodNotAllowed("x"), 405, "method-not-allowed"),
        (errors.RunIdConflict("x"), 409, "run-id-conflict"),
        (errors.KernelDead("x"), 409, "session-dead"),
        (errors.TooManyKernels("x"), 412, "quota-exceeded"),
        (errors.QueueFull("x"), 429, "rate-limit-exceeded"),
        (errors.TooManyCalls("x"), 429, "rate-limit-exceeded"),
        (errors.AdminsOnly("x"), 403, "generic-forbidden"),
        (errors.HostRefused("x"), 403, "generic-forbidden"),
        (errors.Draining("x"), 503, "service-unavailable"),
        (errors.StoreUnavailable("x"), 503, "service-unavailable"),
        (errors.DiskFull("x"), 503, "service-unavailable"),
        (errors.ImpossibleTransition("x"), 500, "internal-server-error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_fault_is_a_problem_of_a_known_type(
    fault: errors.GatewayError, status: int, slug: str
) -> None:
    problem = problem_of(fault)
    assert (status, slug) == (problem.status, problem.slug)


def test_a_session_that_is_not_there_has_the_title_of_the_original() -> None:
    assert "No such session." == problem_of(errors.SessionNotFound("x")).title


def test_a_problem_says_its_type_and_what_there_is_beside() -> None:
    bare = problem_json(problem_of(EXISTS))
    assert {"type", "title"} == set(bare)
    assert "https://api.backend.ai/probs/session-already-exists" == bare["type"]
    full = problem_json(problem_of(EXISTS), EXISTS.message, data_of(EXISTS))
    assert {**bare, "msg": EXISTS.message, "data": {"existingSessionId": "uuid"}} == full


def test_a_wrong_field_is_named() -> None:
    assert {"a.b": "is needed"} == data_of(errors.InvalidField({"a.b": "is needed"}))
