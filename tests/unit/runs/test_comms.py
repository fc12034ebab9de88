"""`runs/comms.py`, and what the log does with comms: which grow together, what is put aside."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.messaging import facts
from kernel_gateway.messaging.strict_json import encode
from kernel_gateway.runs import records
from kernel_gateway.runs.comms import comm_of
from kernel_gateway.runs.log import Log, LogLimits
from kernel_gateway.runs.outputs import Outputs
from kernel_gateway.runs.records import ArtifactKind

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Body, Comm, Record

END = records.Completed(outcome="ok", reason=records.Reason(code="done"), exit_code=0)
SMALL = LogLimits(inline_bytes=100, preview_chars=10)


def update(comm_id: str = "c", /, **state: Json) -> Comm:
    return records.Comm(
        what="msg",
        comm_id=comm_id,
        data={"method": "update", "state": state, "buffer_paths": []},
    )


def pictured(*path: str, data: str, **state: Json) -> Comm:
    """With one buffer."""
    content: dict[str, Json] = {"method": "update", "state": state, "buffer_paths": [list(path)]}
    return records.Comm(what="msg", comm_id="c", data=content, buffers=(data,))


def opened(comm_id: str = "c", /, **state: Json) -> Comm:
    data: dict[str, Json] = {"state": {"_model_name": "M", **state}, "buffer_paths": []}
    return records.Comm(what="open", comm_id=comm_id, target_name="jupyter.widget", data=data)


def closed(comm_id: str = "c") -> Comm:
    return records.Comm(what="close", comm_id=comm_id, data={})


def custom(**content: Json) -> Comm:
    data: dict[str, Json] = {"method": "custom", "content": content}
    return records.Comm(what="msg", comm_id="c", data=data)


def kept(*bodies: Body, limits: LogLimits = SMALL, step: int | None = 0) -> list[Record]:
    log = Log(limits)
    for body in bodies:
        log.append(body, step=step, at=1.0)
    return list(log.take().records)


def told(*bodies: Body, limits: LogLimits = SMALL) -> list[Body]:
    return [record.body for record in kept(*bodies, limits=limits)]


# -- what grows together ---------------------------------------------------------------------------


def test_neighbouring_updates_of_a_widget_are_one_record() -> None:
    (record,) = kept(update(value=1, max=9), update(value=2), update(value=3, min=0))
    assert update(value=3, max=9, min=0) == record.body
    assert (1, 0) == (record.seq, record.step)


def test_one_update_alone_is_told_as_it_came() -> None:
    odd = replace(update(a=1), data={"method": "update", "state": {"a": 1}})
    assert [odd] == told(odd)


def test_widgets_that_are_updated_in_turn_have_one_record_each() -> None:
    bodies = [update(name, value=number) for number in range(5) for name in "abc"]
    numbered = kept(*bodies)
    assert [update(name, value=4) for name in "abc"] == [record.body for record in numbered]
    assert [1, 2, 3] == [record.seq for record in numbered]


def test_ten_thousand_updates_are_as_many_records_as_widgets_however_big_they_get() -> None:
    log = Log(LogLimits(log_bytes=2000))
    for number in range(10_000):
        log.append(update(f"w{number % 3}", value="x" * 90, n=number), step=0, at=1.0)
    assert 1 == log.pending
    batch = log.take()
    assert ["w0", "w1", "w2"] == [getattr(record.body, "comm_id", "") for record in batch.records]
    assert 3 * (100 + len("w0") + len("value") + 92 + len("n") + 4) == batch.bytes
    assert 0 == batch.dropped


def test_merged_buffers_are_those_that_came_last() -> None:
    merged = told(
        pictured("picture", data="b25l", width=1),
        update(height=2),
        pictured("other", data="eA=="),
        pictured("picture", data="dHdv"),
    )
    (body,) = merged
    assert isinstance(body, records.Comm)
    assert {"width": 1, "height": 2} == body.data["state"]
    assert [["other"], ["picture"]] == body.data["buffer_paths"]
    assert ("eA==", "dHdv") == body.buffers


@pytest.mark.parametrize(
    "between",
    [
        opened("other"),
        closed("other"),
        custom(event="click"),
        records.LogText(stream="stdout", text="x"),
        records.Cleared(wait=False),
        update("out", msg_id="m1"),
        update("out", outputs=[]),
        replace(update("other"), data={"method": "update", "state": {}}),
        replace(update("other", a=1), data={"method": "echo_update", "state": {"a": 1}}),
        replace(update("other", a=1), data={"method": "update", "state": {"a": 1}, "more": 1}),
        replace(pictured("a", data="AA=="), data={"method": "update", "state": {"b": 1}}),
        update("other", a="x" * 101),
    ],
    ids=repr,
)
def test_what_is_no_mere_update_keeps_its_place(between: Body) -> None:
    found = told(update(value=1), between, update(value=2))
    assert (update(value=1), update(value=2)) == (found[0], found[-1])
    assert len(found) >= 3


def test_updates_of_two_steps_and_late_ones_are_told_apart() -> None:
    log = Log(SMALL)
    late = replace(update(value=3), late=True)
    for step, body in ((0, update(value=1)), (1, update(value=2)), (1, late)):
        log.append(body, step=step, at=1.0)
    found = [(record.step, record.body) for record in log.take().records]
    assert [(0, update(value=1)), (1, update(value=2)), (1, late)] == found


def test_what_was_told_does_not_change_any_more() -> None:
    log = Log(SMALL)
    log.append(update(value=1), step=0, at=1.0)
    (first,) = log.take().records
    log.append(update(value=2), step=0, at=2.0)
    (second,) = log.take().records
    assert (update(value=1), update(value=2)) == (first.body, second.body)
    assert (1, 2) == (first.seq, second.seq)


SHOWN: list[Json] = [{"output_type": "error", "ename": name} for name in "xy"]
STEPS = st.lists(
    st.sampled_from("abxyz-").flatmap(
        lambda name: st.builds(
            lambda value: {
                "a": update("a", value=value),
                "b": update("b", other=value),
                "x": replace(pictured("value", data="AAE="), comm_id="a"),
                "y": update("b", value=value, msg_id=f"m{value}"),
                "z": update("b", outputs=SHOWN[:value], other=value),
                "-": records.LogText(stream="stdout", text=f"{value}\n"),
            }[name],
            st.integers(0, 2),
        )
    ),
    max_size=12,
)


@given(bodies=STEPS, takes=st.lists(st.booleans(), min_size=17, max_size=17))
def test_a_log_that_merged_comes_to_the_same_as_one_that_did_not(
    bodies: list[Body], takes: list[bool]
) -> None:
    """Some widgets take the outputs of steps, which is where the order matters."""

    def page(taken: list[bool]) -> Any:
        log, fold = Log(LogLimits()), Outputs()
        found: list[Record] = []
        begin = [records.StepChanged(state="running", msg_id=f"m{step}") for step in range(3)]
        out: dict[str, Json] = {"_model_module": "@jupyter-widgets/output", "outputs": []}
        first = [opened("a"), opened("b", **{**out, "_model_name": "OutputModel"})]
        for step, body in [*enumerate(begin), *((1, body) for body in [*first, *bodies])]:
            log.append(body, step=step, at=1.0)
            if taken and taken.pop():
                found += log.take().records
        for record in [*found, *log.take().records]:
            fold.apply(record)
        return fold.outputs(1), fold.widgets()

    assert page([True] * 17) == page(list(takes))


# -- limits ----------------------------------------------------------------------------------------


def test_comms_count_for_the_limit_of_the_log_and_a_loss_is_told() -> None:
    log = Log(LogLimits(log_bytes=250))
    log.append(custom(text="x" * 100), step=0, at=1.0)
    counted = log.bytes
    assert 100 + len("c") + len(encode(custom(text="x" * 100).data)) == counted
    log.append(custom(text="y" * 100), step=0, at=1.0)
    log.append(update(value="z"), step=0, at=1.0)
    log.append(records.LogText(stream="stdout", text="a"), step=0, at=1.0)
    log.append(END, step=None, at=1.0)
    batch = log.take()
    lost = counted + 100 + len("c") + len("value") + 3 + 1
    assert [
        custom(text="x" * 100),
        records.Dropped(why="log_limit", bytes=counted),
        records.Dropped(why="log_limit", bytes=lost),
        END,
    ] == [record.body for record in batch.records]
    assert (counted, lost) == (batch.bytes, batch.dropped)


def test_all_that_a_kernel_chooses_of_a_comm_counts() -> None:
    longest = "x" * 1000
    for body in (
        replace(closed(), comm_id=longest),
        replace(opened(), target_name=longest),
        update(longest, value=1),
        pictured("image", longest, data="AAE="),
    ):
        log = Log(LogLimits())
        log.append(body, step=0, at=1.0)
        assert len(longest) + 100 < log.bytes < len(longest) + 200


def test_the_places_of_buffers_are_never_put_aside() -> None:
    body = pictured("image", "x" * 200, data="AAE=")
    assert [body] == told(body)


def test_what_is_too_big_of_a_widget_travels_by_reference() -> None:
    log = Log(SMALL)
    big, buffer = "€" * 40, "A" * 104
    body = records.Comm(
        what="open",
        comm_id="c",
        target_name="jupyter.widget",
        data={
            "state": {"a/b": big, "list": [big], "small": 1},
            "buffer_paths": [["x"], ["y"]],
            "extra": big,
        },
        buffers=("AAE=", buffer),
        late=True,
    )
    log.append(body, step=0, at=1.0)
    batch = log.take()
    *added, stored = (record.body for record in batch.records)
    assert isinstance(stored, records.Comm)
    assert {"state": {"small": 1}, "buffer_paths": [["x"], ["y"]]} == stored.data
    assert ("AAE=", "") == stored.buffers
    contents = {blob.artifact: blob.data for blob in batch.blobs}
    assert {
        "/data/state/a~1b": encode(big),
        "/data/state/list": encode([big]),
        "/data/extra": encode(big),
        "/buffers/1": buffer.encode(),
    } == {place: contents[item.artifact or ""] for place, item in (stored.spilled or {}).items()}
    artifacts = [body.artifact for body in added if isinstance(body, records.ArtifactAdded)]
    assert 4 == len(artifacts)
    assert {
        ("comm value", "application/json", ArtifactKind.OVERSIZED),
        ("comm buffer", "text/plain", ArtifactKind.OVERSIZED),
    } == {(one.name, one.mime, one.kind) for one in artifacts}
    assert [True] * 5 == [getattr(body, "late", None) for body in (*added, stored)]


def test_what_there_is_no_room_for_is_lost_and_told() -> None:
    first, second = told(update(value="x" * 101), limits=replace(SMALL, artifact_count=0))
    assert isinstance(first, records.Comm)
    assert [None] == [item.artifact for item in (first.spilled or {}).values()]
    assert records.Dropped(why="artifact_limit", count=1, bytes=103) == second


def test_a_record_has_the_buffers_of_a_message_in_base64() -> None:
    fact = facts.Comm("open", "c", {"state": {}}, target_name="t", buffers=(b"\0\1", b""))
    assert records.Comm(
        what="open",
        comm_id="c",
        target_name="t",
        data={"state": {}},
        buffers=("AAE=", ""),
        late=True,
    ) == comm_of(fact, late=True)
    assert closed() == comm_of(facts.Comm("close", "c", {}), late=False)
