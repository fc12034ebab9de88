"""`notebook/parameters/inspection.py`: which parameters a notebook has."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from kernel_gateway.notebook.parameters.inspection import Inspection, Parameter, inspected


def notebook(source: str | None, *, kind: str = "code") -> dict[str, Any]:
    tags = {"tags": ["parameters"]}
    other = {"cell_type": "code", "metadata": {}, "source": "other = 1"}
    cells = [] if source is None else [{"cell_type": kind, "metadata": tags, "source": source}]
    return {"cells": [other, *cells]}


def found(source: str) -> list[tuple[str, str | None, str | None, str]]:
    result = inspected(notebook(source), kernel="python3", language="python")
    assert result.inspectable
    return [(one.name, one.type, one.default, one.help) for one in result.parameters]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = 1", ("a", "int", "1", "")),
        ("a: float = 1  # How fast.", ("a", "float", "1", "How fast.")),
        ("a: 'list[str]' = f()", ("a", "list[str]", "f()", "")),
        ("a: dict[str, int]", ("a", "dict[str, int]", None, "")),
        ("a = None  # type: str Whose.", ("a", "str", "None", "Whose.")),
        ("a = None  #type:str", ("a", "str", "None", "")),
        ("a = None", ("a", None, "None", "")),
        ("a = -0.5", ("a", "float", "-0.5", "")),
        ("a = x + 1 # why", ("a", None, "x + 1", "why")),
        ("a = '#'  # é", ("a", "str", "'#'", "é")),
        ("a = [\n  1,  # one\n  2,\n]  # both", ("a", "list", "[1, 2]", "both")),
        ("a = 1\na = 'x'", ("a", "str", "'x'", "")),
        ("if True:\n    a = 1  # deep", ("a", "int", "1", "deep")),
        ("try:\n    pass\nexcept E:\n    a = 1", ("a", "int", "1", "")),
        ("%matplotlib inline\n!ls\na = 1", ("a", "int", "1", "")),
        ("(a) = {1: 2}", ("a", "dict", "{1: 2}", "")),
        ("a = {[]: 1}", ("a", None, "{[]: 1}", "")),
        ("é = 'ß' + x  # ü\r\n", ("é", None, "'ß' + x", "ü")),
        (r"a = '\d'", ("a", "str", r"'\d'", "")),
    ],
)
def test_a_parameter_has_name_type_default_and_help(
    source: str, expected: tuple[str, str | None, str | None, str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [expected] == found(source)


def test_several_names_are_several_parameters() -> None:
    assert [("a", "1"), ("b", "2"), ("c", "x"), ("d", "x")] == [
        (name, default) for name, _, default, _ in found("a, (b) = 1, 2\nc = d = x")
    ]
    assert [("a", None), ("b", None), ("c", None), ("d", None)] == [
        (name, default) for name, _, default, _ in found("a, *b = x\n[c, d] = *y, 1")
    ]


@pytest.mark.parametrize(
    "source", ["", "import a", "def f():\n    a = 1", "a.b = 1", "a[0] = 1", "a += 1", "# a = 1"]
)
def test_what_assigns_to_no_name_of_the_notebook_is_no_parameter(source: str) -> None:
    assert [] == found(source)


DEEP = "if a:\n  b = 1\n" + "elif a:\n  b = 1\n" * 5000  # each is inside the one before


@pytest.mark.parametrize(
    "source", ["a = ", "a = (", "a = 1\0", "%%bash\na=1 2", "a=" + "(" * 999, DEEP]
)
def test_what_is_no_python_is_not_inspectable(source: str) -> None:
    result = inspected(notebook(source), kernel="", language="python")
    assert Inspection(inspectable=False, tagged=True) == result


def test_a_cell_that_is_too_long_to_be_one_of_parameters_is_not_read() -> None:
    result = inspected(notebook("a = 1\n" * 2**16), kernel="", language="python")
    assert not result.inspectable


def test_of_other_languages_nothing_is_known_and_that_is_said() -> None:
    result = inspected(notebook("a <- 1"), kernel="ir", language="R")
    assert Inspection(inspectable=False, tagged=True) == result


@pytest.mark.parametrize("made", [notebook(None), notebook("a = 1", kind="markdown")])
def test_a_notebook_without_such_a_cell_has_none(made: dict[str, Any]) -> None:
    assert Inspection(inspectable=True, tagged=False) == inspected(made, kernel="", language="")


def test_it_is_told_as_json() -> None:
    one = Parameter(name="a", type=None, default="f()", help="x")
    told = Inspection(parameters=(one,), inspectable=True, tagged=True).json
    expected = [{"name": "a", "type": None, "default": "f()", "help": "x"}]
    assert {"parameters": expected, "inspectable": True} == told
