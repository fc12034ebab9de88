"""The how-to on many kernels is true: its numbers, its lines of the log, its configuration."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from traitlets.config import Config

from kernel_gateway import app, process_limits
from kernel_gateway.config import read_settings
from kernel_gateway.process_limits import KERNEL_DESCRIPTORS, Descriptors
from kernel_gateway.web.listening import BACKLOG
from kernel_gateway.web.openapi.shapes import SHAPES

if TYPE_CHECKING:
    import pytest

HOWTO = (Path(__file__).parents[2] / "docs/how-to/many-kernels.md").read_text()


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"and {KERNEL_DESCRIPTORS} descriptors" in HOWTO
    assert f"{Descriptors(limit=10**6, used=0).kept_back} are kept back" in HOWTO
    assert f"fewer than {app.FEW_KERNELS}" in HOWTO
    assert f"{BACKLOG:,} connections" in HOWTO


def test_the_line_of_the_log_is_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = re.findall(r"^    (Room for .*)$", HOWTO, re.MULTILINE)
    used, limit, began = map(int, re.findall(r"(\d+) of (\d+) .* (\d+)\.", line)[0])
    monkeypatch.setattr(app, "descriptors", lambda: Descriptors(limit=limit, used=used))
    monkeypatch.setattr(app, "STARTED_WITH", began)
    with caplog.at_level(logging.INFO, logger=app.log.name):
        app.tell_room()
    assert [line] == caplog.messages


def test_its_answer_has_the_form_of_the_answer() -> None:
    (body,) = re.findall(r"^```json\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)
    told = json.loads(body)
    assert set(SHAPES["Readiness"]["required"]) == set(told)
    assert {"limit", "used"} == set(told["descriptors"])


def test_its_configuration_is_taken() -> None:
    config = Config()
    for text in re.findall(r"^```python\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL):
        exec(text, {"c": config})
    settings = read_settings(config)
    assert (200, 20) == (settings.engine.max_kernels, settings.engine.max_kernels_per_owner)
    assert (4096, 19) == (settings.kernels.descriptors, settings.kernels.nice)
    assert 3600 == settings.engine.culling.cull_idle_timeout


def test_what_a_kernel_starts_with_is_named() -> None:
    told = process_limits.explained(BlockingIOError(11, "Resource temporarily unavailable"))
    for name in ("ulimit -u", "pids"):
        assert name in told
        assert name in HOWTO
