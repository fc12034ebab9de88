"""`commands/table.py`: text for people."""

from __future__ import annotations

import pytest

from kernel_gateway.commands.table import age, aligned, harmless, size


def test_columns_are_as_wide_as_their_widest_text() -> None:
    assert ["ID   STATE", "abc  x"] == aligned([("ID", "STATE"), ("abc", "x")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ü", "plain ü"),
        ("a\nb", "a\\nb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_could_change_a_terminal_is_escaped(text: str, expected: str) -> None:
    assert expected == harmless(text)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (200_000, "2 d"),
    ],
)
def test_an_age_is_in_the_largest_unit_that_is_full(seconds: float, expected: str) -> None:
    assert expected == age(seconds)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3 * 2**20, "3.0 MiB"),
        (5 * 2**40, "5120.0 GiB"),
    ],
)
def test_sizes_are_as_people_read_them(count: int, expected: str) -> None:
    assert expected == size(count)
