"""Widgets in the output notebook, judged by nbclient: of one recording it makes the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from kernel_gateway.runs.outputs import Outputs
from kernel_gateway.runs.widgets import MIME
from tests.e2e.jupyter.programs import LIMIT_S, PYTHON
from tests.unit.runs.test_transcripts import FOLDER, replay

DRIVER = Path(__file__).with_name("widgets.py")
CLOSED = {"widgets": "comm8", "progress": None}  # nbclient keeps what the code has closed


def test_a_recording_has_the_outputs_and_the_open_widgets_that_nbclient_finds() -> None:
    recordings = [FOLDER / f"{name}.jsonl" for name in CLOSED]
    done = subprocess.run(
        [PYTHON, DRIVER, *recordings], capture_output=True, timeout=LIMIT_S, check=True
    )
    for (name, closed), line in zip(CLOSED.items(), done.stdout.splitlines(), strict=True):
        expected, found = json.loads(line), Outputs()
        for record in replay(name, min).stored:
            found.apply(record)
        assert _joined(expected["outputs"]) == found.outputs(0)
        expected["widgets"][MIME]["state"].pop(closed, None)
        assert expected["widgets"] == found.widgets()


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Text of one stream is, later than at this place of nbclient."""
    joined: list[dict[str, Any]] = []
    for output in outputs:
        if "name" in output and joined and joined[-1].get("name") == output["name"]:
            joined[-1] = {**output, "text": joined[-1]["text"] + output["text"]}
        else:
            joined.append(output)
    return joined
