"""`client/sse.py`: events out of bytes, however these are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.client import sse
from kernel_gateway.client.sse import Event, Parser
from kernel_gateway.errors import UnexpectedAnswer


def read(data: bytes) -> list[Event]:
    return Parser().feed(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\n", [Event("message", "a", "")]),
        (b"data:a\n\n", [Event("message", "a", "")]),
        (b"data:  a\n\n", [Event("message", " a", "")]),
        (b"event: log\nid: 3\ndata: x\n\n", [Event("log", "x", "3")]),
        (b"data: a\ndata: b\n\n", [Event("message", "a\nb", "")]),
        (b"data\n\n", [Event("message", "", "")]),
        (
            b"id: 1\ndata: a\n\ndata: b\n\n",
            [Event("message", "a", "1"), Event("message", "b", "1")],
        ),
        (
            b"id: 1\ndata: a\n\nid\ndata: b\n\n",
            [Event("message", "a", "1"), Event("message", "b", "")],
        ),
        (b"id: 1\0\ndata: a\n\n", [Event("message", "a", "")]),
        (b"event: x\n\ndata: a\n\n", [Event("message", "a", "")]),
        (b"retry: 1000\nwhat: ever\ndata: a\n\n", [Event("message", "a", "")]),
        (b": a comment\n\n", []),
        (b"data: never ended\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("message", "a", "")]),
        (b"data: a\r\n\r\n", [Event("message", "a", "")]),
        (b"data: a\r\r", [Event("message", "a", "")]),
        ("data: ü€\n\n".encode(), [Event("message", "ü€", "")]),
        (b"data: \xff\n\n", [Event("message", "\ufffd", "")]),
    ],
)
def test_a_stream_is_read_as_the_standard_says(data: bytes, expected: list[Event]) -> None:
    assert expected == read(data)


TEXTS = ("data: ü€\U0001f600\n", "data: a\r\n", "data: b\r", "data\n", "event: log\n", "id: 7\n")
PIECES = st.sampled_from([*TEXTS, ": hi\n", "\n", "\r\n", "\r", "\ufeff", "x", ":", " "])


@given(st.lists(PIECES).map("".join), st.lists(st.integers(0, 80)))
def test_any_cutting_of_the_bytes_gives_the_same_events(text: str, cuts: list[int]) -> None:
    data = text.encode()
    parser = Parser()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    found = [event for start, end in pairwise(places) for event in parser.feed(data[start:end])]
    assert read(data) == found


def test_a_character_may_come_byte_by_byte() -> None:
    parser = Parser()
    data = "data: \U0001f600\n\n".encode()
    assert read(data) == [event for byte in data for event in parser.feed(bytes([byte]))]


def test_comments_are_counted_as_signs_of_life() -> None:
    parser = Parser()
    parser.feed(b": one\n\ndata: a\n\n: two\n")
    assert 2 == parser.comments


def test_a_line_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_LINE_CHARS", 10)
    parser = Parser()
    parser.feed(b"data: 1234")
    with pytest.raises(UnexpectedAnswer, match="longer than 10"):
        parser.feed(b"5")
