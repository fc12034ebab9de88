"""`notebook/parameters/options.py`: the options of a command, read as papermill reads them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import InvalidField
from kernel_gateway.notebook.parameters.options import Given, Kind, from_yaml, read_options, typed

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json

FILES = {
    "a.yaml": b"a: 1\nb: [x, 2020-01-02]\n",
    "a.json": b'{\n\t"a": {"b": 1e3}}',
    "b.json": b"{",
    "c.json": b"1",
}


def file(name: str) -> bytes:
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory")
    return FILES[name]


def options(*given: tuple[Kind, *tuple[str, ...]]) -> dict[str, Json]:
    return read_options([Given(kind, values) for kind, *values in given], file)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("True", True),
        ("False", False),
        ("None", None),
        ("true", "true"),
        ("1", 1),
        ("-1", -1),
        ("1_000", 1000),
        ("007", 7),
        ("1.0", 1.0),
        ("1e3", 1000.0),
        ("-inf", float("-inf")),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("1 2", "1 2"),
        ("", ""),
        ("[1]", "[1]"),
    ],
)
def test_text_is_typed_as_papermill_types_it(text: str, expected: Json) -> None:
    found = typed(text)
    assert (type(expected), expected) == (type(found), found)


def test_nan_is_a_number() -> None:
    assert "nan" == repr(typed("nan"))


def test_each_option_is_read_in_its_way() -> None:
    assert {"a": 1} == options((Kind.TYPED, "a", "1"))
    assert {"a": "1"} == options((Kind.RAW, "a", "1"))
    assert {"a": [1, {"b": 0.5}]} == options((Kind.YAML, "a: [1, {b: 0.5}]"))
    assert {"a": 1, "b": ["x", "2020-01-02"]} == options((Kind.FILE, "a.yaml"))
    assert {"a": {"b": 1000.0}} == options((Kind.FILE, "a.json"))
    folded = base64.encodebytes(b"a: " + b"x" * 100).decode()
    assert "\n" in folded.strip()
    assert {"a": "x" * 100} == options((Kind.BASE64, folded))
    assert {} == options((Kind.YAML, ""))


def test_the_last_one_counts() -> None:
    given = (Kind.TYPED, "a", "0"), (Kind.FILE, "a.yaml"), (Kind.RAW, "b", "c")
    assert {"a": 1, "b": "c"} == options(*given)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 2020-01-02", "2020-01-02"),
        ("a: 2020-01-02 03:04:05", "2020-01-02 03:04:05"),
        ("a: !!timestamp 2020-01-02", "2020-01-02"),
        ("a: !!timestamp 2020-01-02 03:04:05Z", "2020-01-02T03:04:05+00:00"),
        ("a: {1: x, null: y}", {"1": "x", "None": "y"}),
        ("a: .nan", float("nan")),
        ("a: !!python/tuple [1]", None),
    ],
)
def test_yaml_becomes_json(text: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="is not YAML"):
            from_yaml(text)
    else:
        assert repr({"a": expected}) == repr(from_yaml(text))


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "\n".join(
    f"{name}: &{name} [{','.join(10 * [f'*{before}'])}]"
    for before, name in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        (Kind.YAML, "a: [", "-y: is not YAML"),
        (Kind.YAML, "a", "-y: must be names with values"),
        (Kind.YAML, "a: !!set {x}", "-y: has a value that is no JSON: set"),
        (Kind.YAML, "a: !!binary YQ==", "no JSON: bytes"),
        (Kind.YAML, "a: &x [*x]", "nested too deeply, or contains itself"),
        (Kind.YAML, BOMB, "more than 100,000 values"),
        (Kind.YAML, "a: " + "[" * 400, "-y: "),
        (Kind.BASE64, "%", "-b: is not base64"),
        (Kind.BASE64, base64.b64encode(b"\xff\xfe\xfd").decode(), "-b: is not YAML"),
        (Kind.FILE, "b.json", "-f: b.json is not JSON"),
        (Kind.FILE, "c.json", "-f: c.json must be names with values"),
        (Kind.FILE, "b.yaml", "-f: b.yaml cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_read_names_its_option(kind: Kind, text: str, sentence: str) -> None:
    with pytest.raises(InvalidField) as fault:
        options((kind, text))
    assert sentence in str(fault.value)
    assert 300 > len(str(fault.value))


def test_what_is_wrong_with_a_file_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "a.yaml", b"- 1")
    with pytest.raises(InvalidField, match=r"-f: a\.yaml must be names with values"):
        options((Kind.FILE, "a.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        "a: !!bool foo",
        "a: !!int ''",
        "a: !!timestamp x",
        "a: !!timestamp 2020-13-01",
    ],
)
def test_a_value_that_does_not_fit_its_tag_is_no_yaml(text: str) -> None:
    with pytest.raises(InvalidField, match="is not YAML"):
        options((Kind.YAML, text))
