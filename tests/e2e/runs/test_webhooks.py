"""Receivers of webhooks that are down, slow or of two minds: in order, and each record once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from ipaddress import ip_address
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.main_job.gateway import HANG_LIMIT_S, Gate, serving
from tests.e2e.runs.caller import Caller
from tests.shared.receiver import Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel, Server

SECRET = "a-secret-of-both"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PARTS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It does not wait long before it tries again, and delivers text at once."""
    options = ("allowed_hosts=127.0.0.1", "first_pause_s=0.01", "every_s=0.01")
    folder = tmp_path_factory.mktemp("webhooks")
    with serving(folder / "data", *(f"--Webhooks.{option}" for option in options)) as server:
        yield server


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def kept(receiver: Receiver, uid: str) -> list[Any]:
    """What a receiver has that drops what it had already."""
    last, items = 0, []
    for post in receiver.posts:
        if post.json["uid"] == uid:
            for record in post.records:
                if record["seq"] > last:
                    last = record["seq"]
                    items.append(record)
    return items


def completed(receiver: Receiver, uid: str) -> list[Any]:
    return [item for item in kept(receiver, uid) if item["kind"] == "completed"]


async def heard_of(receiver: Receiver, uid: str) -> Any:
    """Its `completed`, when that has come."""
    await receiver.until(lambda: completed(receiver, uid))
    (end,) = completed(receiver, uid)
    return end


async def deliveries_of(kernel: Kernel, uid: str) -> list[Any]:
    """Of a run that has one, once it is noted; what is executed meanwhile is not held up."""
    found: list[Any] = []
    async with asyncio.timeout(HANG_LIMIT_S):
        while not found:
            assert "x\n" == (await kernel.run("print('x')")).text()
            found = (await kernel.client.run(uid))["webhook"]["deliveries"]
    return found


def webhook(receiver: Receiver, *events: str) -> dict[str, Any]:
    return {"url": receiver.url, "secret": SECRET, **({"events": events} if events else {})}


async def test_deliveries_are_signed_numbered_and_carry_the_trace_of_the_caller(
    kernel: Kernel, caller: Caller, receiver: Receiver
) -> None:
    body = {
        "mode": "query",
        "kernel": kernel.id,
        "code": "print('x')",
        "webhook": webhook(receiver),
    }
    answer = await caller.call("POST", "/api/runs", body, headers={"traceparent": TRACE})
    run = answer.json
    end = await heard_of(receiver, run["uid"])
    assert ("ok", "finished") == (end["outcome"], end["run"]["state"])
    for post in receiver.posts:
        digest = hmac.new(SECRET.encode(), post.body, hashlib.sha256).hexdigest()
        assert f"sha256={digest}" == post.headers["kernel-gateway-signature"]
        assert post.json["delivery"] == post.headers["kernel-gateway-delivery"]
        assert str(post.json["attempt"]) == post.headers["kernel-gateway-attempt"]
        assert TRACE == post.headers["traceparent"]
    stored = await caller.records(run["uid"])
    told = kept(receiver, run["uid"])
    assert [item["seq"] for item in told] == sorted({item["seq"] for item in told})
    by_seq = {item["seq"]: item for item in stored}
    assert [by_seq[item["seq"]] for item in told[:-1]] == told[:-1]
    assert {"state", "log", "completed"} == {item["kind"] for item in told}


async def test_a_receiver_that_fails_every_second_time_has_everything_once_and_in_order(
    kernel: Kernel, caller: Caller, receiver: Receiver, tmp_path: Path
) -> None:
    """Each part is printed when the one before has arrived, so there are many deliveries."""
    receiver.reacts_by(cycle((503, 200)))
    gates = [Gate(tmp_path, str(number)) for number in range(PARTS)]
    code = "\n".join(f"print({n})\n{gate.code}" for n, gate in enumerate(gates))
    run = await caller.create(kernel=kernel.id, code=code, webhook=webhook(receiver))
    for number, gate in enumerate(gates):
        await receiver.until(lambda n=number: f"{n}\n" in printed(receiver, run["uid"]))  # type: ignore[misc]
        await gate.open()
    await heard_of(receiver, run["uid"])
    assert "".join(f"{number}\n" for number in range(PARTS)) == printed(receiver, run["uid"])
    attempts = {(post.json["delivery"], post.json["attempt"]) for post in receiver.posts}
    assert len(receiver.posts) == len(attempts) >= 2 * PARTS
    wanted = {"state", "log", "completed"}
    stored = [
        item["seq"]
        for item in await caller.records(run["uid"])
        if item["kind"] in wanted and item.get("state") != "finished"  # that is `completed`
    ]
    assert stored == [item["seq"] for item in kept(receiver, run["uid"])]


