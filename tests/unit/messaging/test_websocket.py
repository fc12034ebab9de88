"""The two framings on a WebSocket, held to a second reading of their documented layout."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.websocket import (
    V1_PROTOCOL,
    from_legacy,
    from_v1,
    to_legacy,
    to_v1,
)
from kernel_gateway.messaging.wire import Signer, from_frames, to_frames
from tests.unit.messaging.strategies import MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGE = Message(
    channel=Channel.SHELL,
    header=Header(msg_id=MsgId("m1"), msg_type="execute_request", session="s"),
    parent=Header(msg_id=MsgId("m0"), msg_type="status", session="s"),
    metadata={"a": 1},
    content={"code": "x"},
    buffers=(b"one", b"", b"three"),
)


# -- a second reading of the layout, number by number ---------------------------------------------


def numbers(frame: bytes, size: int, order: str) -> list[int]:
    def at(place: int) -> int:
        return int.from_bytes(frame[size * place : size * (place + 1)], order)  # type: ignore[arg-type]

    return [at(place) for place in range(1, 1 + at(0))]


def read_v1(frame: bytes) -> tuple[str, list[bytes]]:
    offsets = numbers(frame, 8, "little")
    assert 8 * (1 + len(offsets)) == offsets[0], "parts begin right after the table"
    assert len(frame) == offsets[-1], "and end with the frame"
    channel, *parts = (frame[a:b] for a, b in pairwise(offsets))
    return channel.decode(), parts


def read_legacy(frame: bytes) -> tuple[dict[str, object], list[bytes]]:
    offsets = numbers(frame, 4, "big")
    assert 4 * (1 + len(offsets)) == offsets[0]
    text, *buffers = (frame[a:b] for a, b in zip(offsets, [*offsets[1:], None], strict=True))
    return json.loads(text), buffers


def raw(message: Message) -> dict[str, object]:
    return {
        "channel": message.channel.value,
        "header": message.header.as_json(),
        "parent_header": message.parent.as_json() if message.parent else {},
        "metadata": message.metadata,
        "content": message.content,
    }


def write_v1(channel: str, parts: list[bytes]) -> bytes:
    parts = [channel.encode(), *parts]
    offset = 8 * (2 + len(parts))
    table = [1 + len(parts), offset]
    for part in parts:
        offset += len(part)
        table.append(offset)
    return b"".join(number.to_bytes(8, "little") for number in table) + b"".join(parts)


def write_legacy(parts: list[bytes]) -> bytes:
    offset = 4 * (1 + len(parts))
    table = [len(parts)]
    for part in parts:
        table.append(offset)
        offset += len(part)
    return b"".join(number.to_bytes(4, "big") for number in table) + b"".join(parts)


def v1_of(message: Message) -> bytes:
    pieces, size = to_v1(RawMessage.of(message))
    frame = b"".join(pieces)
    assert size == len(frame)
    return frame


def legacy_of(message: Message) -> str | bytes:
    """As it is sent."""
    frame, is_text = to_legacy(RawMessage.of(message))
    return frame.decode() if is_text else frame


def parts_of(message: Message) -> list[bytes]:
    names = ("header", "parent_header", "metadata", "content")
    return [json.dumps(raw(message)[name]).encode() for name in names]


# -- there and back -------------------------------------------------------------------------------


@given(MESSAGES)
def test_a_message_comes_back_from_v1(message: Message) -> None:
    assert message == from_v1(v1_of(message)).decoded()


@given(MESSAGES)
def test_a_message_comes_back_from_the_legacy_framing(message: Message) -> None:
    assert message == from_legacy(legacy_of(message)).decoded()


@given(MESSAGES)
def test_v1_is_laid_out_as_documented(message: Message) -> None:
    channel, parts = read_v1(v1_of(message))
    assert message.channel.value == channel
    assert [
        message.header.as_json(),
        message.parent.as_json() if message.parent else {},
        message.metadata,
        message.content,
    ] == [json.loads(part) for part in parts[:4]]
    assert list(message.buffers) == parts[4:]
    assert message == from_v1(write_v1(channel, parts)).decoded()


@given(MESSAGES)
def test_the_legacy_framing_is_laid_out_as_documented(message: Message) -> None:
    frame = legacy_of(message)
    if isinstance(frame, str):
        value, buffers = json.loads(frame), list[bytes]()
    else:
        value, buffers = read_legacy(frame)
    assert {
        **raw(message),
        "msg_id": message.header.msg_id,
        "msg_type": message.header.msg_type,
        "buffers": [],
    } == value
    assert list(message.buffers) == buffers
    assert isinstance(frame, str) is not bool(message.buffers)


@given(MESSAGES)
def test_frames_of_others_are_read(message: Message) -> None:
    frame = write_v1(message.channel, [*parts_of(message), *message.buffers])
    assert message == from_v1(frame).decoded()
    text = json.dumps(raw(message))
    assert message == from_legacy(write_legacy([text.encode(), *message.buffers])).decoded()


@given(MESSAGES)
def test_the_parts_of_a_zeromq_message_are_relayed_as_they_are(message: Message) -> None:
    signer = Signer(b"key")
    parts = parts_of(message)  # spaced and escaped as we would not do it
    frames = [b"<IDS|MSG>", signer.sign(parts), *parts, *message.buffers]
    relayed = from_frames(frames, message.channel, signer)
    frame = b"".join(to_v1(relayed)[0])
    assert (message.channel, [*parts, *message.buffers]) == read_v1(frame)
    assert frames == to_frames(from_v1(frame), signer)
    legacy, is_text = to_legacy(relayed)
    assert all(part in legacy for part in parts)
    assert message == from_legacy(legacy.decode() if is_text else legacy).decoded()


def test_the_protocol_has_its_name() -> None:
    assert "v1.kernel.websocket.jupyter.org" == V1_PROTOCOL


# -- frames that are none -------------------------------------------------------------------------


def v1_table(*claimed: int, size: int = 200) -> bytes:
    frame = b"".join(number.to_bytes(8, "little") for number in claimed)
    return frame.ljust(size, b"x")


def legacy_table(*claimed: int, size: int = 100) -> bytes:
    frame = b"".join(number.to_bytes(4, "big") for number in claimed)
    return frame.ljust(size, b"x")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"1234567",
        v1_table(2**64 - 1, size=64),
        v1_table(2**61, size=64),
        v1_table(0),
        v1_table(5, 48, 50, 52, 54, 56),
        v1_table(25),
        v1_table(6, 56, 57, 58, 59, 60, 201),
        v1_table(6, 56, 57, 58, 59, 60, 2**64 - 1),
        v1_table(6, 55, 57, 58, 59, 60, 61),
        v1_table(6, 0, 57, 58, 59, 60, 61),
        v1_table(6, 56, 60, 58, 59, 60, 61),
    ],
)
def test_a_v1_frame_that_claims_more_than_it_is_is_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedMessage, match="offsets"):
        from_v1(frame)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"123",
        legacy_table(2**32 - 1, size=64),
        legacy_table(2**30, size=64),
        legacy_table(0),
        legacy_table(25),
        legacy_table(2, 12, 101),
        legacy_table(2, 12, 2**32 - 1),
        legacy_table(2, 11, 50),
        legacy_table(2, 0, 50),
        legacy_table(2, 50, 40),
    ],
)
def test_a_legacy_frame_that_claims_more_than_it_is_is_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedMessage, match="offsets"):
        from_legacy(frame)


@pytest.mark.parametrize("channel", ["", "heartbeat", "SHELL", "iopub ", "\ufffd" * 100])
def test_a_channel_that_does_not_exist_is_malformed(channel: str) -> None:
    with pytest.raises(MalformedMessage, match="there is no channel"):
        from_v1(write_v1(channel, parts_of(MESSAGE)))
    with pytest.raises(MalformedMessage, match="there is no channel"):
        from_legacy(json.dumps({**raw(MESSAGE), "channel": channel}))


def test_a_legacy_message_without_a_channel_is_for_shell() -> None:
    """So sends jupyter_server's client of a gateway, which nbclient and papermill use."""
    nameless = {name: value for name, value in raw(MESSAGE).items() if name != "channel"}
    assert Channel.SHELL is from_legacy(json.dumps(nameless)).channel


