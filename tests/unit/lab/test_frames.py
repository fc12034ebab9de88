"""What the connection class of JupyterLab's server sees in a frame, and what it keeps."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from kernel_gateway.messaging.message import Channel
from kernel_gateway.messaging.websocket import from_v1
from kernel_gateway_lab.frames import Outbox, Repeats, head, identity, joined, notice


def framed(msg_id: str, channel: str = "iopub", *buffers: bytes) -> bytes:
    header = {"username": 'an "msg_id": "odd" one', "msg_id": msg_id, "msg_type": "status"}
    return joined(channel, [json.dumps(header).encode(), b"{}", b"{}", b"{}", *buffers])


def test_a_frame_is_known_by_its_channel_and_the_id_of_its_message() -> None:
    assert identity(framed("a")) == identity(framed("a", "iopub", b"bytes"))
    assert 3 == len({identity(framed("a")), identity(framed("b")), identity(framed("a", "shell"))})


def test_what_is_no_frame_of_the_protocol_has_no_identity() -> None:
    whole = framed("a")
    claims_too_much = (2**64 - 1).to_bytes(8, "little") + whole[8:]
    falls_back = whole[:8] + whole[16:24] + whole[8:16] + whole[24:]
    for frame in ("text", b"", b"short", whole[:40], claims_too_much, falls_back):
        assert head(frame) is None
        assert identity(frame) is None
    assert identity(joined("iopub", [b"{}", b"{}", b"{}", b"{}"])) is None


def test_only_what_came_over_an_earlier_line_is_a_repeat() -> None:
    repeats = Repeats(10)
    assert not repeats.has(framed("a"))
    assert not repeats.has(framed("a"))
    repeats.line_cut()
    assert [True, False, False] == [repeats.has(framed(name)) for name in ("a", "b", "b")]
    repeats.line_cut()
    assert [True, True, False] == [repeats.has(framed(name)) for name in ("a", "b", "c")]


def test_the_oldest_is_forgotten_first() -> None:
    repeats = Repeats(2)
    for name in ("a", "b", "c"):
        repeats.has(framed(name))
    repeats.line_cut()
    assert [False, True, True] == [repeats.has(framed(name)) for name in ("a", "b", "c")]


def test_what_has_no_identity_is_never_a_repeat() -> None:
    repeats = Repeats(10)
    repeats.has("text")
    repeats.line_cut()
    assert not repeats.has("text")


def test_what_waits_is_begun_once_in_order_and_again_after_a_cut() -> None:
    outbox = Outbox(10, 100)
    assert outbox.put(b"1")
    assert outbox.put(b"2")
    assert [b"1", b"2"] == list(outbox.begin())
    assert outbox.put(b"3")
    assert [b"3"] == list(outbox.begin())
    outbox.done()
    outbox.line_cut()
    assert [b"2", b"3"] == list(outbox.begin())
    outbox.done()
    outbox.done()
    assert 0 == len(outbox)


def test_that_a_frame_was_taken_may_be_heard_of_after_the_cut() -> None:
    outbox = Outbox(10, 100)
    for frame in (b"1", b"2"):
        outbox.put(frame)
    list(outbox.begin())
    outbox.line_cut()
    outbox.done()
    assert [b"2"] == list(outbox.begin())


def test_what_was_begun_can_be_given_up() -> None:
    outbox = Outbox(10, 3)
    outbox.put(b"12")
    list(outbox.begin())
    outbox.put(b"3")
    assert [b"12"] == outbox.give_up_begun()
    assert [b"3"] == list(outbox.begin())
    assert outbox.put(b"45")


def test_what_finds_no_room_is_not_kept() -> None:
    outbox = Outbox(2, 100)
    assert [True, True, False] == [outbox.put(b"x") for _ in range(3)]
    outbox = Outbox(10, 5)
    assert [True, False, True] == [outbox.put(text) for text in (b"123", b"456", b"45")]
    assert [b"123", b"45"] == list(outbox.begin())


def test_one_message_alone_always_has_room() -> None:
    outbox = Outbox(10, 5)
    assert outbox.put(b"too long")
    assert not outbox.put(b"x")
    list(outbox.begin())
    outbox.done()
    assert outbox.put(b"x")


def test_a_notice_is_an_output_of_the_message_that_it_is_about() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    told = notice("Sorry.", framed("asked", "shell"), msg_id="new", session="s", now=now)
    assert told is not None
    message = from_v1(told)
    assert (Channel.IOPUB, "stream") == (message.channel, message.msg_type)
    assert message.parent is not None
    assert "asked" == message.parent.msg_id
    assert {"name": "stderr", "text": "Sorry."} == message.content
    assert notice("Sorry.", "text", msg_id="new", session="s", now=now) is None
