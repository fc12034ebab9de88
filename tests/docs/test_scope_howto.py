"""The how-to on the scope is true: its cells and commands run as they stand there."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.messaging.facts import Display, Replied
from kernel_gateway.messaging.message import MsgId, execute_request
from kernel_gateway.runs.metrics import MOST_BYTES, Metrics, checked, is_metric
from kernel_gateway.runs.records import Metric
from kernel_gateway.scope import METRIC_MIME, MODES, NAME_CHARS, SEGMENTS, Run
from tests.shared.kernels import Bench, Python

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_gateway.messaging.facts import Fact
    from kernel_gateway.messaging.strict_json import Json
    from tests.shared.kernels import Started

ROOT = Path(__file__).parents[2]
HOWTO = (ROOT / "docs/how-to/scope.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)


@asynccontextmanager
async def kernel(spec_name: str) -> AsyncIterator[Started]:
    launcher = LocalLauncher(KernelSettings(spec_folders=(ROOT / "kernelspec",)))
    try:
        yield await Bench(launcher, Python()).ready(spec_name=spec_name)
    finally:
        await launcher.close()


async def run(started: Started, code: str, folder: Path) -> list[Fact]:
    """As the gateway sends it: with the run in its metadata."""
    told: dict[str, Json] = {
        "run_id": "nightly",
        "uid": "5fac",
        "context": {"user": "ada"},
        "artifact_dir": str(folder),
    }
    request = execute_request(
        MsgId(uuid4().hex), code, allow_stdin=False, metadata={"kernel_gateway": told}
    )
    started.kernel.send(request)
    await started.recorder.ended(request.msg_id)
    facts = started.recorder.facts(request.msg_id)
    assert ["ok"] == [fact.status for fact in facts if isinstance(fact, Replied)], facts
    return facts


async def test_its_cells_do_what_it_says(tmp_path: Path) -> None:
    metrics = Metrics()
    async with kernel("python3") as started:
        for code in blocks("python"):
            for fact in await run(started, code, tmp_path):
                if isinstance(fact, Display) and is_metric(fact.data):
                    metric = checked(fact.data)
                    assert isinstance(metric, Metric)
                    assert None is metrics.merge(metric)
        assert any("nightly {'user': 'ada'}" in str(fact) for fact in _all(started))
    (expected,) = blocks("json")
    assert {**json.loads(expected), "accuracy": 0.75} == metrics.values
    assert "step,loss\n0,1.0\n" == (tmp_path / "report.csv").read_text()
    assert "nightly" == (tmp_path / "of_thread.txt").read_text()


async def test_its_commands_do_what_it_says(tmp_path: Path) -> None:
    (commands,) = blocks("sh")
    async with kernel("kernel-gateway-command") as started:
        await run(started, commands, tmp_path)
        assert any("{'user': 'ada'}" in str(fact) for fact in _all(started))
    assert "result of nightly\n" == (tmp_path / "result.txt").read_text()


def test_it_names_all_that_a_run_has_and_the_rules_of_metrics() -> None:
    for name in (name for name in vars(Run) if not name.startswith("_")):
        assert f"| `run.{name}" in HOWTO
    for mode in MODES:
        assert f"| `{mode}` |" in HOWTO
    assert f"at most {NAME_CHARS} characters and {SEGMENTS} parts" in HOWTO
    assert f"at most {MOST_BYTES // 2**20} MiB" in HOWTO
    (other,) = blocks("r")
    assert f'"{METRIC_MIME}" = metric' in other


def _all(started: Started) -> list[Fact]:
    recorder = started.recorder
    parents = {message.parent_id for message in recorder.messages} - {None}
    return [fact for parent in parents if parent for fact in recorder.facts(parent)]
