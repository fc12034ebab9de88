"""What a command finds in its environment."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from kernel_gateway.command_kernel.environment import environment
from kernel_gateway.scope import METADATA_KEY


def of(told: object, **own: str) -> dict[str, str]:
    """Without what every command has."""
    usual = environment({}, {})
    found = environment(own, {METADATA_KEY: told})
    return {name: value for name, value in found.items() if usual.get(name) != value}


def test_there_are_no_pagers_and_no_colours_unless_they_are_wanted() -> None:
    found = environment({"PAGER": "less", "JPY_PARENT_PID": "1"}, {})
    assert ("dumb", "less", "cat", "1") == tuple(
        found[name] for name in ("TERM", "PAGER", "GIT_PAGER", "NO_COLOR")
    )
    assert "JPY_PARENT_PID" not in found


def test_the_programs_of_our_virtual_environment_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = os.path.dirname(sys.executable)
    monkeypatch.setattr(sys, "base_prefix", "/another")
    assert f"{folder}:/bin" == environment({"PATH": "/bin"}, {})["PATH"]
    activated = f"/mine:{folder}"
    assert activated == environment({"PATH": activated}, {})["PATH"]
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert "/bin" == environment({"PATH": "/bin"}, {})["PATH"]


def test_a_run_is_told_by_its_metadata() -> None:
    context = {"traceparent": "00-1", "user": "ädä\0"}
    told = {"run_id": "r", "uid": "u", "context": context, "artifact_dir": "/a", "more": "x"}
    found = of(told, KERNEL_GATEWAY_ARTIFACT_DIR="/of/the/kernel")
    assert context == json.loads(found.pop("KERNEL_GATEWAY_CONTEXT"))
    assert {
        "KERNEL_GATEWAY_RUN_ID": "r",
        "KERNEL_GATEWAY_RUN_UID": "u",
        "KERNEL_GATEWAY_ARTIFACT_DIR": "/a",
        "TRACEPARENT": "00-1",
    } == found


@pytest.mark.parametrize(
    "told",
    [
        None,
        "text",
        {},
        {"run_id": None, "uid": 3, "context": "x", "artifact_dir": None},
        {"run_id": "a\0b"},
    ],
)
def test_what_no_variable_can_be_is_left_out(told: Any) -> None:
    assert {} == of(told)


def test_a_trace_is_told_only_when_there_is_one() -> None:
    assert {"KERNEL_GATEWAY_CONTEXT": "{}"} == of({"context": {}})
    assert ["KERNEL_GATEWAY_CONTEXT"] == list(of({"context": {"traceparent": "a\0"}}))
