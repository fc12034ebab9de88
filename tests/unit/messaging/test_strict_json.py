"""JSON that any parser accepts."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging.strict_json import (
    MAX_DEPTH,
    clean_text,
    decode,
    decode_object,
    encode,
)
from tests.unit.messaging.strategies import JSON, LOOSE_JSON, LOOSE_TEXT


@given(JSON)
def test_strict_values_come_back(value: object) -> None:
    assert value == decode(encode(value))
    assert value == decode(encode(value).decode())


@given(LOOSE_JSON)
def test_whatever_json_loads_gives_is_written_strictly(value: object) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = encode(value).decode()  # UTF-8 cannot carry lone surrogates
    json.loads(text, parse_constant=refuse)


def test_numbers_that_are_none_become_null_and_lone_surrogates_a_replacement() -> None:
    value = {"a\ud800": [math.nan, math.inf, (1, "x\udfffy", True, None)]}
    assert b'{"a\xef\xbf\xbd":[null,null,[1,"x\xef\xbf\xbdy",true,null]]}' == encode(value)


def test_keys_need_not_be_text() -> None:
    assert b'{"1":null}' == encode({1: math.nan})


@given(LOOSE_TEXT)
def test_clean_text_changes_lone_surrogates_alone(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode()
    if all(not 0xD800 <= ord(character) < 0xE000 for character in text):
        assert text == cleaned


def test_each_lone_surrogate_becomes_one_replacement() -> None:
    assert "a\ufffdb\ufffd\ufffd\u20ac" == clean_text("a\ud800b\udc00\udc01\u20ac")
    assert "\U0001f600" == clean_text("\ud83d\ude00"), "two halves are a whole"
    assert "\ufeffa\ufffd" == clean_text("\ufeffa\ud800")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"nul",
        '{"a":}',
        "[" * 100_000,
        b"[" * 100_000,
        "1" * 5000,
        "\ufeff1",
    ],
)
def test_what_is_no_json_is_malformed(data: bytes | str) -> None:
    with pytest.raises(MalformedMessage):
        decode(data)


@pytest.mark.parametrize("opened", ["[", '{"a":'])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_json_is_read_down_to_a_depth(opened: str, *, as_bytes: bool) -> None:
    def nested(depth: int) -> bytes | str:
        closed = "]" if opened == "[" else "}"
        text = opened * depth + "1" + closed * depth
        return text.encode() if as_bytes else text

    decode(nested(MAX_DEPTH))
    with pytest.raises(MalformedMessage, match="in each other"):
        decode(nested(MAX_DEPTH + 1))


def test_the_deepest_that_is_read_can_be_written_with_a_replacement() -> None:
    text = "[" * MAX_DEPTH + "NaN" + "]" * MAX_DEPTH
    assert text.replace("NaN", "null").encode() == encode(decode(text))


def test_many_brackets_are_not_deep() -> None:
    text = "[" + "[],{}," * MAX_DEPTH + '"[[["]'
    assert 2 * MAX_DEPTH + 1 == len(decode(text))  # type: ignore[arg-type]


def test_an_object_is_an_object() -> None:
    assert {"a": 1} == decode_object(b'{"a": 1}')
    for data in (b"[]", b"null", b"1", b'"{}"'):
        with pytest.raises(MalformedMessage, match="object"):
            decode_object(data)


def test_white_space_may_follow_and_nothing_else() -> None:
    assert {"a": 1} == decode(b'{"a": 1} \n')
    with pytest.raises(MalformedMessage):
        decode(b'{"a": 1} 2')
