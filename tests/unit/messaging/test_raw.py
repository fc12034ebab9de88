"""Messages that nobody has decoded: what is found in their bytes is what decoding would find."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.strict_json import decode_object
from tests.unit.messaging.strategies import LOOSE_JSON, MESSAGES

HEADER = b'{"msg_id":"m","msg_type":"status"}'


def raw(
    header: bytes = HEADER,
    parent: bytes = b"{}",
    metadata: bytes = b"{}",
    content: bytes = b"{}",
    *buffers: bytes,
) -> RawMessage:
    return RawMessage.read(Channel.IOPUB, (header, parent, metadata, content), buffers)


# -- there and back -------------------------------------------------------------------------------


@given(MESSAGES)
def test_a_message_comes_back(message: Message) -> None:
    made = RawMessage.of(message)
    assert message == made.decoded()
    assert made == RawMessage.read(message.channel, made.parts, message.buffers)
    assert (message.msg_type, message.parent, message.parent_id) == (
        made.msg_type,
        made.parent,
        made.parent_id,
    )
    assert (message.header, message.metadata, message.content) == (
        made.header,
        made.metadata,
        made.content,
    )
    assert message.header.msg_id == made.msg_id


@given(message=MESSAGES, ascii_only=st.booleans(), indent=st.sampled_from([None, 0, 3]))
def test_type_and_id_are_found_however_the_header_is_written(
    message: Message, ascii_only: bool, indent: int | None
) -> None:
    header = json.dumps(message.header.as_json(), ensure_ascii=ascii_only, indent=indent)
    made = raw(header.encode())
    assert (message.msg_type, message.header.msg_id) == (made.msg_type, made.msg_id)


@pytest.mark.parametrize(
    "header",
    [
        '{"msg_type":"a","msg_id":"b"}',
        '{ "msg_id" :\t"b" ,\n "msg_type"  :  "a" }',
        r'{"msg_type":"\u0061","msg_id":"\u0062"}',
        r'{"msg\u005ftype":"a","msg\u005fid":"b"}',
        r'{"username":"\"msg_type\":\"no\",\"msg_id\":\"no\"","msg_type":"a","msg_id":"b"}',
        '{"username":"msg_type","session":"msg_id","msg_type":"a","msg_id":"b"}',
    ],
)
def test_type_and_id_are_found_with_odd_spaces_and_escapes(header: str) -> None:
    assert ("a", "b") == (raw(header.encode()).msg_type, raw(header.encode()).msg_id)


def test_type_and_id_may_be_more_than_ascii() -> None:
    made = raw('{"msg_type":"größe","msg_id":"é😀"}'.encode())
    assert ("größe", "é😀") == (made.msg_type, made.msg_id)
    made = raw(rb'{"msg_type":"gr\u00f6\u00dfe","msg_id":"\"\ud83d\ude00"}')
    assert ("größe", '"😀') == (made.msg_type, made.msg_id)


def test_a_message_without_an_id_has_an_empty_one() -> None:
    assert "" == raw(b'{"msg_type":"a"}').msg_id


# -- what is none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"msg_type":""}',
        b'{"msg_type":5}',
        b'{"msg_id":"m"}',
        b"[" * 999,
    ],
)
def test_a_header_without_a_type_is_malformed(header: bytes) -> None:
    with pytest.raises(MalformedMessage):
        raw(header)


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"msg_id":"m"}',
        b'{"msg_type":"t","session":1}',
        b"[" * 100_000,
        b'{"msg_type":"t","session":"' + b"x" * 5000 + b'"',
    ],
)
def test_a_parent_that_cannot_be_read_is_malformed(parent: bytes) -> None:
    for _ in range(2):  # a fault is not remembered as an answer
        with pytest.raises(MalformedMessage):
            raw(parent=parent)


@pytest.mark.parametrize("part", [b"", b"[]", b"{", b"\xff", b'{"a":' * 500 + b"1" + b"}" * 500])
def test_what_is_wrong_with_the_other_parts_is_found_when_they_are_decoded(part: bytes) -> None:
    with pytest.raises(MalformedMessage):
        raw(metadata=part).decoded()
    with pytest.raises(MalformedMessage):
        raw(content=part).decoded()
    with pytest.raises(MalformedMessage):
        _ = raw(content=part).content
    with pytest.raises(MalformedMessage):
        _ = raw(metadata=part).metadata


def test_an_id_that_is_no_text_is_none() -> None:
    assert "" == raw(b'{"msg_type":"t","msg_id":5}').msg_id


# -- the parent -----------------------------------------------------------------------------------


def test_a_parent_is_decoded_once_for_all_that_comes_of_its_request() -> None:
    parent = b'{"msg_id":"once","msg_type":"execute_request","session":"s"}'
    first, second = raw(parent=parent), raw(content=b'{"a":1}', parent=bytes(bytearray(parent)))
    assert Header(msg_id=MsgId("once"), msg_type="execute_request", session="s") == first.parent
    assert first.parent is second.parent
    assert "once" == first.parent_id


def test_a_big_parent_is_not_kept() -> None:
    parent = b'{"msg_id":"' + b"x" * 2000 + b'","msg_type":"t"}'
    first, second = raw(parent=parent), raw(parent=parent)
    assert first.parent == second.parent
    assert first.parent is not second.parent


def test_nothing_is_the_parent_of_a_message_that_nothing_caused() -> None:
    assert (None, None) == (raw().parent, raw().parent_id)


# -- its size -------------------------------------------------------------------------------------


def test_its_size_is_that_of_all_its_parts() -> None:
    assert len(HEADER) + 3 + 2 + 4 == raw(HEADER, b"{ }", b"{}", b"{  }").bytes
    assert len(HEADER) + 6 + 5 == raw(HEADER, b"{}", b"{}", b"{}", b"123", b"", b"45").bytes


# -- strict JSON ----------------------------------------------------------------------------------


def loose(part: str) -> bytes:
    return part.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": NaN, "b": [Infinity, -Infinity, 1.5]}', {"a": None, "b": [None, None, 1.5]}),
        (b'{"a": "NaN and Infinity"}', {"a": "NaN and Infinity"}),
        (rb'{"a": "\ud800"}', {"a": "\ufffd"}),
        (rb'{"a": "\uDC00x\uD83D"}', {"a": "\ufffdx\ufffd"}),
        (rb'{"\ud800": 1}', {"\ufffd": 1}),
        (rb'{"a": "\ud83d\ude00 \uD83D\uDE00"}', {"a": "😀 😀"}),
        (rb'{"a": "\\ud800"}', {"a": r"\ud800"}),
        (loose('{"a": "\ud800"}'), {"a": "\ufffd"}),
        (b'{"a": "x\xffy", "b": NaN}', {"a": "x\ufffdy", "b": None}),
        ('{"a": "é"}'.encode("latin-1"), {"a": "\ufffd"}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        ('{"a": "e"}'.encode("utf-16-le"), {"a": "e"}),
        ('{"a": "e"}'.encode("utf-16-be"), {"a": "e"}),
        ('{"a": "e"}'.encode("utf-8-sig"), {"a": "e"}),
    ],
)
def test_what_not_every_parser_takes_is_replaced(content: bytes, expected: object) -> None:
    for place in (2, 3):
        parts = [HEADER, b"{}", b"{ }", b"{  }"]
        parts[place] = content
        strict = raw(*parts).strict()
        assert expected == json.loads(strict.parts[place].decode())
        assert [part for at, part in enumerate(parts) if at != place] == [
            part for at, part in enumerate(strict.parts) if at != place
        ], "the others are as they came"
        assert strict.parts == strict.strict().parts


def test_a_header_and_a_parent_are_made_strict_too() -> None:
    made = raw(rb'{"msg_type":"t","username":"\ud800"}', rb'{"msg_type":"t","username":"\udc00"}')
    strict = made.strict()
    assert "\ufffd" == decode_object(strict.parts[0])["username"]
    assert "\ufffd" == decode_object(strict.parts[1])["username"]
    big = b'{"msg_type":"t","username":"' + b"x" * 2000 + b'","x":NaN}'
    assert b"NaN" not in raw(parent=big).strict().parts[1]
    assert "t" == raw(b'{"msg_type":"t","username":"\xff"}').strict().msg_type


def test_a_type_that_is_no_text_is_made_one() -> None:
    made = raw(b'{"msg_type":"a\xff"}')
    assert "a\ufffd" == made.msg_type
    assert "a\ufffd" == made.strict().header.msg_type


@pytest.mark.parametrize("content", [b"NaN", b"\xff", b'["\\ud800"', b"{NaN}", b"x" + b"[" * 10**5])
def test_what_is_no_json_cannot_be_made_strict(content: bytes) -> None:
    with pytest.raises(MalformedMessage):
        raw(content=content).strict()


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"a":"\\u00e9\\n\\u2028","b":1e999}',
        '{"a":"é😀\u2028"}'.encode(),
        b'{ "nan":\t1 }',
        b'{"a":' * 300 + b"1" + b"}" * 300,
    ],
)
def test_what_every_parser_takes_is_the_same_object(content: bytes) -> None:
    made = raw(HEADER, b"{}", b"{}", content, b"\xff\xfe")
    assert made is made.strict()


@given(MESSAGES)
def test_what_we_make_is_strict(message: Message) -> None:
    made = RawMessage.of(message)
    assert made.decoded() == made.strict().decoded()


@given(value=LOOSE_JSON, ascii_only=st.booleans())
def test_anything_that_python_takes_for_json_becomes_strict(
    value: object, ascii_only: bool
) -> None:
    content = loose(json.dumps({"a": value}, ensure_ascii=ascii_only))
    made = raw(content=content)
    strict = made.strict()
    text = strict.parts[3].decode()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(text, parse_constant=refuse)
    json.dumps(json.loads(text), ensure_ascii=False).encode()  # no surrogate is left
    if strict is made:
        assert content == strict.parts[3]
    assert RawMessage.of(strict.decoded()).content == strict.content
