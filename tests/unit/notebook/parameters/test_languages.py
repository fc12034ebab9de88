"""`notebook/parameters`: a value is what it was in every language, or it is refused."""

from __future__ import annotations

import ast
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel_gateway.errors import InvalidField
from kernel_gateway.notebook.parameters.languages import assignments, dialect_of, is_python

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel_gateway.messaging.strict_json import Json

PAPERMILL = json.loads((Path(__file__).parent / "papermill.json").read_text())

#: One name of each language.
LANGUAGES = [
    *("python", "R", "scala", "julia", "matlab", "octave", "bash", "powershell", "c#", "f#"),
    *("javascript", "typescript", "kotlin", "lua", "sql"),
]

#: What could end a literal, begin a substitution, or be read as an escape.
DANGEROUS = "'\"`$\\{}#%!@\n\r\t\0\x07;()[]“”„é\u2028\u202e😀\U000e0001 a1"
texts = st.text(st.sampled_from(DANGEROUS)) | st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def written(language: str, value: Json, before: str = "") -> str:
    """Without the comment above it."""
    source = assignments({"x": value}, kernel="", language=language, before=before)
    return source.split("\n", 1)[1]


def refusal(language: str, **given: Json) -> dict[str, str]:
    with pytest.raises(InvalidField) as fault:
        assignments(given, kernel="", language=language)
    return fault.value.fields


# -- the oracle ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "language", "value", "source"), PAPERMILL["cases"])
def test_plain_values_are_written_as_papermill_writes_them(
    kernel: str, language: str, value: Any, source: str
) -> None:
    assert source == assignments({"value": value}, kernel=kernel, language=language)


# -- Python ----------------------------------------------------------------------------------------


def same(left: Any, right: Any) -> bool:
    """Also of type, and with NaN equal to itself."""
    return repr(left) == repr(right)


@given(values)
def test_python_gets_back_what_was_given(value: Json) -> None:
    names: dict[str, Any] = {}
    exec(assignments({"x": value}, kernel="python3", language="python"), names)
    assert same(value, names["x"])


# -- text in all languages -------------------------------------------------------------------------


def tokens(pattern: str, inside: str, of: Callable[[re.Match[str]], str]) -> str:
    """What is read, token by token; a character that is no token is not allowed there."""
    assert re.fullmatch(f"(?:{pattern})*", inside, re.DOTALL), inside
    return "".join(of(match) for match in re.finditer(pattern, inside, re.DOTALL))


def read_json(inside: str) -> str:
    return str(json.loads(f'"{inside}"'))


def read_kotlin(inside: str) -> str:
    plain = tokens(r"\\\$|\\[^$]|[^\\$\"]", inside, lambda one: one[0].replace("\\$", "$"))
    return read_json(plain)


def read_python(inside: str) -> str:
    return str(ast.literal_eval(f'"{inside}"'))


def read_julia(inside: str) -> str:
    plain = tokens(r"\\\$|\\[^$]|[^\\$\"]", inside, lambda one: one[0].replace("\\$", "$"))
    return read_python(plain)


def read_bytes(base: int) -> Callable[[str], str]:
    """Escapes of three digits are bytes of UTF-8."""
    simple = {"n": "\n", "r": "\r", "t": "\t"}

    def one(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], base))
        if match[2]:
            return simple.get(match[2], match[2])
        return match[0].encode().decode("latin-1")

    pattern = r"\\([0-9]{3})|\\([^0-9])|[^\\\"\n]"
    return lambda inside: tokens(pattern, inside, one).encode("latin-1").decode()


def read_powershell(inside: str) -> str:
    simple = {"n": "\n", "r": "\r", "t": "\t"}

    def one(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1]))
        return simple.get(match[2], match[2]) if match[2] else match[0]

    units = tokens(r"\$\(\[char\](\d+)\)|`(.)|[^`$\"“”„\n]", inside, one)
    return units.encode("utf-16", "surrogatepass").decode("utf-16")


def read_matlab(literal: str) -> str:
    inside = literal.removeprefix("(").removesuffix(")") if literal[0] == "(" else literal
    units = tokens(
        r'"((?:[^"\n]|"")*)"|char\(\[([\d ]+)\]\)| \+ ',
        inside,
        lambda one: (
            (one[1] or "").replace('""', '"')
            + "".join(chr(int(number)) for number in (one[2] or "").split())
        ),
    )
    return units.encode("utf-16", "surrogatepass").decode("utf-16")


