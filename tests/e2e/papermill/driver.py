"""Runs where papermill is: each notebook by papermill, by us, and by papermill with our engine.

    driver.py FOLDER      reads <notebook>.ipynb there, writes <notebook>.<who>.ipynb

Prints as JSON what was raised, by notebook and by whom.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import papermill as pm  # type: ignore[import-not-found]
from nbclient.exceptions import DeadKernelError  # type: ignore[import-not-found]

from kernel_gateway.execute import execute_notebook

WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "papermill": (pm.execute_notebook, {}),
    "ours": (execute_notebook, {}),
    "engine": (pm.execute_notebook, {"engine_name": "kernel_gateway"}),
}


def main(folder: Path) -> None:
    raised: dict[str, dict[str, Any]] = {"ok": {}, "failing": {}, "dying": {}}
    for notebook, told in raised.items():
        for who, (execute, how) in WAYS.items():
            if notebook == "dying" and who == "papermill":
                continue
            given, out = folder / f"{notebook}.ipynb", folder / f"{notebook}.{who}.ipynb"
            values = {"x": 2} if notebook == "ok" else None
            try:
                execute(given, out, values, progress_bar=False, **how)
            except pm.PapermillExecutionError as fault:
                told[who] = [fault.cell_index, fault.exec_count, fault.ename, str(fault)]
            except DeadKernelError as fault:
                told[who] = type(fault).__name__
    sys.stdout.write(json.dumps(raised))


main(Path(sys.argv[2]))
