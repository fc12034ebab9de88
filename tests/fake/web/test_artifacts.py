"""`/api/runs/{id}/artifacts`."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.runs.log import LogLimits
from kernel_gateway.runs.records import Artifact, ArtifactKind
from kernel_gateway.service import ArtifactContent
from tests.fake.web.events import listening
from tests.fake.web.gateway import Gateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DATA = b"0123456789"


async def saved(gateway: Gateway, name: str = "out.txt") -> tuple[str, Any]:
    """The address and the description of a file with ten digits."""
    run = await gateway.run(f"save {name} {DATA.decode()}")
    [artifact] = run["artifacts"]
    return f"/api/runs/{run['uid']}/artifacts/{artifact['id']}", artifact


async def test_a_file_is_listed_and_its_bytes_are_given(gateway: Gateway) -> None:
    path, artifact = await saved(gateway, "sub/out.txt")
    assert ("sub/out.txt", "file", "text/plain", 10) == (
        artifact["name"],
        artifact["kind"],
        artifact["mime"],
        artifact["size"],
    )
    listed = await gateway.get(path.rpartition("/")[0])
    assert {"items": [artifact]} == listed.json
    answer = await gateway.get(path)
    assert (200, DATA) == (answer.status, answer.body)
    assert f"sha256:{hashlib.sha256(DATA).hexdigest()}" == artifact["digest"]
    told = {name: answer.headers[name] for name in HEADERS}
    assert {
        "Content-Type": "text/plain",
        "Content-Length": "10",
        "Content-Disposition": "attachment; filename=\"out.txt\"; filename*=UTF-8''out.txt",
        "ETag": f'"{artifact["digest"]}"',
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "no-cache",
    } == told


HEADERS = (
    "Content-Type",
    "Content-Length",
    "Content-Disposition",
    "ETag",
    "Accept-Ranges",
    "X-Content-Type-Options",
    "Content-Security-Policy",
    "Cache-Control",
)


async def test_the_same_is_not_sent_twice(gateway: Gateway) -> None:
    path, artifact = await saved(gateway)
    for tag in (f'"{artifact["digest"]}"', f'W/"{artifact["digest"]}"', '"x", *', "*"):
        answer = await gateway.get(path, headers={"If-None-Match": tag})
        expected = (200, DATA) if tag == '"x", *' else (304, b"")
        assert expected == (answer.status, answer.body), tag
    assert 200 == (await gateway.get(path, headers={"If-None-Match": '"other"'})).status


@pytest.mark.parametrize(
    ("wanted", "start", "stop"), [("0-", 0, 10), ("2-4", 2, 5), ("-3", 7, 10), ("9-99", 9, 10)]
)
async def test_a_part_is_given(gateway: Gateway, wanted: str, start: int, stop: int) -> None:
    path, artifact = await saved(gateway)
    for more in ({}, {"If-Range": f'"{artifact["digest"]}"'}):
        answer = await gateway.get(path, headers={"Range": f"bytes={wanted}", **more})
        assert (206, DATA[start:stop]) == (answer.status, answer.body)
        assert f"bytes {start}-{stop - 1}/10" == answer.headers["Content-Range"]
        assert str(stop - start) == answer.headers["Content-Length"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,4-5"},
        {"Range": "bytes=2-4", "If-Range": '"other"'},
        {"Range": "bytes=2-4", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
)
async def test_a_part_of_something_else_is_the_whole(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    path, _ = await saved(gateway)
    answer = await gateway.get(path, headers=headers)
    assert (200, DATA) == (answer.status, answer.body)


async def test_a_part_behind_the_end_is_416(gateway: Gateway) -> None:
    path, _ = await saved(gateway)
    answer = await gateway.get(path, headers={"Range": "bytes=10-"})
    assert (416, "range_not_satisfiable") == (answer.status, answer.error["code"])
    assert "bytes */10" == answer.headers["Content-Range"]


async def test_an_artifact_that_is_not_there_is_404(gateway: Gateway) -> None:
    path, _ = await saved(gateway)
    for wrong in ("x", "..", "%2e%2e%2f", "%00"):
        answer = await gateway.get(f"{path.rpartition('/')[0]}/{wrong}")
        assert (404, "artifact_not_found") == (answer.status, answer.error["code"])
    assert 404 == (await gateway.get("/api/runs/none/artifacts")).status


async def test_a_value_that_is_too_big_is_had_by_its_reference(tmp_path: Path) -> None:
    limits = LogLimits(inline_bytes=100)
    async with running_gateway(tmp_path, log=limits) as gateway:
        run = await gateway.run(f"display text/html {'é' * 100}")
        [artifact] = run["artifacts"]
        assert ("oversized", "text/html", 200) == (
            artifact["kind"],
            artifact["mime"],
            artifact["size"],
        )
        answer = await gateway.get(f"/api/runs/{run['uid']}/artifacts/{artifact['id']}")
        assert "é" * 100 == answer.body.decode()
        assert "text/html; charset=utf-8" == answer.headers["Content-Type"]
        assert "text-html" in answer.headers["Content-Disposition"]
        spilled = run["outputs"][0]["metadata"]["kernel_gateway"]["spilled"]
        assert artifact["id"] == spilled["text/html"]["artifact"]


# -- names, types and faults that no test can have a kernel make ----------------------------------


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def with_artifact(gateway: Gateway, pieces: AsyncIterator[bytes], **changes: Any) -> str:
    """The address of one that the engine is made to have."""
    uid = (await gateway.run("print a"))["uid"]
    plain = Artifact(
        id="a",
        name="f",
        kind=ArtifactKind.FILE,
        mime="text/plain",
        size=4,
        digest=f"sha256:{64 * '0'}",
    )
    artifact = replace(plain, **changes)
    run = gateway.service.run

    async def with_one(*args: Any) -> Any:
        return replace(await run(*args), artifacts=(artifact,))

    async def content(*_: Any, **__: Any) -> ArtifactContent:
        return ArtifactContent(artifact=artifact, pieces=pieces)

    gateway.service.run = with_one  # type: ignore[method-assign, assignment]
    gateway.service.artifact = content  # type: ignore[method-assign]
    return f"/api/runs/{uid}/artifacts/a"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b/c.txt", "c.txt"),
        ("..", "a"),
        ("x/", "a"),
        ('a"\r\nSet-Cookie: x', "a%22__Set-Cookie%3A%20x"),
        ("a\\b", "a_b"),
        ("\udcff", "_"),
    ],
)
async def test_a_name_of_user_code_stays_a_name(gateway: Gateway, name: str, shown: str) -> None:
    path = await with_artifact(gateway, _pieces(DATA[:4]), name=name)
    answer = await gateway.get(path)
    assert 200 == answer.status
    assert answer.headers["Content-Disposition"].endswith(f"filename*=UTF-8''{shown}")
    assert "Set-Cookie" not in answer.headers
    assert [name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")] == [
        item["name"]
        for item in json.loads((await gateway.get(path.removesuffix("/a"))).body)["items"]
    ]


async def test_a_type_of_user_code_cannot_make_headers(gateway: Gateway) -> None:
    path = await with_artifact(gateway, _pieces(DATA[:4]), mime="text/html\r\nX: y")
    answer = await gateway.get(path)
    assert "application/octet-stream" == answer.headers["Content-Type"]


async def test_what_breaks_off_does_not_look_whole(gateway: Gateway) -> None:
    path = await with_artifact(gateway, _pieces(DATA[:3]))
    async with listening(gateway, path) as stream:
        assert "Content-Length: 4\r\n" in stream.head
        assert DATA[:3] == await stream.raw()


@pytest.mark.logs_error("failed on our side", "Cannot send error response")
async def test_a_fault_half_way_does_not_look_like_the_whole(gateway: Gateway) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield DATA[:3]
        raise OSError("the disk is gone")

    path = await with_artifact(gateway, broken())
    async with listening(gateway, path) as stream:
        assert DATA[:3] == await stream.raw()


@pytest.mark.logs_error("failed on our side")
async def test_a_fault_before_the_first_piece_is_told(gateway: Gateway) -> None:
    async def broken() -> AsyncIterator[bytes]:
        if DATA:
            raise OSError("the disk is gone")
        yield b""

    path = await with_artifact(gateway, broken())
    assert 500 == (await gateway.get(path)).status


async def test_a_client_that_goes_lets_go_of_the_file(gateway: Gateway) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(2**20)
        finally:
            closed.set()

    path = await with_artifact(gateway, endless(), size=2**40)
    async with listening(gateway, path, limit=2**10) as stream:
        assert 200 == stream.status
    async with asyncio.timeout(20):
        await closed.wait()