def test_a_channel_of_bytes_that_are_no_text_is_malformed() -> None:
    frame = v1_of(MESSAGE).replace(b"shell", b"\xff\xff\xff\xff\xff")
    with pytest.raises(MalformedMessage, match="there is no channel"):
        from_v1(frame)


@pytest.mark.parametrize(
    "change",
    [
        {"channel": 1},
        {"channel": ["shell"]},
        {"header": None},
        {"header": "x"},
        {"header": {"msg_id": "x"}},
        {"parent_header": [1]},
        {"parent_header": {"msg_type": 3}},
        {"metadata": "x"},
        {"content": 1},
    ],
)
def test_a_legacy_message_of_the_wrong_shape_is_malformed(change: dict[str, object]) -> None:
    value = {**raw(MESSAGE), **change}
    with pytest.raises(MalformedMessage):
        from_legacy(json.dumps(value))
    with pytest.raises(MalformedMessage):
        from_legacy(write_legacy([json.dumps(value).encode(), b"buffer"]))


def test_what_a_legacy_message_may_leave_out_is_empty() -> None:
    frame = '{"channel": "shell", "header": {"msg_id": "m", "msg_type": "t"}}'
    message = from_legacy(frame).decoded()
    assert (None, {}, {}, ()) == (
        message.parent,
        message.metadata,
        message.content,
        message.buffers,
    )


