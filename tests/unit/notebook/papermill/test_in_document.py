"""`notebook/document.py`, as far as users of papermill see it."""

from __future__ import annotations

import json
from typing import Any

import nbformat

from kernel_gateway.notebook.document import Document, read
from kernel_gateway.notebook.papermill.metadata import About
from kernel_gateway.runs.view import Outcome, StepOutcome, StepView

ABOUT = About(version="1", parameters={"x": 1})
STEPS = (
    StepView(index=0, name="a", state=StepOutcome.ERROR, execution_count=1),
    StepView(index=1, name="b", state=StepOutcome.NOT_RUN),
)


def document() -> Document:
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": name, "metadata": {}, "source": name, "outputs": []}
        | {"execution_count": None}
        for name in ("a", "b")
    ]
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    return Document(read(json.dumps(whole).encode()))


def written(document: Document) -> Any:
    notebook = json.loads(document.encode())
    nbformat.validate(notebook)
    return notebook


def ids(notebook: Any) -> list[str]:
    return [cell["id"] for cell in notebook["cells"]]


def test_the_banner_comes_with_the_end() -> None:
    running = document()
    running.set_papermill(ABOUT, STEPS, None, None)
    assert ["a", "b"] == ids(written(running))
    running.set_papermill(ABOUT, STEPS, None, Outcome.ERROR)
    expected = ["papermill-error-cell-banner", "papermill-error-cell-above", "a", "b"]
    assert expected == ids(written(running))


def test_an_output_that_becomes_an_input_has_neither_banner_nor_metadata_of_its_run() -> None:
    failed = document()
    failed.set_papermill(ABOUT, STEPS, None, Outcome.ERROR)
    again = read(failed.encode()).notebook
    assert ["a", "b"] == ids(again)
    assert {} == again["metadata"]
    assert [{}, {}] == [cell["metadata"] for cell in again["cells"]]


def test_what_json_cannot_say_is_mended_below_a_banner_too() -> None:
    odd = document()
    output: dict[str, Any] = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"text/plain": "\ud800"},
    }
    odd.set_cell(0, outputs=[output], execution_count=1, metadata={})
    odd.set_papermill(ABOUT, STEPS, None, Outcome.ERROR)
    assert "papermill-error-cell-banner" == ids(written(odd))[0]
