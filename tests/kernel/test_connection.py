"""The connection against a peer made of bare sockets: hostile frames, slow joiners, silence."""

from __future__ import annotations

import asyncio
import resource
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import zmq

from kernel_gateway import process_limits
from kernel_gateway.errors import KernelStartFailed
from kernel_gateway.kernels import sockets
from kernel_gateway.kernels.connection import ConnectionInfo, KernelConnection
from kernel_gateway.kernels.sockets import BATCH_MESSAGES, DrainedSocket
from kernel_gateway.messaging.message import (
    Channel,
    Header,
    Message,
    MsgId,
    execute_request,
)
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.wire import Signer, from_frames, to_frames
from tests.shared.kernels import HANG_LIMIT_S, Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from kernel_gateway.kernels.sockets import Frames
    from kernel_gateway.messaging.strict_json import Json

KEY = b"secret"
PORTS = ("shell", "control", "stdin", "iopub", "hb")
INFO_REPLY: dict[str, Json] = {"implementation": "peer", "protocol_version": "5.3"}


class Peer:
    """Binds a kernel's five sockets and answers nothing but what it is told to."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], base: Path) -> None:
        ports = {name: number for number, name in enumerate(PORTS)}
        fields = {f"{name}_port": number for name, number in ports.items()}
        self.raw: dict[str, object] = {"transport": "ipc", "ip": str(base), "key": KEY, **fields}
        self.info = ConnectionInfo.of(self.raw)
        self.asked: list[RawMessage] = []
        self.signer = Signer(KEY)
        self._identity = b""
        self._is_heard = False  # whether somebody would get what is published
        self._news = asyncio.Event()
        self._bound = [
            self._bind(context, zmq.ROUTER, "shell", self._on_shell),
            self._bind(context, zmq.XPUB, "iopub", self._on_subscriber),
            self._bind(context, zmq.ROUTER, "hb", self._on_heart),
        ]
        self.has_heart = True
        self.answers_info = True

    def publish(self, msg_type: str, content: dict[str, Json], parent: Header | None) -> None:
        message = _message(Channel.IOPUB, msg_type, content, parent)
        self.publish_frames(to_frames(message, self.signer))

    def publish_frames(self, frames: Frames) -> None:
        self._bound[1].send([b"topic", *frames])

    def reply(self, msg_type: str, content: dict[str, Json], parent: Header) -> None:
        message = _message(Channel.SHELL, msg_type, content, parent)
        self._bound[0].send([self._identity, *to_frames(message, self.signer)])

    def answer_info(self, parent: Header, *, over_iopub: bool) -> None:
        if over_iopub:
            self.publish("status", {"execution_state": "busy"}, parent)
        self.reply("kernel_info_reply", INFO_REPLY, parent)

    async def asked_for(self, number: int) -> RawMessage:
        async with asyncio.timeout(10):
            while len(self.asked) < number or not self._is_heard:
                self._news.clear()
                await self._news.wait()
        return self.asked[number - 1]

    def close(self) -> None:
        for sock in self._bound:
            sock.close()

    def _bind(self, context, kind, name, on_frames) -> DrainedSocket:  # type: ignore[no-untyped-def]
        sock = context.socket(kind)
        sock.linger = 0
        sock.sndhwm = 0
        sock.bind(self.info.url(name))
        return DrainedSocket(sock, on_frames)

    def _on_shell(self, frames: Frames) -> None:
        self._identity = frames[0]
        self.asked.append(from_frames(frames, Channel.SHELL, self.signer))
        self._news.set()

    def _on_subscriber(self, frames: Frames) -> None:
        self._is_heard = True
        self._news.set()

    def _on_heart(self, frames: Frames) -> None:
        if self.has_heart:
            self._bound[2].send(frames)


def _message(
    channel: Channel, msg_type: str, content: dict[str, Json], parent: Header | None
) -> RawMessage:
    header = Header(msg_id=MsgId("x"), msg_type=msg_type, session="peer")
    message = Message(channel=channel, header=header, parent=parent, content=content)
    return RawMessage.of(message)


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.term()


@pytest.fixture
async def peer(context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path) -> AsyncIterator[Peer]:
    peer = Peer(context, tmp_path / "k")
    yield peer
    peer.close()


@asynccontextmanager
async def connection_to(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]], recorder: Recorder
) -> AsyncIterator[KernelConnection]:
    connection = KernelConnection(
        context,
        peer.info,
        session="ours",
        on_ready=recorder.on_ready,
        on_message=recorder.on_message,
    )
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def ready_connection(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]], recorder: Recorder
) -> AsyncIterator[KernelConnection]:
    async with connection_to(peer, context, recorder) as connection:
        peer.answer_info((await peer.asked_for(1)).header, over_iopub=True)
        await recorder.ready()
        yield connection


async def test_a_kernel_without_a_welcome_is_asked_until_iopub_is_heard(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    recorder = Recorder()
    async with connection_to(peer, context, recorder):
        first = await peer.asked_for(1)
        peer.answer_info(first.header, over_iopub=False)
        second = await peer.asked_for(2)
        peer.answer_info(second.header, over_iopub=True)
        assert (await recorder.ready()).implementation == "peer"
        assert first.header.msg_id != second.header.msg_id
        assert recorder.messages == []
        assert len(peer.asked) == 2


async def test_a_kernel_that_has_not_answered_is_not_asked_again(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    recorder = Recorder()
    async with connection_to(peer, context, recorder):
        first = await peer.asked_for(1)
        peer.publish("iopub_welcome", {"subscription": ""}, None)
        peer.answer_info(first.header, over_iopub=False)
        peer.publish("iopub_welcome", {"subscription": ""}, None)
        await recorder.ready()
        assert len(peer.asked) == 1


async def test_junk_and_forged_frames_are_counted_and_change_nothing(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    recorder = Recorder()
    async with ready_connection(peer, context, recorder) as connection:
        good = to_frames(_message(Channel.IOPUB, "status", {}, None), peer.signer)
        junk = [
            [],
            [b"\xff" * 1000],
            good[:3],
            [good[0], b"0" * 64, *good[2:]],
            to_frames(_message(Channel.IOPUB, "x", {}, None), Signer(b"other")),
            _signed(peer, b"[" * 100_000, b"{}", b"{}", b"{}"),
            _signed(peer, b'{"msg_type": 5}', b"{}", b"{}", b"{}"),
            _signed(peer, b'{"msg_type": "x"}', b"[1]", b"{}", b"{}"),
        ]
        for number, frames in enumerate(junk, 1):
            peer.publish_frames(frames)
            # Alone: what is too short may be read with what comes behind it.
            while connection.dropped < number:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        peer.publish("stream", {"name": "stdout", "text": "good"}, None)
        await recorder.until(lambda: recorder.messages)
        assert connection.dropped == len(junk)
        assert [message.content for message in recorder.messages] == [
            {"name": "stdout", "text": "good"}
        ]


async def test_of_messages_that_are_too_short_none_takes_the_next_along(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    recorder = Recorder()
    async with ready_connection(peer, context, recorder) as connection:
        whole = to_frames(_message(Channel.IOPUB, "status", {}, None), peer.signer)
        for length in range(1, len(whole)):
            for times in (1, 2, 5):
                for _ in range(times):
                    peer.publish_frames(whole[:length])
                peer.publish("stream", {"name": "stdout", "text": f"{length} {times}"}, None)
        peer.publish_frames(whole[:1] * 10_000)
        peer.publish_frames(whole[:2])
        peer.publish("stream", {"name": "stdout", "text": "last"}, None)
        await recorder.until(lambda: len(recorder.messages) == 3 * (len(whole) - 1) + 1)
        told = [message.content["text"] for message in recorder.messages]
        assert [f"{a} {b}" for a in range(1, len(whole)) for b in (1, 2, 5)] == told[:-1]
        assert connection.dropped > 0


async def test_a_content_that_is_none_is_passed_on_undecoded(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    recorder = Recorder()
    async with ready_connection(peer, context, recorder) as connection:
        peer.publish_frames(_signed(peer, b'{"msg_type": "x"}', b"{}", b"\xff", b"[" * 100_000))
        await recorder.until(lambda: recorder.messages)
        assert connection.dropped == 0
        assert recorder.messages[0].parts[2:] == (b"\xff", b"[" * 100_000)


async def test_a_message_of_a_client_goes_out_with_its_own_header_and_its_bytes(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    parts = (b'{ "msg_id" : "c1", "msg_type" : "x", "session" : "page" }', b"{}", b"{}", b"{ }")
    async with connection_to(peer, context, Recorder()) as connection:
        connection.send(RawMessage.read(Channel.SHELL, parts, (b"buffer",)))
        asked = await peer.asked_for(2)
        assert asked.parts == parts
        assert asked.buffers == (b"buffer",)


async def test_the_heartbeat_tells_a_kernel_from_a_silent_one(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    async with connection_to(peer, context, Recorder()) as connection:
        assert await connection.beat(10.0) is True
        peer.has_heart = False
        assert await connection.beat(0.05) is False
        peer.has_heart = True
        assert await connection.beat(10.0) is True


async def test_a_request_is_signed_and_carries_our_session_and_a_date(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    async with connection_to(peer, context, Recorder()) as connection:
        connection.send(execute_request(MsgId("m1"), "1", allow_stdin=False))
        asked = await peer.asked_for(2)
        assert (asked.header.msg_id, asked.header.session) == ("m1", "ours")
        assert str(asked.header.date).endswith("Z")


@pytest.mark.logs_error("told badly")
async def test_a_listener_that_fails_misses_that_message_only(
    peer: Peer, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    class Bad(Recorder):
        def on_message(self, message: RawMessage) -> None:
            super().on_message(message)
            if len(self.messages) == 1:
                raise RuntimeError("told badly")

    recorder = Bad()
    async with ready_connection(peer, context, recorder):
        for text in "abc":
            peer.publish("stream", {"name": "stdout", "text": text}, None)
        await recorder.until(lambda: len(recorder.messages) == 3)


@contextmanager
def flooded(
    context: zmq.Context[zmq.Socket[bytes]], name: str, total: int, got: list[int]
) -> Iterator[None]:
    """A socket to which so many messages have come, whose numbers go to `got`."""
    left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    left.sndhwm = right.rcvhwm = 0
    right.bind(f"inproc://{name}")
    left.connect(f"inproc://{name}")
    for number in range(total):
        left.send(str(number).encode())
    drained = DrainedSocket(right, lambda frames: got.append(int(frames[0])))
    try:
        yield
    finally:
        drained.close()
        left.close()


async def test_a_flood_is_read_in_batches_so_that_others_have_their_turn(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    total = 3 * BATCH_MESSAGES
    got: list[int] = []
    turns: list[int] = []
    with flooded(context, "flood", total, got):
        async with asyncio.timeout(HANG_LIMIT_S):
            while len(got) < total:
                turns.append(len(got))
                await asyncio.sleep(0)
    assert got == list(range(total))
    assert max(b - a for a, b in pairwise(turns)) <= BATCH_MESSAGES


async def test_many_floods_share_the_time_of_one(
    context: zmq.Context[zmq.Socket[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is over with the first message here: so each turn of the loop has one."""
    monkeypatch.setattr(sockets, "BATCH_S", -1.0)
    total = 20
    got: list[list[int]] = [[] for _ in range(5)]
    with ExitStack() as stack:
        for number, one in enumerate(got):
            stack.enter_context(flooded(context, f"flood-{number}", total, one))
        await asyncio.sleep(0)  # the first of each, whoever else is there
        assert [1] * len(got) == [len(one) for one in got]
        async with asyncio.timeout(HANG_LIMIT_S):
            while (told := sum(map(len, got))) < total * len(got):
                counts = [len(one) for one in got]
                assert max(counts) - min(counts) <= 1
                await asyncio.sleep(0)
                assert sum(map(len, got)) - told <= 1
    assert all(one == list(range(total)) for one in got)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": ""}, "has no key"),
        ({"shell_port": "x"}, "unusable"),
        ({"ip": None, "shell_port": None}, "unusable"),
        ({"signature_scheme": "hmac-md5"}, "hmac-md5"),
    ],
)
def test_connection_info_that_cannot_be_used_is_a_start_fault(
    change: dict[str, object], reason: str
) -> None:
    ports = {f"{name}_port": 1 for name in PORTS}
    raw = {"transport": "tcp", "ip": "127.0.0.1", "key": "k", **ports, **change}
    with pytest.raises(KernelStartFailed, match=reason):
        ConnectionInfo.of(raw)


@pytest.mark.parametrize("left", [1, 3, 5])
async def test_without_descriptors_it_is_told_which_limit_there_is(
    context: zmq.Context[zmq.Socket[bytes]], left: int
) -> None:
    raw: dict[str, object] = {f"{name}_port": 1 for name in PORTS}
    info = ConnectionInfo.of({"transport": "ipc", "ip": "nobody/there", "key": "k", **raw})
    context.socket(zmq.PAIR).close()  # it has its own descriptors now
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = process_limits._lowest_free() + left
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        with pytest.raises(KernelStartFailed, match=rf"of {few} descriptors \(ulimit -n\)"):
            KernelConnection(context, info, session="ours", on_ready=_hear, on_message=_hear)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _hear(_: object) -> None:
    pass


def _signed(peer: Peer, *frames: bytes) -> Frames:
    return [b"<IDS|MSG>", peer.signer.sign(frames), *frames]
