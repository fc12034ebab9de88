"""An OpenAPI document, asked whether a body or an answer is as it says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.shared.http import Response

_DOCUMENT = "urn:document"


class Description:
    def __init__(self, document: Mapping[str, Any], formats: FormatChecker | None = None) -> None:
        self.document = document
        self._formats = formats
        resource = DRAFT202012.create_resource(document)
        self._registry: Registry[Any] = Registry().with_resource(_DOCUMENT, resource)
        self._validators: dict[str, Draft202012Validator] = {}
        paths = sorted(document["paths"], key=lambda path: path.count("{"))
        self._patterns = {path: _pattern(path) for path in paths}

    @property
    def components(self) -> Any:
        return self.document["components"]

    def operations(self) -> Iterator[tuple[str, str, Any]]:
        """Verb, path and what is said of it."""
        for path, item in self.document["paths"].items():
            for verb, operation in item.items():
                yield verb.upper(), path, operation

    def operation(self, verb: str, path: str) -> Any:
        return self._at(path)[verb.lower()]

    def path_of(self, verb: str, address: str) -> str | None:
        """The path, with its parameters, of the operation that is called by this address."""
        return next(
            (path for path in self.paths_of(address) if verb.lower() in self._at(path)), None
        )

    def paths_of(self, address: str) -> list[str]:
        """All that it may be an address of, those with the fewest parameters first."""
        bare = address.partition("?")[0]
        return [path for path, pattern in self._patterns.items() if pattern.fullmatch(bare)]

    def _at(self, path: str) -> Any:
        return self.document["paths"][path]

    def faults(self, value: object, schema: Mapping[str, Any]) -> list[str]:
        """What the schema, which may refer to others of the document, has against it."""
        errors = self._validator(json.dumps(schema)).iter_errors(value)
        return [f"{error.json_path}: {error.message}" for error in errors]

    def _validator(self, schema: str) -> Draft202012Validator:
        """Kept, and with it the references that it has found."""
        if schema not in self._validators:
            within = json.loads(schema.replace('"#/', f'"{_DOCUMENT}#/'))
            self._validators[schema] = Draft202012Validator(
                within, registry=self._registry, format_checker=self._formats
            )
        return self._validators[schema]

    def faults_of(self, verb: str, path: str, answer: Response) -> list[str]:
        """What is in an answer of an operation that the document does not say."""
        answers = self.operation(verb, path)["responses"]
        described = answers.get(str(answer.status), answers.get("default"))
        if described is None:
            return [f"{verb} {path} does not answer {answer.status}: {answer.body!r}"]
        described = self.resolved(described)
        return [
            *self._faults_of_headers(described, answer.headers),
            *self._faults_of_content(described.get("content", {}), answer),
        ]

    def resolved(self, value: Any) -> Any:
        """What it refers to, if it does."""
        while set(value) == {"$ref"}:
            target: Any = self.document
            for step in value["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            value = target
        return value

    def _faults_of_headers(self, described: Any, headers: Mapping[str, str]) -> Iterator[str]:
        for name, header in described.get("headers", {}).items():
            schema = self.resolved(header)["schema"]
            if name in headers:
                text = headers[name]
                value = int(text) if schema["type"] == "integer" else text
                yield from (f"{name}: {fault}" for fault in self.faults(value, schema))

    def _faults_of_content(self, contents: Any, answer: Response) -> list[str]:
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        if not contents or not answer.body:
            return [f"{kind}: there is a body"] if answer.body and not contents else []
        if kind not in contents and "*/*" not in contents:
            return [f"{kind} is not one of {', '.join(contents)}"]
        if not re.fullmatch(r"application/(.*\+)?json", kind):
            return []
        return self.faults(answer.json, contents.get(kind, contents.get("*/*"))["schema"])


def _pattern(path: str) -> re.Pattern[str]:
    steps = ("[^/]+" if step.startswith("{") else re.escape(step) for step in path.split("/"))
    return re.compile("/".join(steps))
