"""The table of faults says of us what tests/e2e/faults shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.faults.notebooks import FAULTS, KILLED, Fault
from tests.e2e.languages.test_languages import LANGUAGES, Language

PAGE = (Path(__file__).parents[2] / "docs/reference/faults.md").read_text()


@pytest.mark.parametrize("fault", [*FAULTS, KILLED], ids=lambda fault: fault.title)
def test_our_column_is_what_happens(fault: Fault) -> None:
    assert f"\n| {fault.title} | {fault.told()} | " in PAGE


def test_every_row_of_faults_is_tested() -> None:
    titles = re.findall(r"^\| (.+?) \| exit ", PAGE, re.MULTILINE)
    assert [fault.title for fault in (*FAULTS, KILLED)] == titles


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.spec)
def test_every_language_that_is_tested_has_its_row(language: Language) -> None:
    assert re.search(rf"^\| [^|]*\(`{language.spec}`\) \| ", PAGE, re.MULTILINE)
