"""JSON that any parser accepts."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging import strict_json
from kernel_gateway.messaging.strict_json import (
    MAX_DEPTH,
    clean_text,
    decode,
    decode_object,
    encode,
    laid_out,
)
from tests.unit.messaging.strategies import JSON, LOOSE_JSON, LOOSE_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True, scope="module", params=[msgspec, None], ids=["msgspec", "json"])
def quick(request: pytest.FixtureRequest) -> Iterator[None]:
    """With the extra `fast` and without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "quick", request.param)
        yield


def by_each(do: Callable[[], object]) -> list[str]:
    """What comes of it with msgspec and without, with its types; nothing when it is malformed."""
    told = []
    for parser in (msgspec, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(strict_json, "quick", parser)
            try:
                told.append(repr(do()))
            except MalformedMessage as fault:
                told.append(str(fault))
    return told


#: JSON, what looks like it, and what `json` alone reads.
TEXTS = st.one_of(
    LOOSE_JSON.map(json.dumps),
    LOOSE_JSON.map(lambda value: json.dumps(value, ensure_ascii=False)),
    st.text(alphabet='[]{}",:\\ud8bfntrue01.eE+-NaInity \t\x00\ud800\ufeff'),
    st.from_regex(r"-?[0-9]{1,400}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", fullmatch=True),
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])


@given(TEXTS)
def test_both_readers_read_the_same_and_refuse_the_same(text: str) -> None:
    with_it, without = by_each(lambda: decode(text))
    assert without == with_it


@given(TEXTS, ENCODINGS)
def test_both_readers_read_the_same_bytes(text: str, encoding: str) -> None:
    with_it, without = by_each(lambda: decode(text.encode(encoding, "surrogatepass")))
    assert without == with_it


class Name(str):
    __slots__ = ()


@given(LOOSE_JSON)
def test_both_writers_write_the_same(value: Any) -> None:
    """But for the form of floats, as 1e16 and 1e+16."""
    with_it, without = by_each(lambda: decode(encode([value, {Name("a"): Name("b"), None: 1}])))
    assert without == with_it


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


@given(JSON)
def test_files_are_laid_out_as_jupyter_does_it(value: object) -> None:
    jupyter = json.dumps(
        value, ensure_ascii=False, sort_keys=True, indent=1, separators=(",", ": ")
    )
    assert jupyter.encode() == laid_out(value)


@pytest.mark.parametrize("value", [math.nan, [math.inf], "\ud800"])
def test_what_has_to_be_replaced_is_not_laid_out(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        laid_out({"a": value})


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