def printed(receiver: Receiver, uid: str) -> str:
    return "".join(item["text"] for item in kept(receiver, uid) if item["kind"] == "log")


async def test_a_slow_receiver_and_one_that_is_down_hold_up_no_run(
    kernel: Kernel, caller: Caller, receiver: Receiver
) -> None:
    answered = asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    receiver.reacts(then=slowly)
    async with receiving() as down:
        down_url = down.url
    slow = await caller.create(kernel=kernel.id, code="print('s')", webhook=webhook(receiver))
    lost = await caller.create(kernel=kernel.id, code="1", webhook={"url": down_url})
    await receiver.until_posts(1)
    for number in range(20):
        assert f"{number}\n" == (await kernel.run(f"print({number})")).text()
    assert "ok" == (await caller.over(slow["uid"]))["outcome"]
    assert "ok" == (await caller.over(lost["uid"]))["outcome"]
    assert 1 == len(receiver.posts)
    answered.set()
    await heard_of(receiver, slow["uid"])
    assert "s\n" == printed(receiver, slow["uid"])
    assert 1 == receiver.most_at_once
    tried = await deliveries_of(kernel, lost["uid"])
    assert {None} == {delivery["status"] for delivery in tried}
    assert all(delivery["error"] for delivery in tried)


async def test_a_receiver_that_refuses_is_not_asked_again_and_a_redirect_is_not_followed(
    kernel: Kernel, caller: Caller, receiver: Receiver
) -> None:
    async with receiving() as elsewhere:
        redirect = f"HTTP/1.1 307 Go\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
        for reaction, status in ((410, 410), (redirect.encode(), 307)):
            receiver.posts.clear()
            receiver.reacts(then=reaction)
            run = await caller.create(
                kernel=kernel.id, code="1", webhook=webhook(receiver, "completed")
            )
            await receiver.until_posts(1)
            (delivery,) = await deliveries_of(kernel, run["uid"])
            assert (1, status) == (delivery["attempt"], delivery["status"])
            assert 1 == len(receiver.posts)
        assert [] == elsewhere.posts


async def test_no_address_within_is_called_that_was_not_allowed(
    receiver: Receiver, tmp_path: Path
) -> None:
    """What is an address is refused at once; what a name stands for is seen when it is called."""
    addresses = ["127.0.0.1", "0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
    written_otherwise = ["localhost", "2130706433", "127.1", "0x7f000001"]
    with serving(tmp_path / "data") as server:
        caller = Caller(server)
        kernel = await caller.kernel()
        for host in (*addresses, *written_otherwise):
            url = f"http://{host}:{receiver.port}/"
            refused = await caller.post(kernel=kernel.id, code="1", webhook={"url": url})
            assert (422, "webhook.url") == (refused.status, refused.error["field"]), host
        for name in own_names():
            url = f"http://{name}:{receiver.port}/"
            run = await caller.create(kernel=kernel.id, code="1", webhook={"url": url})
            for one in await deliveries_of(kernel, run["uid"]):
                assert (None, 1) == (one["status"], one["attempt"]), one
                assert "may not be called" in one["error"], one
        assert 204 == (await kernel.delete()).status
        await caller.close()
    assert [] == receiver.posts


def own_names() -> list[str]:
    """Of this machine, where it has one that stands for an address within."""
    name = socket.gethostname()
    try:
        address = ip_address(socket.gethostbyname(name))
    except OSError:
        return []
    return [name] if address.is_private else []
