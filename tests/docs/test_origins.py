"""Each row of the page that says where the gateway comes from is shown by tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/origins.md").read_text()
TESTS = ROOT / "tests/e2e"

#: By the heading of a table, how many rows it has: a row that is lost is a promise that is lost.
ROWS = {
    "Channels, identities, constants": 9,
    "Control requests": 9,
    "Control responses": 10,
    "Slots": 5,
    "What a run sends": 10,
    "Behaviours around it": 17,
    "An experiment: ID, status, logs": 11,
    "Faults that are designed out": 10,
}


def rows() -> list[tuple[str, str, str]]:
    """Heading, first cell and last cell of each."""
    found = []
    for part in PAGE.split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        table = [line for line in text.splitlines() if line.startswith("|")][2:]
        for line in table:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 3, line
            found.append((heading, cells[0], cells[2]))
    return found


@cache
def names(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_no_row_is_missing() -> None:
    headings = [heading for heading, _, _ in rows()]
    assert {heading: headings.count(heading) for heading in ROWS} == ROWS


@pytest.mark.parametrize(("row", "tests"), [row[1:] for row in rows()], ids=lambda text: text[:40])
def test_each_row_is_shown_by_tests_that_are_there(row: str, tests: str) -> None:
    shown = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
    assert shown, f"nothing shows {row!r}"
    assert [] == [name for file, name in shown if name not in names(file)]
