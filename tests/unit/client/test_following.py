"""`client/following.py`: one stream of records out of many connections."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway import errors
from kernel_gateway.client.following import Following
from kernel_gateway.client.patience import Patience
from kernel_gateway.client.protocol import Answer
from kernel_gateway.runs.records import Seq
from tests.unit.client.samples import completed_json, record_json

if TYPE_CHECKING:
    from kernel_gateway.client.values import Told

STREAM = Answer(status=200, headers={"content-type": "text/event-stream; charset=utf-8"})
CUT = errors.Unreachable("cut")


def following(after: int = 0, tries: int = 3) -> Following:
    return Following("r", Seq(after), Patience(tries=tries, first_s=1.0))


def event(record: dict[str, Any]) -> bytes:
    return f"id: {record['seq']}\nevent: {record['kind']}\ndata: {json.dumps(record)}\n\n".encode()


def text(seq: int) -> bytes:
    return event(record_json(seq, "log", stream="stdout", text=str(seq)))


def asked_for(following: Following) -> str:
    return dict(following.call().headers)["Last-Event-ID"]


def test_a_run_that_is_told_to_its_end_is_over() -> None:
    reader = following()
    assert 0.0 == reader.turn()
    assert reader.opened(STREAM)
    assert [1] == [told.seq for told in reader.take(b": hi\n\n" + text(1))]
    assert [2] == [told.seq for told in reader.take(event(completed_json(2)))]
    assert reader.turn() is None


def test_the_next_connection_begins_behind_the_last_record() -> None:
    reader = following(after=4)
    assert "4" == asked_for(reader)
    reader.turn()
    reader.opened(STREAM)
    reader.take(text(5) + text(6)[:-1])
    reader.lost(CUT)
    assert 1.0 == reader.turn()
    assert "5" == asked_for(reader)
    reader.opened(STREAM)
    assert [6] == [told.seq for told in reader.take(text(5) + text(6))]


def test_a_stream_that_ends_too_early_is_a_cut() -> None:
    reader = following(tries=2)
    assert 0.0 == reader.turn()
    reader.opened(STREAM)
    assert 1.0 == reader.turn()
    reader.opened(STREAM)
    with pytest.raises(errors.Unreachable, match="ended before the run did"):
        reader.turn()


def test_connections_that_bring_nothing_are_given_up() -> None:
    reader = following(tries=3)
    reader.turn()
    reader.lost(CUT)
    reader.turn()
    reader.lost(CUT)
    reader.turn()
    with pytest.raises(errors.Unreachable):
        reader.lost(CUT)


@pytest.mark.parametrize("sign", [text(1), b": one\n\n: two\n\n"])
def test_a_record_or_a_connection_that_held_for_a_while_renews_the_patience(sign: bytes) -> None:
    reader = following(tries=2)
    for _ in range(5):
        reader.turn()
        reader.opened(STREAM)
        reader.take(sign.replace(b'"seq": 1', f'"seq": {1 + int(asked_for(reader))}'.encode()))
        reader.lost(CUT)


def test_the_first_comment_of_a_connection_renews_nothing() -> None:
    reader = following(tries=2)
    reader.turn()
    reader.opened(STREAM)
    reader.take(b": hi\n\n")
    reader.lost(CUT)
    reader.turn()
    reader.opened(STREAM)
    reader.take(b": hi\n\n")
    with pytest.raises(errors.Unreachable):
        reader.lost(CUT)


def test_nothing_behind_the_end_is_the_end() -> None:
    reader = following(after=9)
    reader.turn()
    assert not reader.opened(Answer(status=204))
    assert reader.turn() is None


def test_a_connection_that_breaks_behind_the_end_is_no_matter() -> None:
    reader = following(tries=1)
    reader.turn()
    reader.opened(STREAM)
    reader.take(event(completed_json(1)))
    reader.lost(CUT)
    assert reader.turn() is None


def test_records_behind_the_end_are_not_told() -> None:
    reader = following()
    reader.turn()
    reader.opened(STREAM)
    assert [1] == [told.seq for told in reader.take(event(completed_json(1)) + text(2))]


def test_a_gateway_that_asks_for_a_pause_gets_it() -> None:
    data = json.dumps({"error": {"code": "draining", "message": "Soon."}}).encode()
    answer = Answer(status=503, headers={"retry-after": "5"}, body=data)
    reader = following(tries=2)
    reader.turn()
    assert not reader.opened(answer)
    assert 5.0 == reader.turn()
    with pytest.raises(errors.Draining):
        reader.opened(answer)


def test_a_run_that_is_not_there_is_told_at_once() -> None:
    data = json.dumps({"error": {"code": "run_not_found", "message": "No."}}).encode()
    reader = following()
    reader.turn()
    with pytest.raises(errors.RunNotFound):
        reader.opened(Answer(status=404, body=data))


def test_a_page_of_something_else_is_no_stream() -> None:
    reader = following()
    reader.turn()
    with pytest.raises(errors.UnexpectedAnswer, match="text/html"):
        reader.opened(Answer(status=200, headers={"content-type": "text/html"}))


def test_an_event_that_is_no_json_is_unexpected() -> None:
    reader = following()
    reader.turn()
    reader.opened(STREAM)
    with pytest.raises(errors.UnexpectedAnswer):
        reader.take(b"data: nonsense\n\n")


RECORDS = [*(record_json(n, "log", stream="stdout", text=str(n)) for n in range(1, 6))]
RECORDS.append(completed_json(6))


@given(st.lists(st.integers(0, 3000), max_size=6), st.integers(0, 2))
def test_wherever_connections_are_cut_each_record_comes_once(cuts: list[int], back: int) -> None:
    """Also where a connection begins before the place that was asked for."""
    reader = following(tries=99)
    told: list[Told] = []
    while reader.turn() is not None:
        reader.opened(STREAM)
        begin = max(0, int(asked_for(reader)) - back)
        data = b"".join(event(record) for record in RECORDS[begin:])
        told += reader.take(data[: cuts.pop() if cuts else None])
        reader.lost(CUT)
    assert [1, 2, 3, 4, 5, 6] == [one.seq for one in told]
