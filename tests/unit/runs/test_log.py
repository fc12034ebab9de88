"""The log of a run: numbers, lines that are too long, natural batches, values that are too big."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs import records
from kernel_gateway.runs.log import Batch, Blob, Log, LogLimits, cut_notice
from kernel_gateway.runs.records import Artifact, ArtifactKind, Record, Seq, Spilled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Body

CAP = 200
SMALL = LogLimits(
    line_bytes=CAP, inline_bytes=100, record_chars=50, log_bytes=100_000, preview_chars=10
)
NOTICE = cut_notice(CAP)
END = records.Completed(outcome="ok", reason=records.Reason(code="done"), exit_code=0)


def written(
    log: Log, *texts: str, stream: str = "stdout", step: int | None = 0, late: bool = False
) -> Log:
    for text in texts:
        log.append(records.LogText(stream=stream, text=text, late=late), step=step, at=1.0)
    return log


def told(log: Log) -> list[Body]:
    return [record.body for record in log.take().records]


def text_of(bodies: Iterable[Body], stream: str = "stdout") -> str:
    return "".join(
        body.text for body in bodies if isinstance(body, records.LogText) and body.stream == stream
    )


def drops(bodies: Iterable[Body]) -> list[tuple[str, int | None]]:
    return [(body.why, body.bytes) for body in bodies if isinstance(body, records.Dropped)]


# -- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [CAP - 1, CAP])
@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_line_up_to_the_limit_is_whole(size: int, pieces: int) -> None:
    line = "x" * size + "\n"
    bodies = told(written(Log(SMALL), *cut(line, pieces), "next\n"))
    assert f"{line}next\n" == text_of(bodies)
    assert [] == drops(bodies)


@pytest.mark.parametrize("pieces", [1, 2, 7, 150, CAP + 2])
@pytest.mark.parametrize("more", [1, 2, 50, 5000])
def test_a_longer_line_is_cut_so_that_text_and_notice_fit(more: int, pieces: int) -> None:
    line = "x" * (CAP + more)
    log = written(Log(SMALL), "before\n", *cut(line + "\n", pieces), "after\n")
    batch = log.take()
    bodies = [record.body for record in batch.records]
    kept = CAP - len(NOTICE)
    assert f"before\n{'x' * kept}{NOTICE}\nafter\n" == text_of(bodies)
    assert [("line_too_long", CAP + more - kept)] == drops(bodies)
    assert CAP + more - kept == batch.dropped


@pytest.mark.parametrize("more", [0, 1, 2, 3])
def test_a_character_is_never_cut_in_two(more: int) -> None:
    line = "x" * more + "\U0001f600" * CAP
    bodies = told(written(Log(SMALL), f"{line}\n"))
    kept, newline = text_of(bodies).removesuffix(f"{NOTICE}\n"), text_of(bodies)[-1]
    assert "\n" == newline
    assert line.startswith(kept)
    assert CAP - 4 < len(f"{kept}{NOTICE}".encode()) <= CAP
    assert [("line_too_long", len(line.encode()) - len(kept.encode()))] == drops(bodies)


def test_the_loss_is_told_where_its_line_ends() -> None:
    log = written(Log(SMALL), "x" * 300)
    assert [] == drops(told(log)), "how much it will be is not known yet"
    written(log, "y" * 10, "z" * 10 + "\nnext")
    newline, whole, loss, after = told(log)
    assert records.LogText(stream="stdout", text="\n") == newline
    assert isinstance(whole, records.ArtifactAdded)
    assert loss == records.Dropped(
        why="line_too_long",
        bytes=320 - CAP + len(NOTICE),
        stream="stdout",
        artifact=whole.artifact.id,
    )
    assert records.LogText(stream="stdout", text="next") == after


def test_a_line_that_is_cut_when_the_run_ends_is_told_before_the_end() -> None:
    log = written(written(Log(SMALL), "x" * 300), "e" * 400, stream="stderr")
    log.append(END, step=None, at=2.0)
    bodies = told(log)
    assert [300 - CAP + len(NOTICE), 400 - CAP + len(NOTICE)] == [loss for _, loss in drops(bodies)]
    assert END == bodies[-1]


def test_what_is_held_back_for_a_notice_is_let_out_before_anything_else_is_told() -> None:
    line = "x" * (CAP - 1)
    for other in (END, records.Cleared(wait=False), records.StepChanged(state="ok")):
        log = written(Log(SMALL), line)
        assert line != text_of(told(log))
        written(log, "err", stream="stderr")
        log.append(other, step=0, at=1.0)
        bodies = told(log)
        assert len(NOTICE) - 1 == len(text_of(bodies))
        assert other == bodies[-1]


def test_a_line_that_went_on_after_that_is_still_cut() -> None:
    log = written(Log(SMALL), "x" * CAP)
    log.append(records.Cleared(wait=False), step=0, at=1.0)
    written(log, "y\n")
    bodies = told(log)
    assert f"{'x' * CAP}{NOTICE}\n" == text_of(bodies)
    assert [("line_too_long", 1)] == drops(bodies)


@given(
    line=st.text(st.sampled_from("a\u00e9\U0001f600"), min_size=CAP + 1, max_size=2 * CAP),
    data=st.data(),
)
def test_the_whole_of_a_line_that_was_cut_is_an_artifact_however_it_came(
    line: str, data: st.DataObject
) -> None:
    text = f"before\n{line}\nafter\n"
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    log, taken = Log(SMALL), list[Batch]()
    for start, stop in pairwise([0, *places, len(text)]):
        written(log, text[start:stop])
        if data.draw(st.booleans()):
            taken.append(log.take())
    taken.append(log.take())
    assert line.encode() == bytes_of(taken, "a1")
    (added,) = added_of(taken)
    assert added == Artifact(
        id="a1",
        name="stdout line 1",
        kind=ArtifactKind.OVERSIZED,
        mime="text/plain",
        size=len(line.encode()),
        digest=digest(line.encode()),
        preview=line[:10],
    )
    assert [added] == log.artifacts


def test_the_parts_of_a_long_line_do_not_gather_in_memory() -> None:
    log = written(Log(SMALL), "x" * 300)
    log.take()
    for _ in range(3):
        assert 0 == log.pending
        written(log, "y" * 1000)
        assert 1 == log.pending, "the writer has something to do, though there is no record"
        assert [1000] == [len(blob.data) for blob in log.take().blobs]


def test_cut_lines_are_counted_for_each_stream_and_both_may_grow_at_once() -> None:
    log = Log(SMALL)
    for stream in ("stdout", "stderr", "stdout"):
        written(log, "x" * 300, stream=stream)
    written(log, "\n" + "y" * 300)
    log.append(END, step=None, at=1.0)
    batch = log.take()
    assert ["stdout line 1", "stdout line 2", "stderr line 1"] == [
        artifact.name for artifact in added_of([batch])
    ]
    assert [600, 300, 300] == [artifact.size for artifact in added_of([batch])]
    assert END == batch.records[-1].body


def test_late_text_is_told_at_once_and_its_loss_is_late_too() -> None:
    log = Log(SMALL)
    log.append(END, step=None, at=1.0)
    log.take()
    assert "x" * CAP == text_of(told(written(log, "x" * CAP, late=True)))
    late = told(written(log, "\n" + "y" * 300 + "\n", late=True))
    assert ["artifact", "dropped"] == [body.kind for body in late if body.kind != "log"]
    assert all(body.late for body in late)  # type: ignore[union-attr]


def test_a_line_that_is_forgotten_when_its_run_is_over_is_still_cut() -> None:
    log = written(Log(SMALL), "x" * CAP)
    log.append(END, step=None, at=1.0)
    log.take()
    log.forget()
    assert "" == text_of(told(written(log, "", late=True)))
    assert NOTICE in text_of(late := told(written(log, "y" * 7 + "\n" + "z" * CAP, late=True)))
    assert "z" * CAP == text_of(late)[-CAP:], "the next line has all its room"
    assert [("line_too_long", 7), ("artifact_limit", 7)] == drops(late)
    assert "artifact" not in {body.kind for body in late}


def test_each_stream_has_its_own_line() -> None:
    log = Log(SMALL)
    for _ in range(3):
        written(log, "o" * 90)
        written(log, "e" * 50, stream="stderr")
    bodies = told(written(written(log, "\n"), "\n", stream="stderr"))
    assert "e" * 150 + "\n" == text_of(bodies, "stderr")
    assert ["line_too_long"] == [why for why, _ in drops(bodies)]


def test_lines_that_come_in_parts_do_not_add_up() -> None:
    text = "x" * 30
    bodies = told(written(Log(SMALL), *[text, "\n"] * 20))
    assert f"{text}\n" * 20 == text_of(bodies)
    assert [] == drops(bodies)


def test_many_short_lines_in_one_text_all_arrive() -> None:
    text = "".join(f"line {number}\n" for number in range(20_000))
    log = written(Log(replace(SMALL, log_bytes=10**6)), text)
    assert text == text_of(told(log))


def test_the_notice_names_the_limit() -> None:
    assert "[**** LOG LINE TRUNCATED AT 4 MiB ****]" == cut_notice(LogLimits().line_bytes)
    assert "[**** LOG LINE TRUNCATED AT 1 MiB ****]" == cut_notice(2**20)
    assert "[**** LOG LINE TRUNCATED AT 200 BYTES ****]" == NOTICE


TEXTS = st.text(st.sampled_from("ab\n\r\u00e9\u20ac\U0001f600\u2028"), max_size=60)


@given(
    texts=st.lists(st.tuples(TEXTS, st.sampled_from(["stdout", "stderr"]), st.booleans())),
    record_chars=st.integers(1, 30),
)
def test_below_the_limits_everything_arrives_however_it_is_cut_into_writes_and_batches(
    texts: list[tuple[str, str, bool]], record_chars: int
) -> None:
    log = Log(replace(SMALL, line_bytes=10**6, record_chars=record_chars))
    taken: list[Record] = []
    for text, stream, take in texts:
        written(log, text, stream=stream)
        if take:
            taken += log.take().records
    assert len(taken) + log.pending == log.next - 1
    taken += log.take().records
    for name in ("stdout", "stderr"):
        wanted = "".join(text for text, stream, _ in texts if stream == name)
        assert wanted == text_of((record.body for record in taken), name)
    assert list(range(1, 1 + len(taken))) == [record.seq for record in taken]
    for record in taken:
        assert isinstance(record.body, records.LogText)
        assert 0 < len(record.body.text) <= record_chars


@given(line=st.text(st.sampled_from("a\u00e9\U0001f600"), max_size=90), data=st.data())
def test_a_line_is_the_same_however_it_is_cut_into_writes(line: str, data: st.DataObject) -> None:
    whole = told(written(Log(SMALL), f"{line}\nnext\n"))
    places = sorted(data.draw(st.lists(st.integers(0, len(line) + 1), max_size=8)))
    log, taken = Log(SMALL), list[Record]()
    for start, stop in pairwise([0, *places, len(line) + 6]):
        written(log, f"{line}\nnext\n"[start:stop])
        if data.draw(st.booleans()):
            taken += log.take().records
    taken += log.take().records
    bodies = [record.body for record in taken]
    assert text_of(whole) == text_of(bodies)
    assert drops(whole) == drops(bodies)
    assert all(len(part.encode()) <= CAP for part in text_of(bodies).split("\n"))


# -- natural batches ------------------------------------------------------------------------------


def test_neighbours_of_one_stream_grow_together_until_somebody_takes_them() -> None:
    log = written(Log(SMALL), "a", "b")
    assert 1 == log.pending
    assert ["ab"] == [body.text for body in told(log)]  # type: ignore[union-attr]
    assert 0 == log.pending
    assert ["c"] == [body.text for body in told(written(log, "c"))]  # type: ignore[union-attr]


def test_what_is_not_alike_does_not_grow_together() -> None:
    log = written(Log(SMALL), "a")
    written(log, "b", stream="stderr")
    written(log, "c", stream="stderr", step=1)
    written(log, "d", stream="stderr", step=1, late=True)
    log.append(records.Cleared(wait=True), step=1, at=1.0)
    written(log, "e", stream="stderr", step=1, late=True)
    written(log, "")
    assert ["a", "b", "c", "d", None, "e"] == [getattr(body, "text", None) for body in told(log)]


def test_a_record_holds_at_most_so_many_characters() -> None:
    line = "x" * 49 + "\n"
    log = written(Log(SMALL), line, line, "x" * 20, "y" * 20, "z" * 20 + "\n")
    assert [50, 50, 40, 21] == [len(body.text) for body in told(log)]  # type: ignore[union-attr]
    log = written(Log(SMALL), "x" * 25, "y" * 25, "z")
    assert [50, 1] == [len(body.text) for body in told(log)]  # type: ignore[union-attr]
    log = written(Log(SMALL), line * 2 + "x")
    assert [50, 50, 1] == [len(body.text) for body in told(log)]  # type: ignore[union-attr]


def test_a_record_is_as_old_as_its_first_part() -> None:
    log = Log(SMALL, first=Seq(7))
    for at in (1.0, 2.0):
        log.append(records.LogText(stream="stdout", text="x"), step=0, at=at)
    assert (
        Record(seq=Seq(7), at=1.0, step=0, body=records.LogText(stream="stdout", text="xx")),
    ) == log.take().records
    assert 8 == log.next


@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
def test_a_bar_that_draws_itself_anew_is_no_long_line(pieces: int) -> None:
    text = "".join(f"{number} %\r" for number in range(100)) + "100 %\r\n"
    bodies = told(written(Log(SMALL), *cut(text, pieces)))
    assert (text, []) == (text_of(bodies), drops(bodies))


def test_a_line_that_is_too_long_ends_with_its_carriage_return() -> None:
    bodies = told(written(Log(SMALL), "x" * 300, "y\rnext\r\nlast\n"))
    assert f"{'x' * (CAP - len(NOTICE))}{NOTICE}\rnext\r\nlast\n" == text_of(bodies)
    assert [("line_too_long", 301 - CAP + len(NOTICE))] == drops(bodies)


def test_the_bytes_of_the_text_are_counted() -> None:
    assert 7 == written(Log(SMALL), "\u20ac\U0001f600").take().bytes


# -- the limit of a log ---------------------------------------------------------------------------


def test_text_above_the_limit_of_the_log_is_dropped_and_told_with_each_doubling() -> None:
    log = Log(replace(SMALL, log_bytes=1000))
    written(log, *["x" * 99 + "\n"] * 110)
    written(log, "x")
    log.append(END, step=None, at=1.0)
    batch = log.take()
    bodies = [record.body for record in batch.records]
    assert 1000 == len(text_of(bodies))
    assert [100, 200, 400, 800, 1600, 3200, 6400, 10001] == [loss for _, loss in drops(bodies)]
    assert {"log_limit"} == {why for why, _ in drops(bodies)}
    assert (1000, 10001) == (batch.bytes, batch.dropped)
    assert END == bodies[-1]


def test_a_log_has_an_end_and_no_holes() -> None:
    log = written(Log(replace(SMALL, log_bytes=100)), "x" * 90, "y" * 20, "z")
    assert "x" * 90 + "y" * 10 == text_of(told(log))


def test_the_limit_tears_no_character() -> None:
    log = written(Log(replace(SMALL, log_bytes=10)), "\u20ac" * 4)
    written_down = told(log)
    assert "\u20ac" * 3 == text_of(written_down)
    assert records.Dropped(why="log_limit", bytes=3) == written_down[-1]


def test_the_end_and_errors_are_kept_above_the_limit() -> None:
    log = written(Log(replace(SMALL, log_bytes=10)), "x" * 90)
    error = records.ErrorRaised(ename="E", evalue="e", traceback=())
    log.append(error, step=0, at=1.0)
    log.append(END, step=None, at=1.0)
    assert [records.Dropped(why="log_limit", bytes=80), error, END] == told(log)[1:]


def test_a_loss_after_the_end_is_late() -> None:
    log = Log(replace(SMALL, log_bytes=10))
    log.append(END, step=None, at=1.0)
    dropped = records.Dropped(why="log_limit", bytes=10, late=True)
    assert dropped == told(written(log, "x" * 20, late=True))[-1]


# -- values ---------------------------------------------------------------------------------------


def output(**data: Json) -> records.Output:
    return records.Output(index=0, output_type="display_data", data=data, metadata={})


def test_a_value_above_the_inline_limit_travels_by_reference() -> None:
    big = "\u20ac" * 40
    log = Log(SMALL)
    data: dict[str, Json] = {"a/a": "small", "b/b": big, "c/c": [big], "d/d": 1}
    log.append(output(**data), step=0, at=1.0)
    log.append(records.Updated(display_id="d", data={"b/b": big}, metadata={}), step=0, at=1.0)
    batch = log.take()
    first, second, shown, third, updated = (record.body for record in batch.records)
    assert isinstance(shown, records.Output)
    assert isinstance(updated, records.Updated)
    assert {"a/a": "small", "d/d": 1} == shown.data
    assert {} == updated.data
    raw = big.encode()
    spilled = Spilled(artifact="a1", size=120, digest=digest(raw), preview="\u20ac" * 10)
    assert spilled == (shown.spilled or {})["b/b"]
    assert ["a1", "a2"] == [item.artifact for item in (shown.spilled or {}).values()]
    assert ["a3"] == [item.artifact for item in (updated.spilled or {}).values()]
    assert ["output 0 b/b", "output 0 c/c", "update b/b"] == [
        body.artifact.name
        for body in (first, second, third)
        if isinstance(body, records.ArtifactAdded)
    ]
    assert [("a1", "b/b", raw), ("a2", "c/c", encode([big])), ("a3", "b/b", raw)] == [
        (blob.artifact, blob.mime, blob.data) for blob in batch.blobs
    ]
    assert added_of([batch])[0] == Artifact(
        id="a1",
        name="output 0 b/b",
        kind=ArtifactKind.OVERSIZED,
        mime="b/b",
        size=120,
        digest=digest(raw),
        preview="\u20ac" * 10,
    )
    assert added_of([batch]) == log.artifacts


def test_the_bytes_of_an_image_are_a_file_and_the_image_stays_where_it_is() -> None:
    log = Log(SMALL)
    png = b"\x89PNG" + b"\0" * 40
    text = base64.encodebytes(png).decode()
    body = output(**{"image/png": text, "text/plain": "<Figure>"})
    log.append(replace(body, index=7, late=True), step=3, at=1.0)
    batch = log.take()
    added, shown = batch.records
    assert shown.body == replace(body, index=7, late=True)
    assert added.body == records.ArtifactAdded(
        artifact=Artifact(
            id="a1",
            name="output-7.png",
            kind=ArtifactKind.FILE,
            mime="image/png",
            size=44,
            digest=digest(png),
        ),
        late=True,
    )
    assert (3, 1.0) == (added.step, added.at)
    assert (Blob(artifact="a1", mime="image/png", digest=digest(png), data=png),) == batch.blobs


def test_an_update_makes_no_file() -> None:
    log = Log(SMALL)
    data: dict[str, Json] = {"image/png": base64.b64encode(b"png").decode()}
    log.append(records.Updated(display_id="d", data=data, metadata={}), step=0, at=1.0)
    assert ["update"] == [body.kind for body in told(log)]


def test_an_image_above_the_inline_limit_is_a_file_and_its_text_is_kept_as_text() -> None:
    log = Log(SMALL)
    png = b"\x89PNG" + b"\0" * 100
    log.append(output(**{"image/png": base64.b64encode(png).decode()}), step=0, at=1.0)
    batch = log.take()
    assert [("oversized", "text/plain"), ("file", "image/png")] == [
        (artifact.kind, artifact.mime) for artifact in added_of([batch])
    ]
    shown = batch.records[-1].body
    assert isinstance(shown, records.Output)
    assert ["a1"] == [item.artifact for item in (shown.spilled or {}).values()]
    assert png == bytes_of([batch], "a2")


# -- the limit of artifacts -----------------------------------------------------------------------


def test_beyond_so_many_artifacts_a_value_keeps_its_preview_alone_and_the_loss_is_told() -> None:
    log = Log(replace(SMALL, artifact_count=1))
    for _ in range(6):
        log.append(output(a="x" * 101), step=0, at=1.0)
    log.append(END, step=None, at=2.0)
    batch = log.take()
    assert ["artifact", "output", "output", "dropped", "output", "dropped", "output", "output"] == [
        record.body.kind for record in batch.records[:8]
    ]
    assert [(1, 101), (2, 202), (4, 404), (5, 505)] == lost_of(batch)
    assert ["dropped", "completed"] == [record.body.kind for record in batch.records[-2:]]
    last = batch.records[-3].body if batch.records[-3].body.kind == "output" else None
    assert isinstance(last, records.Output)
    assert {"a": Spilled(size=101, digest=digest(b"x" * 101), preview="x" * 10)} == last.spilled
    assert 505 == batch.dropped
    assert 1 == len(batch.blobs)


def test_beyond_so_many_bytes_no_artifact_is_kept_and_a_smaller_one_still_is() -> None:
    log = Log(replace(SMALL, artifact_bytes=130))
    assert 130 == log.artifact_room
    for size in (101, 101):
        log.append(output(a="x" * size), step=0, at=1.0)
    log.append(output(**{"image/png": base64.b64encode(b"x" * 29).decode()}), step=0, at=1.0)
    batch = log.take()
    assert [101, 29] == [artifact.size for artifact in added_of([batch])]
    assert [(1, 101)] == lost_of(batch)
    assert 0 == log.artifact_room


def test_a_line_ends_where_the_room_for_artifacts_ends() -> None:
    log = Log(replace(SMALL, artifact_bytes=301))
    batches = [written(log, "x" * 300).take(), written(log, "\u20ac" * 3, "z\n").take()]
    assert b"x" * 300 == bytes_of(batches, "a1")
    (artifact,) = added_of(batches)
    assert (300, digest(b"x" * 300)) == (artifact.size, artifact.digest)
    assert [(1, 10)] == lost_of(batches[1])


def test_a_line_that_grows_has_its_place_among_the_artifacts() -> None:
    log = written(Log(replace(SMALL, artifact_count=1)), "x" * 300)
    assert None is log.artifact_room
    log.append(output(a="x" * 101), step=0, at=1.0)
    assert [(1, 101)] == lost_of(log.take())
    assert ["stdout line 1"] == [one.name for one in added_of([written(log, "\n").take()])]


@pytest.mark.parametrize("limits", [{"artifact_count": 0}, {"artifact_bytes": 0}])
def test_a_line_for_which_there_is_no_room_has_no_artifact(limits: dict[str, int]) -> None:
    log = written(Log(replace(SMALL, **limits)), "x" * 300, "y\n", "next\n")
    batch = log.take()
    assert [] == added_of([batch])
    assert () == batch.blobs
    (dropped, lost) = (r.body for r in batch.records if isinstance(r.body, records.Dropped))
    assert isinstance(dropped, records.Dropped)
    assert dropped.artifact is None
    assert records.Dropped(why="artifact_limit", count=1, bytes=301) == lost


def test_an_artifact_of_the_engine_is_registered_and_takes_its_room() -> None:
    log = Log(replace(SMALL, artifact_count=1, artifact_bytes=100))
    artifact = Artifact(
        id=log.next_artifact_id(),
        name="a.txt",
        kind=ArtifactKind.FILE,
        mime="text/plain",
        size=60,
        digest="sha256:0",
    )
    added = records.ArtifactAdded(artifact=artifact)
    log.append(added, step=None, at=1.0)
    assert [artifact] == log.artifacts
    assert None is log.artifact_room
    log.refuse_artifact(70, step=None, at=1.0)
    assert [added, records.Dropped(why="artifact_limit", count=1, bytes=70)] == told(log)


def test_ids_of_artifacts_are_unique_and_safe_in_a_path() -> None:
    log = Log(SMALL)
    ids = {log.next_artifact_id() for _ in range(3)}
    log.append(output(a="x" * 101), step=0, at=1.0)
    ids |= {artifact.id for artifact in log.artifacts}
    assert 4 == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", one) for one in ids)


# -- values that stay -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [24, 25, 99, 100])
def test_a_value_up_to_the_inline_limit_stays(size: int) -> None:
    log = Log(SMALL)
    body = output(a="x" * size, b={"k": "x" * (size - 9)}, c=None, d=2.5)
    log.append(body, step=0, at=1.0)
    batch = log.take()
    assert body == batch.records[0].body
    assert () == batch.blobs


def test_a_value_just_above_the_inline_limit_is_spilled() -> None:
    log = Log(SMALL)
    log.append(output(a="x" * 101, b={"k": "x" * 93}), step=0, at=1.0)
    assert [101, 101] == [len(blob.data) for blob in log.take().blobs]


def test_blobs_are_handed_over_once() -> None:
    log = Log(SMALL)
    log.append(output(a="x" * 101), step=0, at=1.0)
    assert 1 == len(log.take().blobs)
    assert () == log.take().blobs


def test_a_traceback_obeys_the_limit_of_a_line() -> None:
    long, wide = "x" * (CAP + 1), "\u20ac" * CAP
    error = records.ErrorRaised(ename="x" * CAP, evalue=long, traceback=("\u20ac" * 10, wide))
    log = Log(SMALL)
    log.append(error, step=0, at=1.0)
    body, loss = told(log)
    assert isinstance(body, records.ErrorRaised)
    assert ("x" * CAP, "\u20ac" * 10) == (body.ename, body.traceback[0])
    kept, kept_wide = CAP - len(NOTICE), (CAP - len(NOTICE)) // 3
    assert "x" * kept + NOTICE == body.evalue
    assert "\u20ac" * kept_wide + NOTICE == body.traceback[1]
    lost = CAP + 1 - kept + 3 * (CAP - kept_wide)
    assert records.Dropped(why="line_too_long", bytes=lost) == loss
    assert lost == log.dropped


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def added_of(batches: Iterable[Batch]) -> list[Artifact]:
    bodies = (record.body for batch in batches for record in batch.records)
    return [body.artifact for body in bodies if isinstance(body, records.ArtifactAdded)]


def lost_of(batch: Batch) -> list[tuple[int | None, int | None]]:
    bodies = (record.body for record in batch.records)
    return [
        (body.count, body.bytes)
        for body in bodies
        if isinstance(body, records.Dropped) and body.why == "artifact_limit"
    ]


def bytes_of(batches: Iterable[Batch], artifact: str) -> bytes:
    """As the store puts the parts together."""
    data = b""
    for blob in (blob for batch in batches for blob in batch.blobs if blob.artifact == artifact):
        assert len(data) == blob.offset
        data += blob.data
    return data


def cut(text: str, pieces: int) -> list[str]:
    size = -(-len(text) // pieces)
    return [text[start : start + size] for start in range(0, len(text), size)]
