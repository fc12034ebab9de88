"""`notebook/answers.py`: answers that are known beforehand."""

from __future__ import annotations

import asyncio

import pytest

from kernel_gateway.notebook.answers import Listed, lines_of


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"one\r\n\ntwo", ["one", "", "two"]),
        (b"one\ntwo\n", ["one", "two"]),
        (b"\xff\n", ["\ufffd"]),
        ("\u2028Ж\x0c\n".encode(), ["\u2028Ж\x0c"]),
    ],
)
def test_each_line_is_an_answer(data: bytes, expected: list[str]) -> None:
    assert expected == lines_of(data)


def test_there_are_as_many_answers_as_lines() -> None:
    answers = Listed(["one", ""])

    async def asked() -> list[str | None]:
        return [await answers.answer("?", hidden=False) for _ in range(3)]

    assert ["one", "", None] == asyncio.run(asked())
