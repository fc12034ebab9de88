"""Files of a session, sent and fetched."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from tornado.simple_httpclient import HTTPStreamClosedError

from tests.fake.web.backendai.test_access import check_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.fake.web.backendai.client import Caller
    from tests.shared.http import Response

MIB = 2**20
KIND = "multipart/form-data; boundary=xyz"


@pytest.fixture
async def session(caller: Caller) -> Caller:
    """A caller with a session."""
    await caller.create()
    return caller


async def upload(session: Caller, *files: tuple[str, bytes]) -> Response:
    parts = [
        b'--xyz\r\nContent-Disposition: form-data; name="src"; filename="%b"\r\n\r\n%b\r\n'
        % (name.encode(), data)
        for name, data in files
    ]
    body = b"".join(parts) + b"--xyz--\r\n"
    return await session.post("/session/mine/upload", body=body, content_type=KIND)


async def listing(session: Caller, path: str = ".") -> dict[str, Any]:
    answer = await session.get("/session/mine/files", {"path": path})
    assert (200, "") == (answer.status, answer.json["errors"]), answer.body
    return {entry["filename"]: entry for entry in json.loads(answer.json["files"])}


def unpacked(answer: Response) -> list[dict[str, bytes]]:
    """The files of each part."""
    border = b"--" + answer.headers["Content-Type"].partition("boundary=")[2].encode()
    before, *parts, end = answer.body.split(border)
    assert (b"", b"--\r\n") == (before, end)
    return [_files(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")) for part in parts]


def _files(data: Any) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            member.name: tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar.getmembers()
            if member.isfile()
        }


async def test_files_come_back_as_they_went(session: Caller) -> None:
    data = bytes(range(256)) * 100
    answer = await upload(session, ("a.txt", b"text"), ("sub%2Fdeep%2Fb%20%C3%BC.bin", data))
    assert (204, b"") == (answer.status, answer.body)
    wanted = ["a.txt", "/home/work/sub/deep/b ü.bin"]
    fetched = await session.get("/session/mine/download", {"files": wanted})
    assert fetched.headers["Content-Type"].startswith("multipart/mixed; boundary=")
    assert "identity" == fetched.headers["Content-Encoding"]
    assert [[("a.txt", b"text")], [("b ü.bin", data)]] == [
        [(path.rpartition("/")[2], content) for path, content in files.items()]
        for files in unpacked(fetched)
    ]


async def test_a_large_one_comes_in_pieces_and_whole(session: Caller) -> None:
    data = bytes(range(256)) * 4095
    await upload(session, ("large", data))
    fetched = await session.get("/session/mine/download", {"files": ["large", "large"]})
    assert [{"large": data}, {"large": data}] == unpacked(fetched)


@pytest.mark.logs_error(
    r"failed on our side, id [0-9a-f]{32} \(ZeroDivisionError", "Cannot send error response"
)
async def test_half_an_archive_does_not_look_like_a_whole_one(session: Caller) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"first"
        yield b"second"
        raise ZeroDivisionError

    give(session, breaks)
    with pytest.raises(HTTPStreamClosedError):
        await session.get("/session/mine/download", {"files": ["a"]})


@pytest.mark.logs_error(r"failed on our side, id [0-9a-f]{32} \(ZeroDivisionError")
async def test_what_shows_at_the_beginning_can_still_be_told(session: Caller) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        raise ZeroDivisionError
        yield b""

    give(session, breaks)
    answer = await session.get("/session/mine/download", {"files": ["a"]})
    check_problem(answer, 500, "internal-server-error")


async def test_nobody_packs_for_a_client_that_has_left(session: Caller) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(2**16)
        finally:
            closed.set()

    give(session, endless)
    path = "/session/mine/download?files=a"
    lines = [f"{name}: {value}" for name, value in session.signed("GET", path).items()]
    port = session.gateway.port
    head = "\r\n".join([f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *lines])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}\r\n\r\n".encode())
    await reader.readuntil(b"multipart/mixed")
    writer.close()
    async with asyncio.timeout(20):
        await closed.wait()


def give(session: Caller, archive: Callable[[], AsyncIterator[bytes]]) -> None:
    """Of every path this one."""

    async def archives(*_: object) -> list[AsyncIterator[bytes]]:
        return [archive()]

    session.gateway.service.archives = archives  # type: ignore[method-assign, assignment]


async def test_a_listing_is_of_one_folder(session: Caller) -> None:
    await upload(session, ("a.txt", b"text"), ("sub%2Fb", b""))
    for path in (".", "/home/work"):
        entries = await listing(session, path)
        assert {"a.txt", "sub"} == set(entries)
        assert (4, "-") == (entries["a.txt"]["size"], entries["a.txt"]["mode"][0])
        assert "d" == entries["sub"]["mode"][0]
    assert {"b"} == set(await listing(session, "/home/work/sub"))


async def test_both_take_query_parameters_too(session: Caller) -> None:
    await upload(session, ("a.txt", b"A"), ("b.txt", b"B"), ("sub%2Fc", b""))
    listed = await session.get("/session/mine/files?path=sub")
    assert ["c"] == [entry["filename"] for entry in json.loads(listed.json["files"])]
    fetched = await session.get("/session/mine/download?files=a.txt&files=b.txt")
    assert [{"a.txt": b"A"}, {"b.txt": b"B"}] == unpacked(fetched)


async def test_a_file_that_is_not_there_cannot_be_fetched(session: Caller) -> None:
    answer = await session.get("/session/mine/download", {"files": ["none"]})
    check_problem(answer, 404, "object-not-found")
    check_problem(await session.get("/session/mine/files?path=none"), 404, "object-not-found")


@pytest.mark.parametrize("name", ["..%2Fevil", "%2Ftmp%2Fevil", "sub%2F..%2F..%2Fevil"])
async def test_no_name_leads_out_of_the_folder(session: Caller, name: str) -> None:
    check_problem(await upload(session, ("ok", b""), (name, b"")), 400, "invalid-api-params")
    assert {} == await listing(session)


@pytest.mark.parametrize("path", ["..", "/etc", "/home/work/../.."])
async def test_no_path_leads_out_of_the_folder(session: Caller, path: str) -> None:
    listed = await session.get("/session/mine/files", {"path": path})
    check_problem(listed, 400, "invalid-api-params")
    fetched = await session.get("/session/mine/download", {"files": [path]})
    check_problem(fetched, 400, "invalid-api-params")


async def test_too_many_and_too_large_are_refused_whole(session: Caller) -> None:
    many = [(f"f{n}", b"x") for n in range(21)]
    check_problem(await upload(session, *many), 400, "invalid-api-params")
    large = await upload(session, ("ok", b""), ("large", bytes(MIB)))
    check_problem(large, 400, "invalid-api-params")
    huge = await upload(session, *((f"f{n}", bytes(2 * MIB)) for n in range(11)))
    check_problem(huge, 400, "invalid-api-params")
    six = await session.get("/session/mine/download", {"files": ["f"] * 6})
    check_problem(six, 400, "invalid-api-params")
    assert {} == await listing(session)
    assert 204 == (await upload(session, *many[:20])).status


async def test_what_is_no_upload_is_refused(session: Caller) -> None:
    for body in (b"", b"--xyz\r\n", b"--xyz--\r\n", b"none"):
        answer = await session.post("/session/mine/upload", body=body, content_type=KIND)
        check_problem(answer, 400, "invalid-api-params")


async def test_files_need_a_session(caller: Caller) -> None:
    for method, path in (("POST", "upload"), ("GET", "files"), ("GET", "download")):
        answer = await caller.call(method, f"/session/none/{path}", {})
        check_problem(answer, 404, "object-not-found")