READERS: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "python": ('x = "', '"', read_python),
    "R": ('x = "', '"', read_python),
    "scala": ('val x = "', '"', read_json),
    "julia": ('x = "', '"', read_julia),
    "matlab": ("x = ", ";", read_matlab),
    "octave": ('x = "', '";', read_bytes(8)),
    "powershell": ('$x = "', '"', read_powershell),
    "c#": ('var x = "', '";', read_json),
    "f#": ('let x = "', '"', read_json),
    "javascript": ('var x = "', '";', read_json),
    "typescript": ('var x = "', '";', read_json),
    "kotlin": ('val x = "', '"', read_kotlin),
    "lua": ('x = "', '"', read_bytes(10)),
    "sql": (
        "SET @x = '",
        "';",
        lambda inside: tokens("''|[^'\\\\]", inside, lambda one: one[0][0]),
    ),
}


@pytest.mark.parametrize("language", READERS)
@settings(max_examples=40)
@given(value=texts)
@example(value='"; import os; os.system("true") #')
@example(value="'; DROP TABLE x; --")
@example(value="${x} #{x} $(id) `id` \\")
def test_no_text_ends_its_assignment(language: str, value: str) -> None:
    begin, end, read = READERS[language]
    try:
        source = written(language, value)
    except InvalidField:
        assert "\0" in value or (language == "sql" and ("\\" in value or not value.isprintable()))
        return
    assert source.startswith(begin)
    assert source.endswith(f"{end}\n")
    line = source[len(begin) : -len(end) - 1]
    assert line.isprintable()
    assert value == read(line)


@given(language=st.sampled_from(LANGUAGES), value=values)
def test_every_value_is_one_statement_or_refused(language: str, value: Json) -> None:
    try:
        source = written(language, value)
    except InvalidField:
        return
    lines = source.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    assert language == "powershell" or 1 == len(lines)


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "value", "expected"),
    [
        ("python", math.nan, "x = float('nan')"),
        ("R", math.inf, "x = Inf"),
        ("julia", -math.inf, "x = -Inf"),
        ("scala", math.nan, "val x = Double.NaN"),
        ("c#", -math.inf, "var x = double.NegativeInfinity;"),
        ("f#", math.inf, "let x = infinity"),
        ("kotlin", math.inf, "val x = Double.POSITIVE_INFINITY"),
        ("javascript", -math.inf, "var x = -Infinity;"),
        ("lua", math.nan, "x = (0/0)"),
        ("octave", math.nan, "x = NaN;"),
        ("bash", math.inf, "x=inf"),
        ("python", 2**70, f"x = {2**70}"),
        ("julia", 2**70, f"x = {2**70}"),
        ("scala", 2**70, f'val x = BigInt("{2**70}")'),
        ("c#", -(2**70), f'var x = System.Numerics.BigInteger.Parse("{-(2**70)}");'),
        ("f#", 2**70, f"let x = {2**70}I"),
        ("kotlin", 2**70, f'val x = java.math.BigInteger("{2**70}")'),
        ("kotlin", 2**40, f"val x = {2**40}L"),
        ("powershell", 2**70, f'$x = [bigint]::Parse("{2**70}")'),
        ("sql", 0.5, "SET @x = 0.5;"),
        ("sql", 2**70, f"SET @x = {2**70};"),
    ],
)
def test_numbers_at_the_edge_are_written_right(language: str, value: Json, expected: str) -> None:
    assert f"{expected}\n" == written(language, value)


@pytest.mark.parametrize(
    ("language", "value"),
    [("R", 2**53), ("matlab", -(2**53)), ("octave", 2**53), ("javascript", 2**53), ("lua", 2**63)],
)
def test_a_number_that_would_become_another_is_refused(language: str, value: int) -> None:
    assert "too large a whole number" in refusal(language, x=value)["parameters.x"]


def test_sql_has_no_number_but_finite_ones() -> None:
    assert "finite" in refusal("sql", x=math.nan)["parameters.x"]


# -- lists and objects -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "value", "expected"),
    [
        ("powershell", [[1, 2]], "$x = @(,@(1, 2))"),
        ("powershell", [None], "$x = @($Null)"),
        ("c#", [], "var x = new object[] {  };"),
        ("c#", [1, None], "var x = new object[] { 1, null };"),
        ("c#", [[1], [2]], "var x = new [] { new [] { 1 }, new [] { 2 } };"),
        ("c#", None, "object x = null;"),
        ("f#", {}, "let x = (Map.empty : Map<string, IComparable>)"),
        ("f#", [1, "a"], 'let x = [ 1 :> IComparable; "a" :> IComparable ]'),
        ("f#", [None, 1], "let x = [ (null : IComparable); 1 :> IComparable ]"),
        ("matlab", {}, "x = containers.Map();"),
        ("matlab", {"a'b": 1}, "x = containers.Map({'a''b'}, {1});"),
        ("matlab", {"a\nb": 1}, "x = containers.Map({['a', char([10]), 'b']}, {1});"),
        ("octave", {"a\nb": [1]}, 'x = containers.Map({"a\\nb"}, {{1}});'),
        ("kotlin", [], "val x = listOf<Any?>()"),
        ("kotlin", {}, "val x = mapOf<String, Any?>()"),
        ("kotlin", {"a": [None]}, 'val x = mapOf("a" to listOf(null))'),
        ("javascript", {"__proto__": 1}, 'var x = {["__proto__"]: 1};'),
        ("lua", {"a": [1, True]}, 'x = {["a"] = {1, true}}'),
        ("bash", ["a b", None, ""], "x=('a b' '' '')"),
        ("bash", "it's\n!", r"x=$'it\047s\n\041'"),
    ],
)
def test_lists_and_objects_keep_their_meaning(language: str, value: Json, expected: str) -> None:
    assert f"{expected}\n" == written(language, value)


