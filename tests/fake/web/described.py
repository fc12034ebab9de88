"""The gateway's own description, to which every answer of these tests is held."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from kernel_gateway.web.openapi.document import document
from tests.shared.openapi import Description

if TYPE_CHECKING:
    from tests.shared.http import Response


@cache
def description() -> Description:
    return Description(json.loads(json.dumps(document(base_url="", version="1.2.3"))))


def faults(verb: str, address: str, answer: Response) -> list[str]:
    """What it does not say of this answer; nothing of addresses that are not served."""
    path = description().path_of(verb, address)
    if path is None or b'"route_not_found"' in answer.body:
        return []
    return description().faults_of(verb, path, answer)
