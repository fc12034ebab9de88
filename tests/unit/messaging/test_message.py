"""Messages as values, and the requests that we make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging.message import (
    PROTOCOL_VERSION,
    VALUE,
    Channel,
    Header,
    Message,
    MsgId,
    complete_request,
    create_subshell_request,
    evaluate_request,
    execute_request,
    input_reply,
    interrupt_request,
    kernel_info_request,
    shutdown_request,
)
from tests.unit.messaging.strategies import HEADERS, LOOSE_JSON

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json

ID = MsgId("m1")


@given(HEADERS)
def test_a_header_comes_back_with_all_that_was_in_it(header: Header) -> None:
    assert header == Header.of(header.as_json())


def test_old_kernels_omit_most_of_a_header() -> None:
    header = Header.of({"msg_type": "status"})
    assert ("", "", PROTOCOL_VERSION) == (header.msg_id, header.session, header.version)


def test_a_date_may_be_a_number() -> None:
    """jupyter_server's client sends seconds, and its notebooks are to run, too."""
    raw: dict[str, Json] = {"msg_id": "m1", "msg_type": "x", "date": 1_767_323_045.5}
    assert raw["date"] == Header.of(raw).as_json()["date"]


@pytest.mark.parametrize(
    "raw", [{}, {"msg_type": ""}, {"msg_type": None}, {"msg_type": "x", "session": 3}]
)
def test_a_header_without_a_type_or_with_other_than_text_is_malformed(raw: dict[str, str]) -> None:
    with pytest.raises(MalformedMessage, match="header"):
        Header.of(raw)


@given(LOOSE_JSON)
def test_a_header_of_anything_is_a_header_or_malformed(value: object) -> None:
    for name in ("msg_id", "session", "username", "date", "version", "more", "else"):
        try:
            Header.of({"msg_type": "x", name: value})  # type: ignore[dict-item]
        except MalformedMessage:
            assert not isinstance(value, str)


def test_what_a_header_has_beyond_what_we_know_cannot_replace_what_we_know() -> None:
    header = Header(msg_id=ID, msg_type="x", session="s", more={"msg_id": "forged"})
    assert "m1" == header.as_json()["msg_id"]


def test_a_request_is_stamped_when_it_is_sent() -> None:
    parent = Header(msg_id=MsgId("p"), msg_type="input_request", session="kernel")
    request = input_reply(ID, "Ada", parent=parent)
    message = Message(
        channel=Channel.STDIN,
        header=Header(
            msg_id=ID, msg_type="input_reply", session="s", username="kernel-gateway", date="d"
        ),
        parent=parent,
        content={"value": "Ada"},
    )
    assert message == request.stamped(session="s", date="d")
    assert "p" == message.parent_id
    assert Message(channel=Channel.STDIN, header=parent).parent_id is None


def test_an_error_of_ours_aborts_nobody_else() -> None:
    request = execute_request(ID, "x", allow_stdin=True)
    assert (Channel.SHELL, ID, "execute_request") == (
        request.channel,
        request.msg_id,
        request.msg_type,
    )
    assert {
        "code": "x",
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": True,
        "stop_on_error": False,
    } == request.content


def test_who_asks_for_it_gets_another_execute_request() -> None:
    request = execute_request(ID, "x", allow_stdin=False, store_history=False, stop_on_error=True)
    assert (False, False, True) == tuple(
        request.content[name] for name in ("allow_stdin", "store_history", "stop_on_error")
    )


def test_metadata_goes_with_an_execute_request() -> None:
    told: dict[str, Json] = {"kernel_gateway": {"run_id": "r"}}
    request = execute_request(ID, "x", allow_stdin=False, metadata=told)
    assert told == request.metadata == request.stamped(session="s", date="d").metadata
    assert {} == execute_request(ID, "x", allow_stdin=False).stamped(session="", date="").metadata


def test_what_could_stand_at_a_place_is_asked_for_by_characters() -> None:
    request = complete_request(ID, "😀.a", 3)
    assert (Channel.SHELL, "complete_request") == (request.channel, request.msg_type)
    assert {"code": "😀.a", "cursor_pos": 3} == request.content


def test_the_other_requests_go_where_the_kernel_expects_them() -> None:
    asked = [
        kernel_info_request(ID, Channel.CONTROL),
        interrupt_request(ID),
        shutdown_request(ID),
        shutdown_request(ID, restart=True),
    ]
    assert {Channel.CONTROL} == {request.channel for request in asked}
    assert [
        ("kernel_info_request", {}),
        ("interrupt_request", {}),
        ("shutdown_request", {"restart": False}),
        ("shutdown_request", {"restart": True}),
    ] == [(request.msg_type, request.content) for request in asked]


def test_an_expression_is_evaluated_without_a_trace_and_beside_the_cells() -> None:
    request = evaluate_request(ID, "ready()", subshell_id="s1")
    assert (Channel.SHELL, "execute_request") == (request.channel, request.msg_type)
    assert {
        "code": "",
        "silent": True,
        "store_history": False,
        "user_expressions": {VALUE: "ready()"},
        "allow_stdin": False,
        "stop_on_error": False,
    } == request.content
    assert {"subshell_id": "s1"} == request.stamped(session="s", date="d").header.more


def test_a_subshell_is_asked_for_on_control() -> None:
    request = create_subshell_request(ID)
    assert (Channel.CONTROL, "create_subshell_request", {}) == (
        request.channel,
        request.msg_type,
        request.content,
    )
    assert {} == request.stamped(session="s", date="d").header.more