@pytest.mark.parametrize(
    ("language", "value"),
    [
        ("bash", [[1]]),
        ("bash", {"a": 1}),
        ("sql", [1]),
        ("sql", {}),
        ("lua", [None]),
        ("lua", {"a": None}),
        ("R", {"": 1}),
        ("powershell", {"a": 1, "A": 2}),
        ("bash", "a\0b"),
        ("R", "\0"),
        ("python", "\ud800"),
        ("python", {"\udc80": 1}),
        ("python", 1 << 9000),
    ],
)
def test_what_a_language_cannot_say_is_refused(language: str, value: Json) -> None:
    assert ["parameters.x"] == list(refusal(language, x=value))


def test_what_is_nested_too_deeply_for_compilers_is_refused() -> None:
    value: Json = 1
    for _ in range(50):
        value = [value]
    assert written("python", value)
    assert "50 lists and objects" in refusal("python", x=[value])["parameters.x"]


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "name"),
    [
        *((language, name) for language in LANGUAGES for name in ("", "a b", "1a", "a;b", "a\n")),
        ("python", "class"),
        ("python", "__debug__"),
        ("R", "_x"),
        ("R", "TRUE"),
        ("R", ".1"),
        ("julia", "end"),
        ("matlab", "_x"),
        ("matlab", "a" * 64),
        ("octave", "until"),
        ("bash", "UID"),
        ("powershell", "Home"),
        ("scala", "val"),
        ("c#", "new"),
        ("f#", "let"),
        ("kotlin", "__"),
        ("javascript", "undefined"),
        ("lua", "nil"),
    ],
)
def test_a_name_that_no_variable_can_have_is_refused(language: str, name: str) -> None:
    assert "is not a name" in refusal(language, **{name: 1})[f"parameters.{name}"]


@pytest.mark.parametrize(
    ("language", "name"),
    [("python", "größe"), ("R", "a.b"), ("julia", "β"), ("javascript", "$a"), ("octave", "_a")],
)
def test_a_name_that_the_language_knows_is_taken(language: str, name: str) -> None:
    assert name in assignments({name: 1}, kernel="", language=language)


def test_all_that_is_wrong_is_told_at_once() -> None:
    values: dict[str, Json] = {"a": [[]], "b-c": 1, "d": 1, "x" * 1000: 1, "\ud800": 1}
    faults = refusal("bash", **values)
    assert {"parameters.a", "parameters.b-c", "parameters.\ufffd"} == set(faults)


# -- which language --------------------------------------------------------------------------------


def test_the_name_of_a_kernelspec_says_more_than_its_language() -> None:
    assert "# Parameters\nx = None\n" == assignments(
        {"x": None}, kernel="Python3", language="script"
    )
    assert "x = NULL" in assignments({"x": None}, kernel="sparkrkernel", language="python")


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_a_comment_above(language: str) -> None:
    first = assignments({"x": 1}, kernel="", language=language).split("\n")[0]
    assert re.fullmatch(r"(#|//|%|--|\(\*) Parameters( \*\))?", first)


def test_a_language_that_nobody_knows_takes_no_parameters() -> None:
    assert None is dialect_of("brainf", "brainf")
    assert {"parameters": "cannot be written in the language 'brainf'"} == refusal("brainf", x=1)


def test_a_notebook_that_says_nothing_is_taken_for_python() -> None:
    assert is_python("", "")
    assert is_python("conda-env-3", "python")
    assert not is_python("ir", "R")
    assert not is_python("brainf", "")


# -- JavaScript ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("const x = 1", "const x = 2;"),
        ("let a = 1, x: number = 1;", "x = 2;"),
        ("var x", "x = 2;"),
        ("const xy = 1", "var x = 2;"),
        ("// const x", "var x = 2;"),
    ],
)
def test_what_is_declared_already_is_given_its_value_as_it_allows(
    before: str, expected: str
) -> None:
    assert f"{expected}\n" == written("typescript", 2, before)
