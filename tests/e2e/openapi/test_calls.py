"""schemathesis calls a running gateway by the gateway's own description, right and wrong.

Every call that it makes up must be answered as described, and the gateway must have made no mistake
when it is over.
"""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import TOKEN
from tests.e2e.openapi.caller import BIN, call_all, said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Server


def test_calls_are_answered_as_described(server: Server) -> None:
    call_all(server, "--exclude-tag=backendai", "--max-examples=6")


def test_no_call_of_backendais_api_is_a_mistake_of_ours(server: Server) -> None:
    """Its bodies are only sketched, so that nothing is said of what is right."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    phases = "examples,coverage,fuzzing"
    arguments = ("--include-tag=backendai", f"--phases={phases}", f"--checks={checks}")
    call_all(server, *arguments, "--max-examples=2")


def test_the_document_is_openapi(server: Server, tmp_path: Path) -> None:
    """By the word of a validator that is not ours."""
    request = urllib.request.Request(
        f"{server.url}/api/openapi.json", headers={"Authorization": f"token {TOKEN}"}
    )
    file = tmp_path / "openapi.json"
    with urllib.request.urlopen(request) as answer:
        file.write_bytes(answer.read())
    options = ("--schema=3.1", "--validation-errors=all")
    told = said(BIN / "openapi-spec-validator", *options, file, folder=tmp_path)
    assert f"{file}: OK\n" == told
