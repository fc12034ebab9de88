"""Who may open the channels of a kernel: tokens, hosts, origins. Refused before the upgrade."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.e2e.jupyter.channels import TOKEN_PROTOCOL, V1, Channels
from tests.e2e.jupyter.sockets import RefusedError, connected
from tests.e2e.main_job.gateway import TOKEN

if TYPE_CHECKING:
    from tests.e2e.jupyter.conftest import Connect
    from tests.e2e.main_job.gateway import Kernel, Server


def address(server: Server, kernel: Kernel, query: str = "") -> str:
    return f"{server.url}/api/kernels/{kernel.id}/channels{query}"


async def answers(channels: Channels) -> None:
    assert "2\n" == (await channels.run("print(1 + 1)")).text()


@pytest.mark.parametrize("scheme", ["token", "Bearer", "bearer", "Token"])
async def test_a_token_may_come_in_a_header(shared: Kernel, server: Server, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}"}
    socket = await connected(address(server, shared), headers=headers)
    await answers(Channels(socket, "legacy", "a-session"))
    await socket.close()


async def test_a_token_may_come_in_the_query(shared: Kernel, server: Server) -> None:
    socket = await connected(address(server, shared, f"?token={TOKEN}"))
    await answers(Channels(socket, "legacy", "a-session"))
    await socket.close()
    assert [] == [line for line in server.lines if TOKEN in line]


@pytest.mark.parametrize("others", [[], [V1]])
async def test_a_token_may_come_as_a_subprotocol(
    shared: Kernel, server: Server, others: list[str]
) -> None:
    """Then a subprotocol is chosen that was offered, since a browser takes no other."""
    token = TOKEN_PROTOCOL + quote(TOKEN, safe="")
    socket = await connected(address(server, shared), subprotocols=[*others, token])
    assert (V1 if others else token) == socket.subprotocol
    await answers(Channels(socket, "v1" if others else "legacy", "a-session"))
    await socket.close()


@pytest.mark.parametrize(
    ("query", "headers", "offered"),
    [
        ("", {}, []),
        ("", {"Authorization": "token wrong"}, []),
        ("", {"Authorization": "token "}, []),
        ("", {"Authorization": f"Basic {TOKEN}"}, []),
        ("?token=wrong", {}, []),
        ("?token=", {}, []),
        ("", {}, [f"{TOKEN_PROTOCOL}wrong"]),
        ("", {}, [TOKEN_PROTOCOL]),
        ("", {"Cookie": f"token={TOKEN}"}, []),
        (f"?token={TOKEN}", {"Authorization": "token wrong"}, []),
    ],
)
async def test_without_the_token_there_is_no_upgrade(
    shared: Kernel,
    server: Server,
    query: str,
    headers: dict[str, str],
    offered: list[str],
) -> None:
    with pytest.raises(RefusedError) as refused:
        await connected(address(server, shared, query), headers=headers, subprotocols=offered)
    assert 401 == refused.value.status
    assert "unauthorized" == refused.value.json["error"]["code"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8888", "127.0.0.1.evil.example"])
async def test_a_foreign_host_is_refused(shared: Kernel, connect: Connect, host: str) -> None:
    with pytest.raises(RefusedError) as refused:
        await connect(shared, headers={"Host": host})
    assert 403 == refused.value.status


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
async def test_a_foreign_origin_is_refused(shared: Kernel, connect: Connect, origin: str) -> None:
    with pytest.raises(RefusedError) as refused:
        await connect(shared, headers={"Origin": origin})
    assert 403 == refused.value.status


async def test_our_own_origin_is_welcome(shared: Kernel, connect: Connect, server: Server) -> None:
    await answers(await connect(shared, headers={"Origin": server.url}))


async def test_a_kernel_that_nobody_knows_is_refused_before_the_upgrade(
    shared: Kernel, server: Server
) -> None:
    headers = {"Authorization": f"token {TOKEN}"}
    for name in ("0", "x" * 3000, "..%2f..%2f"):
        with pytest.raises(RefusedError) as refused:
            await connected(f"{server.url}/api/kernels/{name}/channels", headers=headers)
        assert 404 == refused.value.status


async def test_a_plain_get_is_told_what_is_missing(shared: Kernel) -> None:
    answer = await shared.call("GET", "/channels")
    assert 400 == answer.status
    assert "websocket" in answer.json["message"]
