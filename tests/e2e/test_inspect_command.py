"""`kernel-gateway inspect` as a process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.e2e.commands import run

if TYPE_CHECKING:
    from pathlib import Path

CELL: dict[str, Any] = {
    "cell_type": "code",
    "id": "c",
    "metadata": {"tags": ["parameters"]},
    "source": "a = 1  # One.",
    "outputs": [],
    "execution_count": None,
}
NOTEBOOK = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [CELL]}


def test_a_notebook_is_inspected_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    text = json.dumps(NOTEBOOK)
    (tmp_path / "a.ipynb").write_text(text)
    done = run(tmp_path, "inspect", "a.ipynb")
    expected = "NAME  TYPE  DEFAULT  HELP\na     int   1        One.\n"
    assert (0, expected, "") == (done.returncode, done.stdout, done.stderr)
    done = run(tmp_path, "inspect", "-", "--json", text=text)
    parameters = [{"name": "a", "type": "int", "default": "1", "help": "One."}]
    assert {"parameters": parameters, "inspectable": True} == json.loads(done.stdout)
    done = run(tmp_path, "inspect", "-", text="{}")
    assert (2, "") == (done.returncode, done.stdout)
    assert "- cannot be inspected. It is JSON but no notebook" in done.stderr
