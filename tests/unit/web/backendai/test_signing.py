"""Signatures as the client makes them, and what is refused."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from kernel_gateway.errors import BadSigning
from kernel_gateway.web.backendai.signing import (
    Credential,
    SignedCall,
    bare_type,
    check_date,
    is_signed,
    read_credential,
    signature,
)

NOW = datetime(2026, 3, 1, 23, 59, 58, 123456, UTC)
SECRET = "se-crét"
CALL = SignedCall(
    method="POST",
    target="/bai/session/my%20one?owner_access_key=&x=*",
    date=NOW.isoformat(),
    host="localhost:8888",
    content_type="application/json",
    version="v7.20230615",
)


def clients_signature(call: SignedCall, date: datetime, hash_type: str = "sha256") -> str:
    """The client's own way, `generate_signature` of 23.9.10."""
    body_hash = hashlib.new(hash_type, b"").hexdigest()
    sign_str = (
        f"{call.method}\n{call.target}\n{date.isoformat()}\nhost:{call.host}\n"
        f"content-type:{call.content_type}\nx-backendai-version:{call.version}\n{body_hash}"
    )
    key = hmac.new(SECRET.encode(), date.strftime("%Y%m%d").encode(), hash_type).digest()
    key = hmac.new(key, call.host.encode(), hash_type).digest()
    return hmac.new(key, sign_str.encode(), hash_type).hexdigest()


def credential(made: str, algorithm: str = "sha256") -> Credential:
    return Credential(algorithm=algorithm, access_key="AK", signature=made)


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "sha512", "sha3_256", "blake2b"])
def test_what_the_client_signs_is_signed(algorithm: str) -> None:
    made = clients_signature(CALL, NOW, algorithm)
    assert made == signature(CALL, NOW, SECRET, algorithm)
    assert is_signed(CALL, NOW, credential(made, algorithm), SECRET)


def test_the_key_is_of_the_day_where_the_client_is() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    call = replace(CALL, date=there.isoformat())
    made = clients_signature(call, there)
    assert is_signed(call, check_date(call.date, NOW), credential(made), SECRET)


@pytest.mark.parametrize(
    "other",
    [
        {"method": "GET"},
        {"target": "/bai/session/my one?owner_access_key=&x=*"},
        {"date": (NOW + timedelta(microseconds=1)).isoformat()},
        {"host": "localhost"},
        {"content_type": "text/plain"},
        {"version": "v6.20230315"},
        {"version_header": "x-sorna-version"},
    ],
)
def test_each_part_of_a_call_is_signed(other: dict[str, str]) -> None:
    made = clients_signature(CALL, NOW)
    assert not is_signed(replace(CALL, **other), NOW, credential(made), SECRET)


def test_another_secret_an_unknown_key_and_no_signature_do_not_sign() -> None:
    made = clients_signature(CALL, NOW)
    assert not is_signed(CALL, NOW, credential(made), "another")
    assert not is_signed(CALL, NOW, credential(made), None)
    assert not is_signed(CALL, NOW, credential("é"), SECRET)
    assert not is_signed(CALL, NOW, credential(""), SECRET)


@pytest.mark.parametrize("scheme", ["BackendAI", "backendai", "Sorna"])
def test_a_header_is_read(scheme: str) -> None:
    header = f" {scheme}  signMethod=HMAC-SHA256,credential=AKIA:0aF9 "
    assert Credential(algorithm="sha256", access_key="AKIA", signature="0af9") == read_credential(
        header
    )


def test_the_order_of_its_parts_is_free() -> None:
    header = "BackendAI credential=a:b:c, more, signMethod=HMAC-SHA3_256"
    assert Credential(algorithm="sha3_256", access_key="a", signature="b:c") == read_credential(
        header
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        "BackendAI",
        "Basic YTpi",
        "BackendAI signMethod=HMAC-SHA256",
        "BackendAI signMethod=HMAC-SHA256, credential=",
        "BackendAI signMethod=HMAC-SHA256, credential=key",
        "BackendAI signMethod=HMAC-SHA256, credential=:sig",
        "BackendAI signMethod=HMAC-SHA256, credential=key:",
        "BackendAI credential=a:b",
        "BackendAI signMethod=SHA256, credential=a:b",
        "BackendAI signMethod=HMAC-MD5, credential=a:b",
        "BackendAI signMethod=HMAC-shake_128, credential=a:b",
        "BackendAI signMethod=HMAC-none, credential=a:b",
        "BackendAI signMethod=HMAC-, credential=a:b",
    ],
)
def test_a_header_that_cannot_be_read_is_refused(header: str) -> None:
    with pytest.raises(BadSigning):
        read_credential(header)


@pytest.mark.parametrize(
    ("header", "bare"),
    [
        ("", "application/octet-stream"),
        ("application/json", "application/json"),
        ("Multipart/Form-Data; boundary=abc", "multipart/form-data"),
        (" text/plain ;charset=utf-8", "text/plain"),
    ],
)
def test_the_bare_type_is_signed(header: str, bare: str) -> None:
    assert bare == bare_type(header)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T23:59:58.123456+00:00",
        "2026-03-02T08:59:58.123456+09:00",
        "2026-03-01T23:59:58.123456Z",
        "20260301T235958.123456Z",
        "2026-03-01T23:59:58.123456",
    ],
)
def test_dates_of_iso_8601_are_read(text: str) -> None:
    assert NOW == check_date(text, NOW)


def test_a_date_of_http_is_read() -> None:
    date = check_date("Sun, 01 Mar 2026 23:59:58 GMT", NOW)
    assert NOW.replace(microsecond=0) == date


@pytest.mark.parametrize("off", [timedelta(minutes=15), timedelta(minutes=-15)])
def test_a_date_is_good_for_fifteen_minutes(off: timedelta) -> None:
    check_date((NOW + off).isoformat(), NOW)
    with pytest.raises(BadSigning, match="15 minutes"):
        check_date((NOW + off + off / 1e6).isoformat(), NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "1772409598",
        "2026-13-01T00:00:00+00:00",
        "Mon, 20 Nov 1995 19:12:08 +99999999999999999999",
        "Mon, 20 Nov 99999999999999999999 19:12:08 GMT",
    ],
)
def test_no_date_is_refused(text: str) -> None:
    with pytest.raises(BadSigning):
        check_date(text, NOW)
