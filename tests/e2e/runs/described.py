"""What a gateway's own OpenAPI document has against its answers and its records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.shared.http import Response
from tests.shared.openapi import Description

if TYPE_CHECKING:
    from collections.abc import Iterable

_URI = "urn:gateway"
_RECORDS = "/api/runs/{run_id}/records"


class Described(Description):
    """Records are looked at one by one and by their kind: by `oneOf` it takes ten times as long."""

    def __init__(self, document: Any) -> None:
        super().__init__(document)
        resource = DRAFT202012.create_resource(document)
        registry: Registry[Any] = Registry().with_resource(_URI, resource)
        schemas = document["components"]["schemas"]
        mapping = schemas["Record"]["discriminator"]["mapping"]
        self._by_kind = {
            kind: Draft202012Validator({"$ref": f"{_URI}{ref}"}, registry=registry)
            for kind, ref in {**mapping, "gap": "#/components/schemas/GapRecord"}.items()
        }

    @property
    def kinds(self) -> set[str]:
        """Of records, as they are stored."""
        return set(self._by_kind) - {"gap"}

    def faults_of_call(self, verb: str, path: str, answer: Response) -> list[str]:
        """What is in the answer, of a call of this very path, that the document does not say."""
        template = next(iter(self.paths_of(path)), None)
        if template is None:
            return [] if answer.status == 404 else [f"{verb} {path} is not described"]
        if verb.lower() not in self.document["paths"][template]:
            return [] if answer.status == 405 else [f"{verb} {template} is not described"]
        faults: list[str] = []
        if (template, answer.status) == (_RECORDS, 200):
            page = answer.json
            faults += self.faults_of_records(page["items"])
            body = json.dumps({**page, "items": []}).encode()
            answer = Response(answer.status, answer.headers, body)
        return faults + self.faults_of(verb, template, answer)

    def faults_of_records(self, records: Iterable[Any]) -> list[str]:
        return [
            f"{record['kind']}: {error.json_path}: {error.message}"
            for record in records
            for error in self._by_kind[record["kind"]].iter_errors(record)
        ]
