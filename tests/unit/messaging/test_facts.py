"""What messages mean, and that nothing a kernel can say is anything but a fact or malformed."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging import facts
from kernel_gateway.messaging.facts import Fact, fact_of
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from tests.unit.messaging.strategies import LOOSE_JSON, LOOSE_TEXT

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json

TYPES = (
    "status",
    "stream",
    "display_data",
    "execute_result",
    "update_display_data",
    "clear_output",
    "error",
    "input_request",
    "execute_reply",
    "complete_reply",
    "kernel_info_reply",
    "iopub_welcome",
    "create_subshell_reply",
    "comm_open",
    "comm_msg",
    "comm_close",
)
FIELDS = (
    "execution_state",
    "name",
    "text",
    "data",
    "metadata",
    "transient",
    "execution_count",
    "wait",
    "ename",
    "evalue",
    "traceback",
    "prompt",
    "password",
    "status",
    "implementation",
    "protocol_version",
    "language_info",
    "banner",
    "matches",
    "cursor_start",
    "cursor_end",
    "user_expressions",
    "supported_features",
    "subshell_id",
    "comm_id",
    "target_name",
)


def said(msg_type: str, **content: Json) -> Fact | None:
    return fact_of(
        Message(
            channel=Channel.IOPUB,
            header=Header(msg_id=MsgId("k"), msg_type=msg_type, session="s"),
            content=content,
        )
    )


@given(
    msg_type=st.sampled_from(TYPES),
    content=st.dictionaries(
        st.sampled_from(FIELDS),
        LOOSE_JSON | LOOSE_TEXT | st.dictionaries(LOOSE_TEXT, LOOSE_JSON, max_size=3),
    ),
)
def test_any_content_is_a_fact_or_nothing_or_malformed(
    msg_type: str, content: dict[str, Json]
) -> None:
    try:
        fact = said(msg_type, **content)
    except MalformedMessage:
        return
    assert fact is None or isinstance(fact, get_args(Fact))


def test_each_message_means_what_the_protocol_says() -> None:
    bundle: dict[str, Json] = {"text/plain": "x"}
    for msg_type, content, fact in (
        ("status", {"execution_state": "busy"}, facts.Busy()),
        ("status", {"execution_state": "idle"}, facts.Idle()),
        ("status", {"execution_state": "starting"}, None),
        ("stream", {"name": "stderr", "text": "x"}, facts.Stream("stderr", "x")),
        ("display_data", {"data": bundle}, facts.Display(bundle, {})),
        (
            "display_data",
            {"data": bundle, "metadata": {"a": 1}, "transient": {"display_id": "d"}},
            facts.Display(bundle, {"a": 1}, "d"),
        ),
        (
            "execute_result",
            {"data": bundle, "metadata": {}, "execution_count": 3},
            facts.Display(bundle, {}, execution_count=3, is_result=True),
        ),
        (
            "update_display_data",
            {"data": bundle, "transient": {"display_id": "d"}},
            facts.DisplayUpdate("d", bundle, {}),
        ),
        ("update_display_data", {"data": bundle, "transient": {}}, None),
        ("update_display_data", {"data": bundle, "transient": {"display_id": ""}}, None),
        ("clear_output", {"wait": True}, facts.Clear(wait=True)),
        ("clear_output", {}, facts.Clear(wait=False)),
        (
            "error",
            {"ename": "E", "evalue": "e", "traceback": ["a", 1, "b"]},
            facts.Raised("E", "e", ("a", "b")),
        ),
        ("error", {"ename": None, "traceback": "a"}, facts.Raised("", "", ())),
        (
            "input_request",
            {"prompt": "? ", "password": True},
            facts.InputRequested("? ", password=True),
        ),
        ("input_request", {}, facts.InputRequested("", password=False)),
        ("execute_reply", {"status": "ok", "execution_count": 3}, facts.Replied("ok", 3)),
        ("execute_reply", {"status": "ok", "execution_count": True}, facts.Replied("ok")),
        (
            "execute_reply",
            {"status": "error", "ename": "E", "evalue": "e", "traceback": ["a"]},
            facts.Replied("error", None, "E", "e", ("a",)),
        ),
        (
            "complete_reply",
            {"matches": ["print", 1], "cursor_start": 2, "cursor_end": 4},
            facts.Completions(("print",), 2, 4),
        ),
        ("complete_reply", {"status": "error"}, facts.Completions((), 0, 0)),
        (
            "kernel_info_reply",
            {"implementation": "x", "protocol_version": "5.4", "language_info": {"name": "y"}},
            facts.KernelInfo("x", "5.4", {"name": "y"}),
        ),
        ("iopub_welcome", {}, facts.Welcome()),
        (
            "comm_open",
            {"comm_id": "c", "target_name": "t", "data": {"state": {}}},
            facts.Comm("open", "c", {"state": {}}, target_name="t"),
        ),
        ("comm_msg", {"comm_id": "c", "data": {"a": 1}}, facts.Comm("msg", "c", {"a": 1})),
        ("comm_close", {"comm_id": "c", "target_name": "t"}, facts.Comm("close", "c", {})),
        ("execute_input", {"code": "x"}, None),
    ):
        assert fact == said(msg_type, **content)


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("status", {}),
        ("status", {"execution_state": 3}),
        ("stream", {"name": "stdin", "text": "x"}),
        ("stream", {"name": "stdout"}),
        ("stream", {"name": "stdout", "text": ["x"]}),
        ("display_data", {"data": "x"}),
        ("display_data", {"data": {}, "metadata": [1]}),
        ("display_data", {"data": {}, "transient": "d"}),
        ("error", {"ename": 3}),
        ("execute_reply", {}),
        ("execute_reply", {"status": None}),
        ("input_request", {"prompt": 3}),
        ("kernel_info_reply", {"language_info": "python"}),
        ("comm_open", {"comm_id": "c", "target_name": 3, "data": {}}),
        ("comm_msg", {"data": {}}),
        ("comm_msg", {"comm_id": "c", "data": [1]}),
        ("comm_msg", {"comm_id": "c" * 1025, "data": {}}),
    ],
)
def test_a_content_that_is_not_what_its_type_promises_is_malformed(
    msg_type: str, content: dict[str, Json]
) -> None:
    with pytest.raises(MalformedMessage):
        said(msg_type, **content)


def test_a_comm_has_its_buffers() -> None:
    header = Header(msg_id=MsgId("k"), msg_type="comm_msg", session="s")
    content: dict[str, Json] = {"comm_id": "c", "data": {}}
    message = Message(channel=Channel.IOPUB, header=header, content=content, buffers=(b"\0", b""))
    assert facts.Comm("msg", "c", {}, buffers=(b"\0", b"")) == fact_of(message)


@pytest.mark.parametrize(
    ("mime", "value", "joined"),
    [
        ("text/plain", ["a\n", "b"], "a\nb"),
        ("text/plain", ["a", 1], ["a", 1]),
        ("text/plain", [], ""),
        ("application/json", ["a", "b"], ["a", "b"]),
        ("application/vnd.x+json", ["a"], ["a"]),
        ("text/html", "<\ud800>", "<\ufffd>"),
        ("application/json", {"a": 1}, {"a": 1}),
    ],
)
def test_lines_of_a_value_are_joined_but_for_json(mime: str, value: Json, joined: Json) -> None:
    assert facts.Display({mime: joined}, {}) == said("display_data", data={mime: value})


def test_lone_surrogates_are_replaced_in_every_text() -> None:
    assert facts.Stream("stdout", "\ufffd") == said("stream", name="stdout", text="\ud800")
    assert facts.Raised("\ufffd", "\ufffd", ("\ufffd",)) == said(
        "error", ename="\ud800", evalue="\udfff", traceback=["\ud800"]
    )
    assert facts.Display({}, {}, "\ufffd") == said(
        "display_data", data={}, transient={"display_id": "\ud800"}
    )


def test_a_reply_is_aborted_when_the_kernel_did_not_run_it() -> None:
    for reply, aborted in {
        facts.Replied("aborted"): True,
        facts.Replied("abort"): True,
        facts.Replied("aborted", ename="KeyboardInterrupt"): False,
        facts.Replied("error"): False,
        facts.Replied("ok"): False,
    }.items():
        assert aborted is reply.aborted


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"value": 1}, {"value": 1}), ([], {}), (["odd"], {}), (None, {})],
)
def test_what_expressions_came_to_is_in_the_reply_if_it_can_be_read(
    values: Json, expected: Json
) -> None:
    reply = said("execute_reply", status="ok", user_expressions=values)
    assert isinstance(reply, facts.Replied)
    assert expected == reply.expressions


def test_a_kernel_says_what_not_every_kernel_has() -> None:
    info = said("kernel_info_reply", supported_features=[facts.SUBSHELLS, 1])
    assert isinstance(info, facts.KernelInfo)
    assert (facts.SUBSHELLS,) == info.features


@pytest.mark.parametrize(("made", "expected"), [("s1", "s1"), ("", None), (1, None), (None, None)])
def test_a_subshell_that_was_made_has_an_id(made: Json, expected: str | None) -> None:
    assert facts.SubshellMade(expected) == said("create_subshell_reply", subshell_id=made)
