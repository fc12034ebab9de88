"""The how-to for papermill's users is true: its program does what it says, its tables are whole."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel_gateway.execute import execute_notebook, wishes
from kernel_gateway.notebook.papermill.metadata import About, of_run, of_text
from kernel_gateway.notebook.places import TEXT_SUFFIXES

if TYPE_CHECKING:
    import pytest

HOWTO = (Path(__file__).parents[2] / "docs/how-to/papermill.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)


def written(name: str, *sources: str) -> None:
    rest: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    cells = [{**rest, "id": f"c{at}", "source": source} for at, source in enumerate(sources)]
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    Path(name).write_text(json.dumps(whole))


def test_its_program_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERNEL_GATEWAY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("tqdm.auto.tqdm.monitor_interval", 0)  # a thread that outlives the bar
    written("report.ipynb", "region")
    written("broken.ipynb", "1", "1 / 0")
    (program,) = blocks("python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(program, "papermill.md", "exec"), {})
    assert blocks("text") == [printed.getvalue()]
    assert Path("out-north.ipynb").exists()


def test_every_argument_and_every_option_has_its_row() -> None:
    rows = " ".join(re.findall(r"^\| (`.*?) \|", HOWTO, re.MULTILINE))
    names = [
        name for name in inspect.signature(execute_notebook).parameters if "kwargs" not in name
    ]
    assert [] == [name for name in (*names, *wishes.KNOWN) if f"`{name}`" not in rows]


def test_every_field_of_the_metadata_is_named() -> None:
    fields = {*of_run(About(version="1"), None, None), *of_text(True)}
    assert set() == {name for name in fields if f"`{name}`" not in HOWTO}


def test_every_suffix_of_a_text_is_named() -> None:
    assert f"({', '.join(f'`{suffix}`' for suffix in TEXT_SUFFIXES)})" in HOWTO
