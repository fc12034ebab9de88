"""`execute/report.py`: a notebook for readers."""

from __future__ import annotations

from typing import Any

from kernel_gateway.execute.report import without_code
from kernel_gateway.notebook.choice import Wish
from kernel_gateway.notebook.document import Source
from kernel_gateway.notebook.parameters.injection import parameterized


def cell(name: str, kind: str = "code", **metadata: Any) -> dict[str, Any]:
    return {"cell_type": kind, "id": name, "metadata": metadata, "source": name}


def hidden(notebook: Any) -> list[bool]:
    return [cell["metadata"].get("jupyter", {}).get("source_hidden") for cell in notebook["cells"]]


def bare(notebook: Any, values: Any) -> Any:
    source = Source(notebook=notebook, wish=Wish(), digest="", version="4.5")
    return without_code(source, values).notebook


def given(notebook: Any, values: Any) -> Any:
    return parameterized(bare(notebook, values), values, kernel="python3", language="python")


def test_all_code_is_hidden_and_what_else_was_said_of_its_looks_stays() -> None:
    notebook = {"cells": [cell("a", jupyter={"outputs_hidden": True}), cell("t", "markdown")]}
    found = bare(notebook, {})
    assert [True, None] == hidden(found)
    assert found["cells"][0]["metadata"]["jupyter"]["outputs_hidden"] is True
    assert {"outputs_hidden": True} == notebook["cells"][0]["metadata"]["jupyter"]


def test_parameters_that_are_put_in_at_the_top_are_hidden() -> None:
    assert [True, True] == hidden(given({"cells": [cell("a")]}, {"x": 1}))


def test_an_id_that_is_taken_is_not_given_again() -> None:
    found = bare({"cells": [cell("injected-parameters")]}, {"x": 1})
    assert ["injected-parameters-2", "injected-parameters"] == [one["id"] for one in found["cells"]]


def test_parameters_that_replace_others_are_hidden() -> None:
    notebook = {"cells": [cell("old", tags=["injected-parameters"]), cell("a")]}
    found = given(notebook, {"x": 1})
    assert [True, True] == hidden(found)
    assert "x = 1" in found["cells"][0]["source"]


def test_parameters_below_the_tagged_cell_are_hidden() -> None:
    notebook = {"cells": [cell("x = 0", tags=["parameters"]), cell("a")]}
    assert [True, True, True] == hidden(given(notebook, {"x": 1}))
