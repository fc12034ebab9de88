"""`client/download.py`: an artifact out of many connections, and only the right one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway import errors
from kernel_gateway.client.download import Download, named_artifact
from kernel_gateway.client.patience import Patience
from kernel_gateway.client.protocol import Answer
from kernel_gateway.runs.records import Artifact, ArtifactKind

DATA = bytes(range(100))
CUT = errors.Unreachable("cut")


def artifact(data: bytes = DATA, **more: Any) -> Artifact:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    usual = {"id": "a1", "name": "n", "kind": ArtifactKind.FILE, "mime": "m", "size": len(data)}
    return Artifact(**{**usual, "digest": digest, **more})


def download(wanted: Artifact | None = None, tries: int = 3) -> Download:
    return Download("r", wanted or artifact(), Patience(tries=tries, first_s=1.0))


def asked_from(one: Download) -> int:
    wanted = dict(one.call().headers).get("Range", "bytes=0-")
    return int(wanted.removeprefix("bytes=").removesuffix("-"))


def part(start: int) -> Answer:
    if start == 0:
        return Answer(status=200)
    return Answer(status=206, headers={"content-range": f"bytes {start}-99/100"})


def test_all_that_comes_at_once_is_complete() -> None:
    one = download()
    assert 0.0 == one.turn()
    assert one.opened(Answer(status=200))
    one.take(DATA)
    assert one.turn() is None


def test_an_empty_artifact_is_complete_when_its_answer_has_come() -> None:
    one = download(artifact(b""))
    one.turn()
    assert one.opened(Answer(status=200))
    assert one.turn() is None


@given(st.lists(st.integers(0, 100), max_size=5))
def test_wherever_connections_are_cut_the_bytes_are_the_same(cuts: list[int]) -> None:
    one, file = download(tries=99), bytearray()
    while one.turn() is not None:
        start = asked_from(one)
        one.opened(part(start))
        del file[one.start :]
        piece = DATA[start:][: cuts.pop() if cuts else None]
        one.take(piece)
        file += piece
        one.lost(CUT)
    assert DATA == bytes(file)


def test_a_gateway_that_gives_all_of_it_again_begins_anew() -> None:
    one = download()
    one.turn()
    one.opened(Answer(status=200))
    one.take(DATA[:50])
    one.lost(CUT)
    one.turn()
    assert one.opened(Answer(status=200))
    assert 0 == one.start
    one.take(DATA)
    assert one.turn() is None


def test_a_connection_that_ends_early_is_taken_up_where_it_ended() -> None:
    one = download()
    one.turn()
    one.opened(Answer(status=200))
    one.take(DATA[:30])
    assert 1.0 == one.turn()
    assert 30 == asked_from(one)


def test_bytes_that_are_others_are_not_taken_for_it() -> None:
    one = download(artifact(digest="sha256:0"))
    one.turn()
    one.opened(Answer(status=200))
    one.take(DATA)
    with pytest.raises(errors.UnexpectedAnswer, match="digest"):
        one.turn()


def test_more_bytes_than_there_should_be_are_not_taken() -> None:
    one = download()
    one.turn()
    one.opened(Answer(status=200))
    with pytest.raises(errors.UnexpectedAnswer, match="longer"):
        one.take(DATA + b"x")


@pytest.mark.parametrize("place", ["", "bytes 7-99/100", "bytes */100"])
def test_a_part_that_was_not_asked_for_is_not_taken(place: str) -> None:
    one = download()
    one.turn()
    one.opened(Answer(status=200))
    one.take(DATA[:30])
    one.lost(CUT)
    one.turn()
    with pytest.raises(errors.UnexpectedAnswer):
        one.opened(Answer(status=206, headers={"content-range": place}))


def test_connections_that_bring_nothing_are_given_up() -> None:
    one = download(tries=2)
    one.turn()
    one.lost(CUT)
    one.turn()
    with pytest.raises(errors.Unreachable):
        one.lost(CUT)


def test_a_gateway_that_asks_for_a_pause_gets_it() -> None:
    data = json.dumps({"error": {"code": "draining", "message": "Soon."}}).encode()
    one = download()
    one.turn()
    assert not one.opened(Answer(status=503, headers={"retry-after": "5"}, body=data))
    assert 5.0 == one.turn()


def test_an_artifact_is_found_by_its_id() -> None:
    known = [artifact(id="a0"), artifact()]
    assert known[1] is named_artifact(known, "a1")
    with pytest.raises(errors.ArtifactNotFound, match="'a2'"):
        named_artifact(known, "a2")
