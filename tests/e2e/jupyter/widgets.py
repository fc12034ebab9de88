"""What nbclient makes of recordings (`tests/transcripts`): a program for its environment.

    python widgets.py RECORDING ...

Writes a line of JSON for each: the outputs of the cell, and the metadata of widgets. No kernel is
there: what nbclient sends to it goes nowhere.
"""

from __future__ import annotations

import base64
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# They are in the environment of the clients, where the type checker is not.
import nbformat
from jupyter_client.session import Session
from nbclient import NotebookClient  # type: ignore[import-not-found]
from nbclient.exceptions import CellControlSignal  # type: ignore[import-not-found]


class Nowhere:
    """The side of a client that sends."""

    def __init__(self) -> None:
        self.session = Session()
        self.shell_channel = self

    def send(self, message: Any) -> None:
        pass


def replayed(lines: list[dict[str, Any]]) -> Any:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x")])  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, record_timing=False)
    client.reset_execution_trackers()
    client.clear_before_next_output = False
    client.kc = Nowhere()
    for line in lines:
        if line.get("channel") == "iopub":
            with suppress(CellControlSignal):
                client.process_message(_message(line), notebook.cells[0], 0)
    client.set_widgets_metadata()
    return {"outputs": notebook.cells[0].outputs, "widgets": notebook.metadata.get("widgets")}


def _message(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "msg_type": line["msg_type"],
        "header": {"msg_type": line["msg_type"]},
        "parent_header": {"msg_id": line["parent"]},
        "metadata": {},
        "content": line["content"],
        "buffers": [base64.b64decode(data) for data in line.get("buffers", ())],
    }


if __name__ == "__main__":
    for path in sys.argv[1:]:
        recording = [json.loads(line) for line in Path(path).read_text().splitlines()]
        sys.stdout.write(f"{json.dumps(replayed(recording))}\n")
