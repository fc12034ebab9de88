"""The command kernel's own hand at the wire, held to that of the gateway."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.command_kernel.wire import Unreadable, Wire
from kernel_gateway.messaging.message import Channel, MsgId, execute_request
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.wire import Signer, from_frames, to_frames

KEY = b"secret"
SIGNER = Signer(KEY)
REQUEST = RawMessage.of(
    execute_request(MsgId("m1"), "echo é", allow_stdin=True).stamped(session="s", date="d")
)


def test_it_reads_what_the_gateway_writes() -> None:
    request = Wire(KEY).read([b"client", *to_frames(REQUEST, SIGNER)])
    assert (b"client",) == request.identities
    assert "execute_request" == request.msg_type
    assert "m1" == request.header["msg_id"]
    assert "echo é" == request.content["code"]
    assert request.parent_id is None


def test_the_gateway_reads_what_it_writes() -> None:
    wire = Wire(KEY)
    request = wire.read([b"client", *to_frames(REQUEST, SIGNER)])
    sent = wire.write("stream", {"text": "é😀"}, parent=request.header, identities=[b"client"])
    message = from_frames(sent.frames, Channel.IOPUB, SIGNER)
    assert b"client" == sent.frames[0]
    assert "stream" == message.header.msg_type
    assert sent.msg_id == message.header.msg_id
    assert REQUEST.header == message.parent
    assert {"text": "é😀"} == message.content


def test_what_is_no_text_in_utf_8_can_be_sent_all_the_same() -> None:
    sent = Wire(KEY).write("execute_input", {"code": "echo \ud800"})
    assert {"code": "echo ?"} == from_frames(sent.frames, Channel.IOPUB, SIGNER).content


def test_a_signature_with_another_key_is_refused() -> None:
    with pytest.raises(Unreadable):
        Wire(b"other").read(to_frames(REQUEST, SIGNER))


@pytest.mark.parametrize("place", range(6))
@given(junk=st.binary(max_size=8))
def test_a_frame_that_was_changed_is_refused(place: int, junk: bytes) -> None:
    frames = to_frames(REQUEST, SIGNER)
    if frames[place] != junk:
        frames[place] = junk
        with pytest.raises(Unreadable):
            Wire(KEY).read(frames)


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"{}", b'{"msg_type": 1}', b"\xff", b"[" * 100_000, b"1" * 5000]
)
def test_signed_nonsense_is_refused(header: bytes) -> None:
    signed = [header, b"{}", b"{}", b"{}"]
    with pytest.raises(Unreadable):
        Wire(KEY).read([b"<IDS|MSG>", SIGNER.sign(signed), *signed])
