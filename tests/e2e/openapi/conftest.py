"""A gateway for each test, with few kernels: schemathesis starts as many as it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.main_job.gateway import Server, serving
from tests.e2e.openapi.caller import BIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: No webhook is to be called, whatever a body asks for.
OPTIONS = ("--Runs.max_kernels=4", "--Runs.own_kernels=2", "--Webhooks.allow_public=False")


@pytest.fixture(scope="package", autouse=True)
def client_is_there() -> None:
    if not (BIN / "schemathesis").exists():
        pytest.fail("there is no schemathesis: run scripts/client-env", pytrace=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """It must have made no mistake, and leave nothing."""
    with serving(tmp_path / "data", *OPTIONS) as server:
        yield server
