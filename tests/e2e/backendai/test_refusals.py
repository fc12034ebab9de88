"""Calls that are refused: by whom they are signed, when, and for what they ask."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.e2e.backendai.raw import Raw

if TYPE_CHECKING:
    from tests.e2e.backendai.client import Account, Sdk, Session
    from tests.e2e.backendai.conftest import Gateway

BAD = (400, "invalid-api-params")
BAD_AUTH = (400, "invalid-auth-params")
NOT_YOU = (401, "auth-failed")

CALLS = [
    ("GET", "/session/{}"),
    ("POST", "/session"),
    ("POST", "/session/{}"),
    ("PATCH", "/session/{}"),
    ("DELETE", "/session/{}"),
    ("POST", "/session/{}/complete"),
    ("POST", "/session/{}/interrupt"),
    ("POST", "/session/{}/upload"),
    ("GET", "/session/{}/files"),
    ("GET", "/session/{}/download"),
    ("GET", "/session/{}/logs"),
    ("GET", "/stream/session/{}/execute"),
    ("GET", "/events/session?sessionName={}"),
    ("POST", "/admin/gql"),
    ("GET", "/manager/announcement"),
]


# -- signatures


def test_the_signer_of_these_tests_is_understood(raw: Raw, session: Session) -> None:
    answer = raw.call("GET", f"/session/{session.name}")
    assert (200, "RUNNING") == (answer.status, answer.json["status"])


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_call_must_be_signed(
    raw: Raw, account: Account, session: Session, method: str, path: str
) -> None:
    path = path.format(session.name)
    unsigned = raw.with_headers({"Authorization": None})
    assert NOT_YOU == unsigned.call(method, path).kind
    forged = Raw(replace(account, secret_key="x" * len(account.secret_key)))
    assert NOT_YOU == forged.call(method, path).kind
    unknown = Raw(replace(account, access_key="AKIAUNKNOWNUNKNOWN00"))
    assert NOT_YOU == unknown.call(method, path).kind
    assert "1" == session.value("1")


def test_a_signature_is_of_one_call_only(raw: Raw, session: Session) -> None:
    signed = raw.call("GET", f"/session/{session.name}")
    assert 200 == signed.status
    now = datetime.now(UTC)
    stolen = Thief(raw.account, now).header("GET", f"/session/{session.name}")
    replay = raw.at(now).with_headers({"Authorization": stolen})
    assert 200 == replay.call("GET", f"/session/{session.name}").status
    assert NOT_YOU == replay.call("DELETE", f"/session/{session.name}").kind
    assert NOT_YOU == replay.call("GET", f"/session/{session.name}/logs").kind
    assert NOT_YOU == replay.call("GET", f"/session/{session.name}?x=1").kind
    later = raw.at(now + timedelta(seconds=1)).with_headers({"Authorization": stolen})
    assert NOT_YOU == later.call("GET", f"/session/{session.name}").kind


class Thief(Raw):
    """Has heard the signature of a call."""

    def header(self, method: str, target: str) -> str:
        host = self.account.endpoint.split("/")[2]
        return self._headers(method, target, host, "application/json")["Authorization"]


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24, 60 * 24 * 365])
def test_a_date_that_is_too_far_off_is_refused(raw: Raw, session: Session, minutes: int) -> None:
    then = datetime.now(UTC) + timedelta(minutes=minutes)
    assert BAD_AUTH == raw.at(then).call("GET", f"/session/{session.name}").kind


@pytest.mark.parametrize("minutes", [-14, 14])
def test_clocks_may_differ_a_little(raw: Raw, session: Session, minutes: int) -> None:
    then = datetime.now(UTC) + timedelta(minutes=minutes)
    assert 200 == raw.at(then).call("GET", f"/session/{session.name}").status


def test_a_header_of_its_own_stands_for_the_date(raw: Raw, session: Session) -> None:
    now = datetime.now(UTC)
    call = raw.at(now).with_headers({"Date": None, "X-BackendAI-Date": now.isoformat()})
    assert 200 == call.call("GET", f"/session/{session.name}").status


def test_a_date_in_another_zone_is_the_same_time(raw: Raw, session: Session) -> None:
    there = datetime.now(timezone(timedelta(hours=9)))
    assert 200 == raw.at(there).call("GET", f"/session/{session.name}").status


@pytest.mark.parametrize(
    "changes",
    [
        {"Date": None},
        {"Date": "yesterday"},
        {"Authorization": "BackendAI"},
        {"Authorization": "BackendAI signMethod=HMAC-SHA256"},
        {"Authorization": "BackendAI signMethod=HMAC-SHA256, credential=nocolon"},
        {"Authorization": "BackendAI signMethod=HMAC-NONE, credential=a:b"},
        {"Authorization": "Basic YTpi"},
    ],
    ids=lambda changes: str(next(iter(changes.values()))) + " " + next(iter(changes)),
)
def test_a_malformed_header_is_refused_as_such(
    raw: Raw, session: Session, changes: dict[str, str | None]
) -> None:
    answer = raw.with_headers(changes).call("GET", f"/session/{session.name}")
    assert BAD_AUTH == answer.kind


def test_a_version_that_is_not_ours_is_refused(account: Account, session: Session) -> None:
    for version, status in (("v1.19990101", 400), ("nonsense", 400), ("v5.20191215", 200)):
        answer = Raw(account, version=version).call("GET", f"/session/{session.name}")
        assert status == answer.status, version


@pytest.mark.parametrize("body", [None, {"mode": "query", "code": "1", "runId": None}])
def test_a_refused_call_says_so_when_its_connection_is_closed(
    account: Account, session: Session, body: Any
) -> None:
    """Else the client uses it again, and its next call ends in "connection reset by peer"."""
    forged = Raw(replace(account, secret_key="wrong"))
    where = ("POST", f"/session/{session.name}")
    first, *rest = forged.calls_on_one_connection(*where, body, times=3)
    assert NOT_YOU == first.kind
    assert (
        [] == rest
        if first.headers.get("connection") == "close"
        else [NOT_YOU] * 2 == [answer.kind for answer in rest]
    )


# -- foreign and missing sessions


def test_a_session_of_somebody_else_is_as_if_it_were_not(
    raw: Raw, other_account: Account, session: Session
) -> None:
    stranger = Raw(other_account)
    for who in (session.name, session.id):
        foreign = stranger.call("GET", f"/session/{who}")
        missing = stranger.call("GET", "/session/never-made")
        assert (404, "object-not-found") == foreign.kind == missing.kind
        assert "No such session." == foreign.json["title"]
        assert 404 == stranger.call("GET", f"/stream/session/{who}/execute").status
        assert 404 == stranger.call("GET", f"/events/session?sessionId={who}&scope=*").status


def test_an_unknown_path_and_method_are_named_as_such(raw: Raw, session: Session) -> None:
    assert (404, "url-not-found") == raw.call("GET", f"/session/{session.name}/no-such").kind
    assert (404, "url-not-found") == raw.call("POST", f"/session/{session.name}/rename").kind
    assert (405, "method-not-allowed") == raw.call("PUT", f"/session/{session.name}").kind


# -- bodies


@pytest.mark.parametrize(
    "body",
    [
        {"mode": "query", "code": "1"},
        {"mode": "", "code": "1", "runId": "r"},
        {"mode": "unknown", "code": "1", "runId": "r"},
        {"code": "1", "runId": "r"},
        {"mode": "continue", "code": "", "runId": None},
        {"mode": "input", "code": "", "runId": None},
        {"mode": "continue", "code": "", "runId": "never-begun"},
        {"mode": "query", "code": 1, "runId": "r"},
        {"mode": "query", "code": "1", "runId": 1},
        {"mode": "batch", "code": "", "runId": "r", "options": {"exec": 1}},
        {"mode": "batch", "code": "", "runId": "r", "options": "exec"},
        [],
        "text",
        1,
    ],
    ids=str,
)
def test_a_body_that_makes_no_sense_is_refused_and_harms_nothing(
    raw: Raw, session: Session, body: Any
) -> None:
    session.run("kept = 1")
    assert BAD == raw.call("POST", f"/session/{session.name}", body).kind
    assert "1" == session.value("kept")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"mode": "query"', b"[" * 100_000, b'{"a": NaN}'],
    ids=["empty", "cut", "no text", "unclosed", "deep", "not a number"],
)
@pytest.mark.parametrize("path", ["/session", "/session/{}", "/admin/gql"])
def test_a_body_that_is_no_json_is_refused(
    raw: Raw, session: Session, body: bytes, path: str
) -> None:
    answer = raw.send("POST", path.format(session.name), body)
    assert BAD == answer.kind, answer


def test_a_multipart_body_without_its_parts_is_refused(raw: Raw, session: Session) -> None:
    for body in (b"", b"--x\r\n", b"--x--\r\n", b"no part at all"):
        answer = raw.send(
            "POST",
            f"/session/{session.name}/upload",
            body,
            content_type="multipart/form-data; boundary=x",
        )
        assert BAD == answer.kind, (body, answer)


def test_a_name_of_a_session_is_never_a_path(raw: Raw) -> None:
    for name in ("..", "../..", "a/b", "%00", "x" * 10_000):
        assert raw.call("GET", f"/session/{quote(name, safe='')}").status in {400, 404}


def test_what_the_client_has_no_right_to_is_no_way_around(raw: Raw, session: Session) -> None:
    path = f"/session/{session.name}?owner_access_key=somebody"
    assert raw.call("GET", path).status in {400, 403, 404}


def test_post_can_stand_for_another_method(raw: Raw, session: Session) -> None:
    overridden = {"X-Method-Override": "GET"}
    answer = raw.send("POST", f"/session/{session.name}", headers=overridden)
    assert (200, "RUNNING") == (answer.status, answer.json["status"])


def test_answers_tell_of_the_limit_of_calls(raw: Raw, session: Session) -> None:
    headers = raw.call("GET", f"/session/{session.name}").headers
    names = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-window"}
    assert names <= set(headers)
    assert "900" == headers["x-ratelimit-window"]


def test_no_secret_is_in_the_log(gateway: Gateway, raw: Raw, session: Session, sdk: Sdk) -> None:
    Raw(replace(raw.account, secret_key="wrong")).call("GET", f"/session/{session.name}")
    raw.at(datetime.now(UTC) - timedelta(hours=1)).call("GET", f"/session/{session.name}")
    talk = session.query("from getpass import getpass\n_ = getpass()").to_the_prompt()
    talk.give("top-secret-answer").to_the_end()
    log = gateway.log()
    assert "top-secret-answer" not in log
    assert [] == [one for one in gateway.made if one.secret_key in log]
