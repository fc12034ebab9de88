"""`client/patience.py`: what is sent again, when, and what is given up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernel_gateway import errors
from kernel_gateway.client import protocol
from kernel_gateway.client.patience import Again, Attempts, Patience
from kernel_gateway.client.protocol import Answer

PATIENCE = Patience(tries=4, first_s=1.0, most_s=3.0, most_asked_s=60.0)
LOST = errors.Unreachable("cut")


def attempts(call: Any) -> Attempts[Any]:
    return Attempts(call, PATIENCE)


def refusal(status: int, code: str, retry_after: str | None = None) -> Answer:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    data = json.dumps({"error": {"code": code, "message": "Why."}}).encode()
    return Answer(status=status, headers=headers, body=data)


def test_the_pauses_double_up_to_the_longest_and_then_it_is_given_up() -> None:
    tried = attempts(protocol.limits())
    assert [Again(1.0), Again(2.0), Again(3.0)] == [tried.lost(LOST, 0.0) for _ in range(3)]
    with pytest.raises(errors.Unreachable):
        tried.lost(LOST, 0.0)


def test_with_a_limit_no_try_begins_after_it() -> None:
    patience = Patience(tries=99, first_s=1.0, most_s=3.0, total_s=10.0)
    tried = Attempts(protocol.limits(), patience)
    assert [Again(1.0), Again(2.0)] == [tried.lost(LOST, now) for now in (100.0, 105.0)]
    with pytest.raises(errors.Unreachable):
        tried.lost(LOST, 107.5)


def test_a_call_that_does_more_when_sent_twice_is_sent_once() -> None:
    tried = attempts(protocol.create_kernel())
    with pytest.raises(errors.Unreachable):
        tried.lost(LOST, 0.0)
    with pytest.raises(errors.TooManyKernels):
        tried.answered(refusal(429, "too_many_kernels", "1"), 0.0)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(429, "queue_full", errors.QueueFull), (503, "draining", errors.Draining)],
)
def test_a_pause_that_is_asked_for_is_kept_so_often_and_no_more(
    status: int, code: str, expected: type[errors.GatewayError]
) -> None:
    tried = attempts(protocol.limits())
    for _ in range(3):
        assert Again(7.0) == tried.answered(refusal(status, code, "7"), 0.0)
    with pytest.raises(expected):
        tried.answered(refusal(status, code, "7"), 0.0)


def test_nobody_may_ask_for_more_than_a_minute() -> None:
    assert Again(60.0) == attempts(protocol.limits()).answered(
        refusal(503, "draining", "9999"), 0.0
    )


def test_a_date_to_come_back_is_as_good_as_none() -> None:
    answer = refusal(503, "draining", "Fri, 01 Jan 2027 00:00:00 GMT")
    assert Again(1.0) == attempts(protocol.limits()).answered(answer, 0.0)


@pytest.mark.parametrize("status", [502, 504])
def test_a_proxy_that_has_lost_the_gateway_is_asked_again(status: int) -> None:
    answer = Answer(status=status, body=b"<html>")
    assert Again(1.0) == attempts(protocol.limits()).answered(answer, 0.0)


def test_an_answer_ends_it() -> None:
    assert {"a": 1} == attempts(protocol.limits()).answered(
        Answer(status=200, body=b'{"a": 1}'), 0.0
    )


def test_an_error_that_stays_is_told_at_once() -> None:
    with pytest.raises(errors.RunNotFound):
        attempts(protocol.run("r")).answered(refusal(404, "run_not_found"), 0.0)


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (protocol.delete_run("r"), 410, "run_expired"),
        (protocol.delete_run("r"), 404, "run_not_found"),
        (protocol.delete_kernel("k"), 404, "kernel_not_found"),
    ],
)
def test_what_is_gone_after_a_lost_answer_was_removed_by_it(
    call: Any, status: int, code: str
) -> None:
    tried = attempts(call)
    tried.lost(LOST, 0.0)
    assert tried.answered(refusal(status, code), 0.0) is None
    with pytest.raises(errors.GatewayError):
        attempts(call).answered(refusal(status, code), 0.0)


def test_an_error_of_another_kind_after_a_lost_answer_is_told() -> None:
    tried = attempts(protocol.delete_run("r"))
    tried.lost(LOST, 0.0)
    with pytest.raises(errors.RunActive):
        tried.answered(refusal(409, "run_active"), 0.0)
