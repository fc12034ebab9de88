"""What is shown of a message to a reader that it is too big for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.websocket import to_legacy, to_v1
from kernel_gateway.web.jupyter.pieces import PREVIEW_CHARS, in_pieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json

LIMIT = 2**17
PARENT = Header(msg_id=MsgId("cell"), msg_type="execute_request", session="s")
#: Characters of which JSON makes one byte, two, four and six.
CHARS = "aé𝄞\x00"


def message(
    msg_type: str,
    content: Mapping[str, Json],
    *,
    channel: Channel = Channel.IOPUB,
    metadata: Mapping[str, Json] | None = None,
    buffers: tuple[bytes, ...] = (),
) -> RawMessage:
    header = Header(
        msg_id=MsgId("m"),
        msg_type=msg_type,
        session="k",
        username="u",
        date="2026-01-01T00:00:00Z",
        more={"subshell_id": None},
    )
    return RawMessage.of(
        Message(
            channel=channel,
            header=header,
            parent=PARENT,
            metadata=metadata or {},
            content=content,
            buffers=buffers,
        )
    )


def printed(text: str) -> RawMessage:
    return message("stream", {"name": "stdout", "text": text}, metadata={"a": 1})


def shown(msg_type: str = "display_data", /, **data: Json) -> RawMessage:
    bundle = {name.replace("_", "/"): value for name, value in data.items()}
    return message(msg_type, {"data": bundle, "metadata": {"b": 2}, "transient": {"c": 3}})


def bundle_of(pieces: Sequence[RawMessage]) -> dict[str, Json]:
    (piece,) = pieces
    data = piece.content["data"]
    assert isinstance(data, dict)
    return data


def check_size(pieces: Sequence[RawMessage], limit: int = LIMIT) -> None:
    for piece in pieces:
        assert len(to_legacy(piece)[0]) <= limit
        assert to_v1(piece)[1] <= limit


def text_of(pieces: Sequence[RawMessage]) -> str:
    return "".join(str(piece.content["text"]) for piece in pieces)


def test_what_is_not_too_big_is_left_as_it_is() -> None:
    small = printed("x" * 1000)
    (piece,) = in_pieces(small, LIMIT)
    assert small is piece


def test_a_text_is_cut_and_nothing_of_it_is_missing() -> None:
    text = "".join(f"{n}\n" for n in range(50_000))
    pieces = in_pieces(printed(text), LIMIT)
    assert len(pieces) > 1
    assert text == text_of(pieces)
    check_size(pieces)


def test_the_pieces_of_a_text_are_messages_of_their_own_and_the_same_when_they_are_cut_again() -> (
    None
):
    whole = printed("x" * 10**6)
    pieces = in_pieces(whole, LIMIT)
    ids = [piece.msg_id for piece in pieces]
    assert len(ids) == len(set(ids))
    assert "m" == ids[0]
    assert pieces == in_pieces(whole, LIMIT)


def test_the_pieces_of_a_text_are_as_the_whole_in_all_but_text_and_id() -> None:
    whole = printed("x" * 10**6)
    for piece in in_pieces(whole, LIMIT):
        assert (Channel.IOPUB, "stream", PARENT) == (piece.channel, piece.msg_type, piece.parent)
        assert {"a": 1} == piece.metadata
        assert "stdout" == piece.content["name"]
        header = piece.header
        assert ("k", "u", {"subshell_id": None}) == (header.session, header.username, header.more)
        assert whole.header.date == header.date


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(CHARS), st.integers(1, 40_000)), min_size=1, max_size=8),
    st.integers(66_000, 200_000),
)
def test_any_text_cut_and_joined_is_the_same_and_keeps_to_the_limit(
    runs: list[tuple[str, int]], limit: int
) -> None:
    text = "".join(char * count for char, count in runs)
    pieces = in_pieces(printed(text), limit)
    assert text == text_of(pieces)
    assert len({piece.msg_id for piece in pieces}) == len(pieces)
    check_size(pieces, limit)


def test_of_a_display_the_big_values_are_previews_and_the_small_ones_are_there() -> None:
    html = "<p>" + "y" * 10**6
    pieces = in_pieces(shown(text_html=html, text_plain="small", image_png="AAAA"), LIMIT)
    data = bundle_of(pieces)
    assert {"text/plain", "image/png"} == set(data)
    assert "AAAA" == data["image/png"]
    text = str(data["text/plain"])
    assert text.startswith(f"[kernel-gateway: text/html of {len(html)} characters is too big")
    assert repr(html[:PREVIEW_CHARS]) in text
    assert repr(html[: PREVIEW_CHARS + 1]) not in text
    assert text.endswith("\nsmall")
    check_size(pieces)


def test_all_else_of_a_display_stays() -> None:
    for msg_type in ("display_data", "execute_result", "update_display_data"):
        (piece,) = in_pieces(shown(msg_type, text_html="y" * 10**6), LIMIT)
        assert (msg_type, PARENT, "m") == (piece.msg_type, piece.parent, piece.msg_id)
        assert ({"b": 2}, {"c": 3}) == (piece.content["metadata"], piece.content["transient"])


def test_a_big_text_of_a_display_is_a_preview_too() -> None:
    data = bundle_of(in_pieces(shown(text_plain="z" * 10**6), LIMIT))
    assert {"text/plain"} == set(data)
    assert "text/plain of 1000000 characters" in str(data["text/plain"])


def test_a_value_that_is_no_text_has_a_preview_too() -> None:
    value: Json = {"data": list(range(100_000))}
    text = str(bundle_of(in_pieces(shown(application_json=value), LIMIT))["text/plain"])
    assert "application/json of" in text
    assert "'data': [0, 1, 2" in text


def test_a_display_that_is_big_elsewhere_is_only_said_to_have_been() -> None:
    whole = message("display_data", {"data": {"text/plain": "x"}, "metadata": {"m": "y" * 10**6}})
    (piece,) = in_pieces(whole, LIMIT)
    assert ("stream", PARENT) == (piece.msg_type, piece.parent)
    assert "stderr" == piece.content["name"]
    assert f"a message (display_data) of {whole.bytes} bytes is too big" in str(
        piece.content["text"]
    )


def test_a_display_without_a_bundle_is_only_said_to_have_been() -> None:
    whole = message("display_data", {"data": "y" * 10**6})
    (piece,) = in_pieces(whole, LIMIT)
    assert "a message (display_data) of" in str(piece.content["text"])


def test_of_anything_else_it_is_said_where_it_is_missing() -> None:
    whole = message("comm_msg", {"comm_id": "c", "data": {}}, buffers=(b"x" * 10**6,))
    (piece,) = in_pieces(whole, LIMIT)
    assert ("stream", Channel.IOPUB, PARENT) == (piece.msg_type, piece.channel, piece.parent)
    assert () == piece.buffers
    assert f"a message (comm_msg) of {whole.bytes} bytes" in str(piece.content["text"])
    check_size([piece])


def test_a_big_update_of_very_many_kinds_is_only_said_to_have_been() -> None:
    data: dict[str, Json] = {f"x/{n}": "y" * 1000 for n in range(1000)}
    (piece,) = in_pieces(message("display_data", {"data": data}), LIMIT)
    assert "a message (display_data) of" in str(piece.content["text"])


def test_a_big_reply_still_comes_and_it_is_said_that_it_was_bigger() -> None:
    content: dict[str, Json] = {
        "status": "error",
        "execution_count": 3,
        "evalue": "z" * 10**6,
        "traceback": ["y" * 10**6],
        "user_expressions": {"a": "x" * 10**6},
    }
    whole = message("execute_reply", content, channel=Channel.SHELL, buffers=(b"x" * 10**6,))
    said, reply = pieces = in_pieces(whole, LIMIT)
    assert (Channel.IOPUB, "stream", PARENT) == (said.channel, said.msg_type, said.parent)
    assert "a message (execute_reply) of" in str(said.content["text"])
    assert (Channel.SHELL, "execute_reply", PARENT) == (reply.channel, reply.msg_type, reply.parent)
    assert {
        "status": "error",
        "execution_count": 3,
        "evalue": "z" * PREVIEW_CHARS,
        "traceback": [],
        "user_expressions": {},
    } == reply.content
    assert "m" == reply.msg_id != said.msg_id
    check_size(pieces)
