"""Frames on ZeroMQ: there and back, and nothing that is not signed or not whole."""

from __future__ import annotations

import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import BadSignature, KernelFault, MalformedMessage
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.wire import (
    DELIMITER,
    Signer,
    behind_short,
    from_frames,
    to_frames,
)
from tests.unit.messaging.strategies import MESSAGES

SIGNER = Signer(b"key")
MESSAGE = Message(
    channel=Channel.SHELL,
    header=Header(msg_id=MsgId("m"), msg_type="t", session="s"),
    content={"a": 1},
    buffers=(b"buffer",),
)


@given(message=MESSAGES, identities=st.lists(st.binary(max_size=5), max_size=2))
def test_a_message_comes_back(message: Message, identities: list[bytes]) -> None:
    frames = [*identities, *to_frames(RawMessage.of(message), SIGNER)]
    assert message == from_frames(frames, message.channel, SIGNER).decoded()


@pytest.mark.parametrize("content", [b"{}", b"{" + b" " * 2**17 + b"}"])
def test_the_signature_is_the_protocols(content: bytes) -> None:
    expected = hmac.new(b"key", b"{}" * 3 + content, "sha256").hexdigest().encode()
    assert expected == SIGNER.sign([b"{}", b"{}", b"{}", content])


def test_a_kernel_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="without a key"):
        Signer(b"")


@pytest.mark.parametrize("place", range(1, 6))
def test_a_frame_that_was_changed_is_not_signed(place: int) -> None:
    frames = to_frames(RawMessage.of(MESSAGE), SIGNER)
    frames[place] += b" "
    with pytest.raises(BadSignature):
        from_frames(frames, Channel.SHELL, SIGNER)


def test_another_key_is_another_kernel() -> None:
    with pytest.raises(BadSignature):
        from_frames(to_frames(RawMessage.of(MESSAGE), Signer(b"other")), Channel.SHELL, SIGNER)


def test_buffers_are_not_signed() -> None:
    frames = [*to_frames(RawMessage.of(MESSAGE), SIGNER), b"another"]
    assert (b"buffer", b"another") == from_frames(frames, Channel.SHELL, SIGNER).buffers


@pytest.mark.parametrize("size", [1, 5000])
def test_the_parent_may_have_any_size(size: int) -> None:
    parent = Header(msg_id=MsgId("p" * size), msg_type="t", session="s")
    frames = to_frames(RawMessage.of(replace(MESSAGE, parent=parent)), SIGNER)
    assert parent == from_frames(frames, Channel.SHELL, SIGNER).parent
    assert parent == from_frames(frames, Channel.SHELL, SIGNER).parent


@pytest.mark.parametrize("count", range(6))
def test_a_truncated_message_is_malformed(count: int) -> None:
    with pytest.raises(MalformedMessage):
        from_frames(to_frames(RawMessage.of(MESSAGE), SIGNER)[:count], Channel.SHELL, SIGNER)


@given(short=st.integers(1, 5), identities=st.lists(st.just(b"topic"), max_size=1))
def test_behind_one_that_is_too_short_the_next_is_found(
    short: int, identities: list[bytes]
) -> None:
    whole = to_frames(RawMessage.of(MESSAGE), SIGNER)
    assert whole == behind_short([*identities, *whole[:short], *identities, *whole])


@pytest.mark.parametrize(
    "frames", [[], [b"topic"], [DELIMITER], [DELIMITER, *[b""] * 6, DELIMITER]]
)
def test_what_cannot_have_the_next_along_has_nothing_behind_it(frames: list[bytes]) -> None:
    assert [] == behind_short(frames)


@given(st.lists(st.binary(max_size=9) | st.just(DELIMITER), max_size=8))
def test_junk_is_the_kernels_fault(frames: list[bytes]) -> None:
    with pytest.raises(KernelFault):
        from_frames(frames, Channel.IOPUB, SIGNER)


@given(
    st.lists(
        st.binary(max_size=9) | st.sampled_from([b"{}", b'{"msg_type":"t"}']),
        min_size=4,
        max_size=4,
    )
)
def test_signed_junk_is_malformed_or_a_message(parts: list[bytes]) -> None:
    frames = [DELIMITER, SIGNER.sign(parts), *parts]
    try:
        message = from_frames(frames, Channel.IOPUB, SIGNER).decoded()
    except MalformedMessage:
        return
    assert "t" == message.header.msg_type


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500])
def test_deep_json_is_malformed(deep: bytes) -> None:
    parts = [b'{"msg_type":"t"}', b"{}", b"{}", deep]
    with pytest.raises(MalformedMessage):
        from_frames([DELIMITER, SIGNER.sign(parts), *parts], Channel.IOPUB, SIGNER).decoded()


def test_what_no_strict_parser_takes_is_read_and_written_strictly() -> None:
    parts = [b'{"msg_type":"t"}', b"{}", b"{}", b'{"a": NaN, "b": "\\ud800", "c": 1e999}']
    message = from_frames([DELIMITER, SIGNER.sign(parts), *parts], Channel.IOPUB, SIGNER)
    assert b'{"a":null,"b":"\xef\xbf\xbd","c":null}' == to_frames(message.strict(), SIGNER)[-1]