NO_OBJECTS = (b"", b"[]", b"{", b"\xff", b"[" * 100_000)


@pytest.mark.parametrize("place", range(2))
def test_a_v1_header_that_is_no_object_is_malformed(place: int) -> None:
    for part in NO_OBJECTS:
        parts = parts_of(MESSAGE)
        parts[place] = part
        with pytest.raises(MalformedMessage):
            from_v1(write_v1("shell", parts))


@pytest.mark.parametrize("place", [2, 3])
def test_a_v1_content_that_is_no_object_is_found_when_it_is_decoded(place: int) -> None:
    for part in NO_OBJECTS:
        parts = parts_of(MESSAGE)
        parts[place] = part
        message = from_v1(write_v1("shell", parts))
        assert part == message.parts[place]
        with pytest.raises(MalformedMessage):
            message.decoded()


@given(frame=st.binary(max_size=80))
def test_junk_is_malformed(frame: bytes) -> None:
    for read in (from_v1, from_legacy):
        with pytest.raises(MalformedMessage):
            read(frame)


@pytest.mark.parametrize("read", [from_v1, from_legacy])
@given(data=st.data())
def test_a_frame_that_was_cut_or_changed_is_malformed_or_a_message(
    read: Callable[[bytes], RawMessage], data: st.DataObject
) -> None:
    frame = bytearray(v1_of(MESSAGE) if read is from_v1 else legacy_of(MESSAGE))  # type: ignore[arg-type]
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(frame)))
    for changed in (bytes(frame), bytes(frame[:end])):
        try:
            message = read(changed).decoded()
        except MalformedMessage:
            continue
        assert isinstance(message, Message)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 10_000, '"x"'])
def test_text_that_is_no_object_is_malformed(text: str) -> None:
    with pytest.raises(MalformedMessage):
        from_legacy(text)


@pytest.mark.parametrize(
    "header",
    [
        b'{"x":{"msg_type":"kernel_info_request"},"msg_type":"execute_request"}',
        b'{"x\\"msg_type":"kernel_info_request","msg_type":"execute_request"}',
        b'{"msg_type":"kernel_info_request","msg_type":"execute_request"}',
        b'{"x":{"msg_type":"kernel_info_request"},"msg\\u005ftype":"execute_request"}',
    ],
)
def test_a_client_cannot_have_its_message_taken_for_another_than_the_kernel_will(
    header: bytes,
) -> None:
    frame = write_v1("shell", [header, b"{}", b"{}", b"{}"])
    legacy = b'{"channel":"shell","header":' + header + b"}"
    assert "execute_request" == from_v1(frame).msg_type
    assert "execute_request" == from_legacy(legacy.decode()).msg_type


@pytest.mark.parametrize("header", [b'{"msg_type":"t"', b'{"x":{"msg_type":"t"}}'])
def test_a_header_that_only_looks_like_one_is_malformed(header: bytes) -> None:
    with pytest.raises(MalformedMessage):
        from_v1(write_v1("shell", [header, b"{}", b"{}", b"{}"]))
