"""`fork_server/rebirth.py`: which requests a forked process can stand in for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernel_gateway.fork_server.rebirth import request_fault
from kernel_gateway.fork_server.wire import ForkRequest

if TYPE_CHECKING:
    from collections.abc import Sequence


def fault_of(command: Sequence[str], **env: str) -> str | None:
    return request_fault(ForkRequest(command=command, env=env, cwd="/"))


@pytest.mark.parametrize(
    "command",
    [
        ["python", "-m", "ipykernel_launcher"],
        ["python", "-m", "ipykernel_launcher", "-f", "file"],
        ["python", "-X", "dev", "-W", "error", "-m", "ipykernel_launcher", "-m", "what"],
    ],
)
def test_ipykernel_is_one(command: list[str]) -> None:
    assert fault_of(command) is None


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["-m", "ipykernel_launcher"],
        ["python"],
        ["python", "-m"],
        ["python", "-m", "ipykernel"],
        ["python", "-c", "ipykernel_launcher"],
        ["python", "what.py", "ipykernel_launcher"],
    ],
)
def test_anything_else_is_none(command: list[str]) -> None:
    fault = fault_of(command)
    assert fault is not None
    assert fault.endswith(".")


@pytest.mark.parametrize("paths", ["", "/one", "/one:/two"])
def test_folders_to_import_from_are_absolute(paths: str) -> None:
    assert fault_of(["python", "-m", "ipykernel_launcher"], PYTHONPATH=paths) is None


@pytest.mark.parametrize("paths", ["one", ".", "/one:", "/one:two"])
def test_relative_ones_are_refused_as_they_would_mean_others(paths: str) -> None:
    assert fault_of(["python", "-m", "ipykernel_launcher"], PYTHONPATH=paths) is not None
