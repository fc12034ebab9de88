"""Answers as frames: nothing lost, nothing too big."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.service import Answer, ConsoleItem, Cursor, Status
from kernel_gateway.web.backendai.frames import MAX_FRAME_BYTES, frames

LIMIT = 512 * 1024


def answer(*console: ConsoleItem, status: Status = Status.FINISHED) -> Answer:
    waits = status is Status.WAITING_INPUT
    return Answer(
        run_id="r",
        status=status,
        exit_code=3 if status is Status.FINISHED else None,
        console=console,
        is_password=True if waits else None,
        prompt_id=1 if waits else None,
        cursor=Cursor(),
    )


def told(given: Answer, limit_bytes: int = MAX_FRAME_BYTES) -> list[Any]:
    made = list(frames(given, 0.0, limit_bytes=limit_bytes))
    assert all(len(frame) <= limit_bytes for frame in made)
    return [json.loads(frame) for frame in made]


def test_a_frame_has_the_fields_of_the_contract_and_no_run_id() -> None:
    (frame,) = told(answer(ConsoleItem("stdout", "x")))
    assert {
        "status": "finished",
        "console": [["stdout", "x"]],
        "exitCode": 3,
        "options": None,
        "files": [],
    } == frame


def test_a_prompt_says_whether_it_is_for_a_password() -> None:
    (frame,) = told(answer(status=Status.WAITING_INPUT))
    assert {"is_password": True} == frame["options"]


def test_text_that_is_too_much_is_spread_and_the_end_told_last() -> None:
    text = "\x00" * 524_288  # six bytes each
    first, *others = told(answer(ConsoleItem("stdout", text), ConsoleItem("stderr", text)))
    assert "continued" == first["status"]
    assert first["exitCode"] is None
    assert ["finished"] == [frame["status"] for frame in others]


def test_media_too_big_for_a_frame_give_way_to_a_notice() -> None:
    small, big = ("image/png", "data:x"), ("image/png", "A" * MAX_FRAME_BYTES)
    (frame,) = told(
        answer(
            ConsoleItem("media", small), ConsoleItem("media", big), ConsoleItem("html", "B" * 2**22)
        )
    )
    kept, notice, other = frame["console"]
    assert ["media", list(small)] == kept
    assert "log" == notice[0]
    assert ["warning", "1970-01-01T00:00:00+00:00", "kernel-gateway"] == notice[1][:3]
    assert "image/png value of 41" in notice[1][3]
    assert other[1][3].startswith("A html value of ")


def test_media_that_fit_one_by_one_are_all_told() -> None:
    media = [ConsoleItem("media", ("image/png", str(n) * 3_000_000)) for n in range(3)]
    assert 3 == len(told(answer(*media)))


_TEXT = st.builds(
    lambda piece, times: piece * times,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    st.integers(1, 120_000),
)
_ITEMS = st.one_of(
    st.builds(ConsoleItem, st.sampled_from(["stdout", "stderr", "html"]), _TEXT),
    st.builds(lambda text: ConsoleItem("media", ("image/svg+xml", text)), _TEXT),
)


@given(st.lists(_ITEMS, max_size=6))
def test_all_of_the_text_is_told_in_its_order(console: list[ConsoleItem]) -> None:
    parts = told(answer(*console), LIMIT)
    items = [item for frame in parts for item in frame["console"]]
    for stream in ("stdout", "stderr"):
        expected = "".join(str(item.value) for item in console if item.type == stream)
        assert expected == "".join(value for kind, value in items if kind == stream)
    assert ["continued"] * (len(parts) - 1) + ["finished"] == [part["status"] for part in parts]
    rich = [item for item in console if item.type in {"html", "media"}]
    assert len(rich) == sum(kind in {"html", "media", "log"} for kind, _ in items)
