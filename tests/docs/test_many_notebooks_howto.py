"""The how-to on many notebooks is true, and so is the page of `run`: it has every option."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from pathlib import Path

import pytest

from kernel_gateway.commands.base import ALIASES, FLAGS
from kernel_gateway.commands.orders import Place, places
from kernel_gateway.commands.run import RunApp
from kernel_gateway.commands.summary import table
from kernel_gateway.notebook.batch import Cause
from kernel_gateway.notebook.exits import exit_code
from kernel_gateway.runs.records import Reason
from kernel_gateway.runs.view import Outcome
from tests.unit.commands.done import done, result

DOCS = Path(__file__).parents[2] / "docs"
HOWTO = (DOCS / "how-to/many-notebooks.md").read_text()
REFERENCE = (DOCS / "reference/run.md").read_text()

#: That have exit codes of their own.
REASONS = ("invalid_field", "kernel_not_found", "kernel_start_failed", "no_input")

COMMANDS = re.findall(r"^kernel-gateway run (.*)$", HOWTO, re.MULTILINE)


def asked(command: str) -> list[Place]:
    """As the command line has it; the options in here are those of names alone."""
    words = shlex.split(command)
    matrix = [words[at + 1] for at, word in enumerate(words) if word == "--matrix"]
    folder = next((word.partition("=")[2] for word in words if "--output-dir=" in word), None)
    names = [word for word in words if word.endswith(".ipynb")]
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return places(names, folder, matrix, {}, new_id=lambda: "id", now=now)


def test_its_commands_are_understood_and_its_outputs_named_as_it_says() -> None:
    several, matrix, braces = [[place.output for place in asked(one)] for one in COMMANDS]
    assert "out/daily.out.ipynb" == several[0]
    assert "report.region=eu.year=2024.out.ipynb" == matrix[0]
    assert 4 == len(matrix)
    assert ["out/eu-2024.ipynb", "out/us-2024.ipynb"] == braces


def test_its_table_is_printed_so() -> None:
    week = Reason(code="exception", message="KeyError: 'week'")
    weekly = result(Outcome.ERROR, week, *["ok"] * 3, "error", *["not-run"] * 5)
    daily = result(Outcome.OK, Reason(code="done"), *["ok"] * 12)
    shown = table(
        [
            done("out/daily.out.ipynb", daily, duration_s=8.1),
            done("out/weekly.out.ipynb", weekly, duration_s=4.4),
        ]
    )
    assert "".join(f"    {line}\n" for line in shown) in HOWTO


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_of_another_attempt_is_named(cause: Cause) -> None:
    assert f"`{cause.value}`" in HOWTO


def options() -> list[str]:
    given = {**RunApp.aliases, **RunApp.flags}
    names = [name for name in given if name not in {**ALIASES, **FLAGS}]
    long = [f"--{name[-1] if isinstance(name, tuple) else name}" for name in names]
    return sorted([*long, *(option.spellings[0] for option in RunApp.ordered)])


@pytest.mark.parametrize("option", options())
def test_every_option_of_run_is_in_a_table_of_its_page(option: str) -> None:
    assert re.search(rf"^\| [^|]*`{option}`[^|]* \| ", REFERENCE, re.MULTILINE)


def test_every_exit_code_is_on_its_page() -> None:
    codes = [exit_code(outcome, "") for outcome in Outcome]
    codes += [exit_code(Outcome.LOST, reason) for reason in REASONS]
    for code in codes:
        assert re.search(rf"^\| {code}[,| ]", REFERENCE, re.MULTILINE)
