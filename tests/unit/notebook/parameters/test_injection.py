"""`notebook/parameters/injection.py`: where the values stand, and which names are known."""

from __future__ import annotations

import copy
import json
from typing import Any

import nbformat
import pytest

from kernel_gateway.errors import InvalidField
from kernel_gateway.notebook.document import read
from kernel_gateway.notebook.parameters.injection import parameterized


def cell(source: str, *tags: str, **metadata: Any) -> dict[str, Any]:
    tagged = {"tags": list(tags)} if tags else {}
    return {
        "cell_type": "code",
        "id": "id-" + "".join(filter(str.isalnum, source)),
        "metadata": {**metadata, **tagged},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def notebook(*cells: dict[str, Any]) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)}


def injected(made: dict[str, Any], *, language: str = "python", **values: Any) -> Any:
    allow_unknown = values.pop("allow_unknown", False)
    before = copy.deepcopy(made)
    result = parameterized(made, values, kernel="", language=language, allow_unknown=allow_unknown)
    assert before == made
    nbformat.validate(nbformat.from_dict(result))  # type: ignore[no-untyped-call]
    return result


def sources(result: Any) -> list[str]:
    return [one["source"] for one in result["cells"]]


NEW = "# Parameters\na = 2\n"
OLD = "# Parameters\na = 9\n"


def test_the_values_stand_behind_the_cell_that_is_tagged() -> None:
    result = injected(notebook(cell("x"), cell("a = 1", "parameters"), cell("b")), a=2)
    assert ["x", "a = 1", NEW, "b"] == sources(result)
    expected = cell(NEW, "injected-parameters") | {"id": "injected-parameters"}
    assert expected == result["cells"][2]


def test_without_such_a_cell_they_are_at_the_top() -> None:
    assert [NEW, "x"] == sources(injected(notebook(cell("x")), a=2))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([("a = 1", "parameters"), (OLD, "injected-parameters"), ("b",)], ["a = 1", NEW, "b"]),
        ([(OLD, "injected-parameters"), ("a = 1", "parameters"), ("b",)], ["a = 1", NEW, "b"]),
        ([("x",), (OLD, "injected-parameters"), ("b",)], ["x", NEW, "b"]),
        ([(OLD, "injected-parameters"), ("x",), (OLD, "injected-parameters")], [NEW, "x"]),
        ([("a = 1", "parameters", "injected-parameters")], ["a = 1", NEW]),
        ([("a = 1", "parameters"), ("a = 3", "parameters")], ["a = 1", NEW, "a = 3"]),
    ],
)
def test_those_of_an_earlier_run_are_replaced(
    cells: list[tuple[str, ...]], expected: list[str]
) -> None:
    made = notebook(*(cell(*one) | {"id": f"c{at}"} for at, one in enumerate(cells)))
    assert expected == sources(injected(made, a=2))


def test_without_values_nothing_is_changed() -> None:
    made = notebook(cell("a = 1", "parameters"), cell(OLD, "injected-parameters"))
    assert made is injected(made)


def test_it_is_shown_as_the_cell_above() -> None:
    shown = {"jupyter": {"source_hidden": True}, "slideshow": {"slide_type": "skip"}}
    above = cell(
        "a = 1", "parameters", "hide-input", "remove_cell", "skip-execution", own=1, **shown
    )
    metadata = injected(notebook(above), a=2)["cells"][1]["metadata"]
    assert {**shown, "tags": ["injected-parameters", "hide-input", "remove_cell"]} == metadata


def test_it_is_shown_as_that_of_an_earlier_run_where_no_cell_is_tagged() -> None:
    metadata = injected(notebook(cell(OLD, "injected-parameters", "hide-input")), a=2)
    assert ["injected-parameters", "hide-input"] == metadata["cells"][0]["metadata"]["tags"]


def test_its_id_is_the_same_each_time_and_nobody_elses() -> None:
    taken = cell("x") | {"id": "injected-parameters"}
    also = cell("y") | {"id": "injected-parameters-2"}
    ids = [one["id"] for one in injected(notebook(taken, also), a=2)["cells"]]
    assert ["injected-parameters-3", "injected-parameters", "injected-parameters-2"] == ids


def test_a_name_that_the_notebook_does_not_know_is_refused() -> None:
    made = notebook(cell("a = 1\nb: int", "parameters"))
    with pytest.raises(InvalidField) as fault:
        injected(made, a=2, alpha=1, c=2)
    sentence = "is no parameter of the notebook; it has a, b"
    assert {"parameters.alpha": sentence, "parameters.c": sentence} == fault.value.fields
    assert "alpha = 1" in sources(injected(made, alpha=1, allow_unknown=True))[1]


def test_no_more_names_are_told_than_anybody_reads() -> None:
    source = "\n".join(f"a{number} = 1" for number in range(21))
    with pytest.raises(InvalidField, match=r"a19, \.\.\.$"):
        injected(notebook(cell(source, "parameters")), x=1)
    with pytest.raises(InvalidField, match="it has none"):
        injected(notebook(cell("pass", "parameters")), x=1)


@pytest.mark.parametrize(
    ("made", "language"),
    [
        (notebook(cell("x")), "python"),
        (notebook(cell("a <- 1", "parameters")), "R"),
        (notebook(cell("a = (", "parameters")), "python"),
    ],
)
def test_where_the_names_are_not_known_each_is_taken(made: dict[str, Any], language: str) -> None:
    assert any("new" in source for source in sources(injected(made, language=language, new=1)))


def test_a_declaration_in_the_cell_above_counts() -> None:
    made = notebook(cell("let a = 1", "parameters"))
    assert "// Parameters\na = 2;\n" == sources(injected(made, language="typescript", a=2))[1]


def test_a_notebook_as_it_is_read_can_be_given_values() -> None:
    source = read(json.dumps(notebook(cell("a = 1", "parameters"))).encode())
    result = parameterized(source.notebook, {"a": 2}, kernel="python3", language="")
    assert ["a = 1", NEW] == sources(result)
    assert ["a = 1"] == sources(source.notebook)
