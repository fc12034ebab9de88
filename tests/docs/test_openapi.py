"""The OpenAPI document holds what the code does: every route and verb, and valid examples."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from kernel_gateway.runs.records import BODIES
from kernel_gateway.web import application, schemas
from kernel_gateway.web.backendai import routes as backendai
from kernel_gateway.web.backendai.handler import Unknown
from kernel_gateway.web.backendai.sessions import Probe
from kernel_gateway.web.openapi import bodies
from kernel_gateway.web.openapi.document import document
from kernel_gateway.web.openapi.examples import EXAMPLES
from kernel_gateway.web.openapi.shapes import RECORDS
from tests.shared.openapi import Description

if TYPE_CHECKING:
    from collections.abc import Iterator

VERBS = ("get", "post", "put", "patch", "delete")
DOCUMENT = json.loads(json.dumps(document(base_url="/gw", version="1.2.3")))
DESCRIPTION = Description(DOCUMENT, schemas.FORMATS)
OPERATIONS = list(DESCRIPTION.operations())
BY_NAME = [
    pytest.param(*operation, id=f"{operation[0]} {operation[1]}") for operation in OPERATIONS
]


def served() -> set[tuple[str, str]]:
    """Every verb and path of the code; the parts of a path that differ are `{}`."""
    known = [("/", Probe), *application.ROUTES, *backendai.ROUTES]
    return {
        (verb.upper(), _pattern(route))
        for route, handler in known
        if handler is not Unknown
        for verb in VERBS
        if hasattr(handler, f"on_{verb}") and (route != "/" or verb == "get")
    }


def _pattern(route: str) -> str:
    route = route.replace("(?:session|kernel)", "session").replace("\\.", ".")
    return re.sub(r"\(\[[^)]*\)", "{}", route)


def places(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every object of the document, by its path."""
    if isinstance(value, dict):
        yield path, value
        for key, below in value.items():
            yield from places(below, f"{path}/{key}")
    if isinstance(value, list):
        for number, below in enumerate(value):
            yield from places(below, f"{path}/{number}")


def references() -> set[str]:
    return {one["$ref"] for _, one in places(DOCUMENT) if isinstance(one.get("$ref"), str)} | {
        target
        for _, one in places(DOCUMENT)
        for target in one.get("discriminator", {}).get("mapping", {}).values()
    }


def test_every_verb_of_every_route_is_described_and_nothing_else() -> None:
    described = {(verb, re.sub(r"{\w+}", "{}", path)) for verb, path, _ in OPERATIONS}
    assert served() == described


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert sorted(set(names)) == sorted(names)
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {
        tag for _, _, operation in OPERATIONS for tag in operation["tags"]
    }


@pytest.mark.parametrize(("verb", "path", "operation"), BY_NAME)
def test_parameters_of_a_path_are_described(verb: str, path: str, operation: Any) -> None:
    described = [
        parameter["name"]
        for parameter in operation.get("parameters", ())
        if parameter.get("in") == "path"
    ]
    assert re.findall(r"{(\w+)}", path) == described


def test_it_is_of_the_base_url_and_the_version() -> None:
    assert "3.1.0" == DOCUMENT["openapi"]
    assert "1.2.3" == DOCUMENT["info"]["version"]
    assert [{"url": "/gw"}] == DOCUMENT["servers"]
    assert [{"url": "/"}] == document(base_url="", version="1")["servers"]


def test_every_reference_leads_to_something_and_nothing_is_left_over() -> None:
    for reference in references():
        DESCRIPTION.resolved({"$ref": reference})
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "examples", "parameters", "headers", "responses")
        for name in DOCUMENT["components"][kind]
    }
    assert NAMED_IN_TEXT == there - references()


#: A stream of events has no schema in OpenAPI: its description names what an event holds.
NAMED_IN_TEXT = {"#/components/schemas/GapRecord"}


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


@pytest.mark.parametrize("shape", sorted(EXAMPLES))
def test_every_example_is_as_its_schema_says(shape: str) -> None:
    schema = {"$ref": "#/components/schemas/" + re.sub(r"\d+$", "", shape)}
    for name, value in EXAMPLES[shape].items():
        assert [] == DESCRIPTION.faults(value, schema), name


def test_no_two_examples_have_one_name() -> None:
    names = [name for examples in EXAMPLES.values() for name in examples]
    assert sorted(set(names)) == sorted(names)


def test_every_body_has_an_example() -> None:
    assert {"Upload"} == set(bodies.BODIES) - set(EXAMPLES)


def test_each_kind_of_record_has_the_fields_that_it_has_in_the_log() -> None:
    envelope = {"run_id", "uid", "seq", "at", "step", "kind"}
    of_readers = {"completed": {"run"}}
    kinds = {kind: set(RECORDS[kind]["properties"]) - envelope for kind in BODIES}
    assert {
        kind: {one.name for one in fields(body)} | of_readers.get(kind, set())
        for kind, body in BODIES.items()
    } == kinds


@pytest.mark.parametrize(
    ("value", "is_right"),
    [
        ("r", True),
        ("", False),
        ("x" * 255, True),
        ("x" * 256, False),
        ("a\nb", False),
        ("a\x9fb", False),
        ("🐧/..", True),
    ],
)
def test_a_run_id_is_told_in_words_that_every_reader_knows(value: str, is_right: bool) -> None:
    plain = Description(DOCUMENT)  # that does not know our formats
    schema = plain.operation("GET", "/api/runs/{run_id}")["parameters"][0]["schema"]
    assert is_right == (plain.faults(value, schema) == [])
    assert is_right == (DESCRIPTION.faults(value, {"format": "run-id"}) == [])


def test_a_field_that_is_renamed_fails_its_schema() -> None:
    run = EXAMPLES["Run"]["finishedRun"]
    assert isinstance(run, dict)
    renamed = {"state_" if name == "state" else name: value for name, value in run.items()}
    faults = DESCRIPTION.faults(renamed, {"$ref": "#/components/schemas/Run"})
    assert ["'state' is a required property", "'state_' was unexpected"] == sorted(
        match[0] for fault in faults if (match := re.search(r"'\w+' (is|was) .*\w", fault))
    )
