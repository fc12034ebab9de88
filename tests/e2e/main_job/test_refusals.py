"""Calls that make no sense: refused with the name of the field, and nobody is the worse for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.main_job.gateway import HANG_LIMIT_S

if TYPE_CHECKING:
    from tests.e2e.main_job.gateway import Client, Kernel, Server
    from tests.shared.http import Response

MIB = 2**20
BIG = 40 * MIB
CALLS = 20

QUERY = {"mode": "query", "code": "1"}
WRONG: list[tuple[str, Any]] = [
    ("mode", {"code": "1"}),
    ("mode", {"mode": "no such mode", "code": "1"}),
    ("mode", {"mode": None, "code": "1"}),
    ("mode", {"mode": ["query"], "code": "1"}),
    ("code", {"mode": "query"}),
    ("code", {"mode": "query", "code": None}),
    ("code", {"mode": "query", "code": 5}),
    ("code", {"mode": "query", "code": ["1"]}),
    ("code", {"mode": "query", "code": "print('\0')"}),
    ("code", {"mode": "query", "code": "print('\ud800')"}),
    ("code", {"mode": "input", "runId": "x", "code": "\udfff"}),
    ("code", {"mode": "input", "runId": "x"}),
    ("runId", {"mode": "continue"}),
    ("runId", {"mode": "continue", "runId": None}),
    ("runId", {**QUERY, "runId": 5}),
    ("runId", {**QUERY, "runId": ""}),
    ("runId", {**QUERY, "runId": "x" * 256}),
    ("runId", {**QUERY, "runId": "a\0b"}),
    ("runId", {**QUERY, "runId": "\ud83d"}),
    ("runId", {**QUERY, "runId": "line\nbreak"}),
    ("options", {**QUERY, "options": "fast"}),
    ("options.wait", {**QUERY, "options": {"wait": "2"}}),
    ("options.wait", {**QUERY, "options": {"wait": -1}}),
    ("options.wait", {**QUERY, "options": {"wait": 1e9}}),
    ("options.after", {**QUERY, "options": {"after": "yesterday"}}),
    ("options.after", {**QUERY, "options": {"after": -1}}),
    ("options.prompt_id", {**QUERY, "options": {"prompt_id": 0}}),
    ("options.sooner", {**QUERY, "options": {"sooner": True}}),
    ("unknown", {**QUERY, "unknown": 1}),
]
NO_JSON = [b"", b"{", b"[]", b'"text"', b"null", b'{"mode": NaN}', b"\xff\xfe", b"[" * 100_000]


@pytest.mark.parametrize(("field", "body"), WRONG)
async def test_a_wrong_field_is_refused_by_its_name(
    shared: Kernel, field: str, body: dict[str, Any]
) -> None:
    answer = await shared.execute(**body)
    assert (422, "invalid_field") == (answer.status, answer.error["code"])
    assert field == answer.error["field"]
    assert field in answer.error["message"]
    _must_be_clean(answer)


async def test_all_wrong_fields_are_told_at_once(shared: Kernel) -> None:
    answer = await shared.execute(mode="x", code=1, runId="", options={"wait": []}, more=1)
    assert {"mode", "code", "runId", "options.wait", "more"} == set(answer.error["fields"])


@pytest.mark.parametrize("body", NO_JSON)
async def test_what_is_no_json_object_is_refused(
    shared: Kernel, client: Client, body: bytes
) -> None:
    path = f"/api/kernels/{shared.id}/execute"
    answer = await client.call("POST", path, body=body)
    expected = (400, "bad_json") if body else (422, "invalid_field")  # nothing is an empty object
    assert expected == (answer.status, answer.error["code"])
    _must_be_clean(answer)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("code", b'{"mode": "query", "code": "\xed\xa0\x80"}'),
        ("code", b'{"mode": "query", "code": "\\ud83d"}'),
        ("code", b'{"mode": "query", "code": "\\u0000"}'),
        ("code", b'{"mode": "query", "code": 1%s}' % (b"0" * 4000)),
        ("options.wait", b'{"mode": "query", "code": "1", "options": {"wait": 1e999}}'),
        ("options.wait", b'{"mode": "query", "code": "1", "options": {"wait": -1e999}}'),
    ],
)
async def test_what_only_bytes_can_say_is_refused_by_its_field(
    shared: Kernel, client: Client, field: str, body: bytes
) -> None:
    answer = await client.call("POST", f"/api/kernels/{shared.id}/execute", body=body)
    assert (422, field) == (answer.status, answer.error["field"])
    _must_be_clean(answer)


@pytest.mark.parametrize(
    ("verb", "rest"),
    [
        ("POST", "/execute"),
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/interrupt"),
        ("POST", "/restart"),
    ],
)
async def test_an_unknown_kernel_is_not_found(client: Client, verb: str, rest: str) -> None:
    body = QUERY if rest == "/execute" else None
    answer = await client.call(verb, f"/api/kernels/no-such-kernel{rest}", body)
    assert (404, "kernel_not_found") == (answer.status, answer.error["code"])
    _must_be_clean(answer)


async def test_an_unknown_kernelspec_is_not_found(client: Client) -> None:
    answer = await client.call("POST", "/api/kernels", {"name": "no-such-spec"})
    assert (404, "kernelspec_not_found") == (answer.status, answer.error["code"])
    _must_be_clean(answer)


async def test_code_of_40_mb_is_refused_and_twenty_of_them_take_no_memory_for_good(
    shared: Kernel, client: Client, server: Server
) -> None:
    """The first few may: Python keeps what it once had. After that nothing may grow."""
    body = json.dumps({"mode": "query", "code": "#" * BIG}).encode()
    resident: list[float] = []
    for _ in range(CALLS):
        answer = await client.call("POST", f"/api/kernels/{shared.id}/execute", body=body)
        assert (413, "too_large") == (answer.status, answer.error["code"])
        assert "code" == answer.error["field"]
        _must_be_clean(answer)
        resident.append(server.memory_mb())
    assert max(resident[3:]) - max(resident[:3]) < 40, resident
    assert server.memory_mb("VmHWM") < 500


async def test_code_of_40_mb_in_a_field_of_another_name_is_refused_without_being_quoted(
    shared: Kernel, client: Client
) -> None:
    body = json.dumps({"mode": "query", "code": {"not": "#" * BIG}}).encode()
    answer = await client.call("POST", f"/api/kernels/{shared.id}/execute", body=body)
    assert (422, "code") == (answer.status, answer.error["field"])
    assert len(answer.body) < 1000


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
async def test_a_body_of_40_mb_without_a_token_is_refused_before_it_is_read(
    server: Server, shared: Kernel, chunked: bool
) -> None:
    """The answer comes though only the first bytes of the body were sent."""
    size = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {BIG}"
    head = (
        f"POST /api/kernels/{shared.id}/execute HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\n{size}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        begun = b"10\r\n" + b"#" * 16 + b"\r\n" if chunked else b"#" * 16
        writer.write(head.encode() + begun)
        async with asyncio.timeout(2.0):
            line = await reader.readline()
        assert b"HTTP/1.1 401 " == line[:13]
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_whoever_sends_40_mb_without_a_token_gets_the_refusal_and_costs_no_memory(
    server: Server, shared: Kernel
) -> None:
    head = (
        f"POST /api/kernels/{shared.id}/execute HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {BIG}\r\n\r\n"
    )
    before = server.memory_mb()
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(head.encode() + b"#" * BIG)
            async with asyncio.timeout(HANG_LIMIT_S):
                answer = await reader.read()
            assert b"HTTP/1.1 401 " == answer[:13]
            assert b"unauthorized" in answer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
    assert server.memory_mb() - before < 20


async def test_after_all_refusals_the_kernel_is_none_the_worse(shared: Kernel) -> None:
    talk = await shared.run("print('still here')")
    assert (0, "still here\n") == (talk.exit_code, talk.text())
    assert 1 == (await talk.standing())["kernel"]["generation"]


def _must_be_clean(answer: Response) -> None:
    """No word of our inside."""
    for word in (b"Traceback", b'File \\"', b".py", b"site-packages"):
        assert word not in answer.body
