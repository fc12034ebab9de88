"""`notebook/parameters/paths.py`: parameters in the names of files."""

from __future__ import annotations

import datetime as dt

import pytest

from kernel_gateway.errors import InvalidField
from kernel_gateway.notebook.parameters.paths import filled

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.timezone(dt.timedelta(hours=2)))


def path(text: str) -> str:
    return filled(text, {"region": "eu", "n": [7], "big": 2**40}, run_uuid="u-1", now=NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out.ipynb", "out.ipynb"),
        ("{region}/{n[0]:03}.ipynb", "eu/007.ipynb"),
        ("{run_uuid}-{pm[run_uuid]}", "u-1-u-1"),
        ("{current_datetime_utc:%Y-%m-%dT%H}", "2026-03-04T03"),
        ("{current_datetime_utc}", "2026-03-04 03:06:07+00:00"),
        ("{{region}}", "{region}"),
    ],
)
def test_names_in_braces_are_filled_in(text: str, expected: str) -> None:
    assert expected == path(text)


def test_the_local_time_is_the_same_instant() -> None:
    assert NOW == dt.datetime.fromisoformat(path("{current_datetime_local}"))


@pytest.mark.parametrize(
    "text", ["{other}", "{region", "{0}", "{n[9]}", "{n.append}", "{n:d}", "{big:c}"]
)
def test_what_cannot_be_filled_in_is_told(text: str) -> None:
    with pytest.raises(InvalidField, match="cannot be filled in"):
        path(text)
