"""What becomes of notebooks that go wrong, with us and with others: docs/reference/faults.md.

    python benchmarks/faults.py
    python benchmarks/faults.py --only SIGTERM --runners papermill

Each runner is a command, in a folder of its own, with the kernel of its own environment. Ours is
that of the environment this is started in; the others are in .clients/jupyter, which
scripts/client-env makes. Nobody is waited for longer than LIMIT_S.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import table
from tests.e2e.faults.notebooks import FAULTS, KILLED, MARK, Fault, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
BIN = ROOT / ".clients/jupyter/bin"
LIMIT_S = 30.0
_POLL_S = 0.05

IN, OUT = "in.ipynb", "out.ipynb"


@dataclass(frozen=True, slots=True)
class Runner:
    name: str
    command: Callable[[Fault], Sequence[str | Path]]
    #: What it says of its cells.
    states: Callable[[Mapping[str, Any]], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="rows whose title has this in it")
    parser.add_argument("--runners", nargs="*", default=[runner.name for runner in RUNNERS])
    asked = parser.parse_args()
    runners = [runner for runner in RUNNERS if runner.name in asked.runners]
    rows = [
        (fault.title, *(outcome(runner, fault) for runner in runners))
        for fault in (*FAULTS, KILLED)
        if asked.only in fault.title
    ]
    print(table(("what happens", *(runner.name for runner in runners)), rows))


def outcome(runner: Runner, fault: Fault) -> str:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / IN).write_text(json.dumps(fault.notebook()))
        ended = _run(runner.command(fault), fault, folder)
        told = [ended, _of_file(runner, fault, folder)]
        if fault.deed is not None and _lives_on(folder):
            told.append("its kernel lives on")
    return ", ".join(told)


def _run(command: Sequence[str | Path], fault: Fault, folder: Path) -> str:
    environment = {**os.environ, "HOME": str(folder), "KERNEL_GATEWAY_DATA_DIR": f"{folder}/data"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT) if command[0] == sys.executable else ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + LIMIT_S
    if fault.deed is not None:
        whom, number = fault.deed.value
        mark = folder / MARK
        while not (mark.exists() and mark.read_text()) and time.monotonic() < end:
            time.sleep(_POLL_S)
        os.kill(process.pid if whom == "runner" else int(mark.read_text()), number)
    try:
        return f"exit {shown(process.wait(max(end - time.monotonic(), 1)))}"
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return f"**no end in {LIMIT_S:g} s**"


def _of_file(runner: Runner, fault: Fault, folder: Path) -> str:
    if not (folder / OUT).exists():
        return "**no file**"
    notebook = json.loads((folder / OUT).read_text())
    lost = [
        str(number + 1)
        for number, (cell, text) in enumerate(zip(_code_cells(notebook), fault.texts, strict=True))
        if _stdout(cell) != text
    ]
    told = runner.states(notebook)
    return f"{told}; **wrong output in cell {', '.join(lost)}**" if lost else told


def _code_cells(notebook: Mapping[str, Any]) -> list[Any]:
    """Those of the input: papermill adds one that says what has failed."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [cell for cell in cells if "papermill-error-cell-tag" not in _tags(cell)]


def _tags(cell: Mapping[str, Any]) -> Sequence[str]:
    tags: Sequence[str] = cell["metadata"].get("tags", ())
    return tags


def _stdout(cell: Mapping[str, Any]) -> str:
    return "".join("".join(out["text"]) for out in cell["outputs"] if out.get("name") == "stdout")


def _lives_on(folder: Path) -> bool:
    """Long after its runner: kernels may look after it once a second. It is killed then."""
    pid = int((folder / MARK).read_text())
    end = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(_POLL_S)
    if not Path(f"/proc/{pid}").exists():
        return False
    os.kill(pid, signal.SIGKILL)
    return True


# -- the runners -----------------------------------------------------------------------------------


def _ours(fault: Fault) -> Sequence[str | Path]:
    command = (sys.executable, "-m", "kernel_gateway.commands.main", "run", IN, OUT)
    return (*command, *fault.arguments())


def _papermill(fault: Fault) -> Sequence[str | Path]:
    limit = [] if fault.limit_s is None else ["--execution-timeout", str(fault.limit_s)]
    return (BIN / "papermill", "--no-progress-bar", *limit, IN, OUT)


def _nbclient(fault: Fault) -> Sequence[str | Path]:
    limit = [] if fault.limit_s is None else [f"--timeout={fault.limit_s}"]
    return (BIN / "jupyter", "execute", *limit, IN, f"--output={OUT.removesuffix('.ipynb')}")


def _nbconvert(fault: Fault) -> Sequence[str | Path]:
    limit = [] if fault.limit_s is None else [f"--ExecutePreprocessor.timeout={fault.limit_s}"]
    command = (BIN / "jupyter", "nbconvert", "--to=notebook", "--execute", IN)
    return (*command, f"--output={OUT}", *limit)


def _our_states(notebook: Mapping[str, Any]) -> str:
    states = [cell["metadata"]["kernel_gateway"]["state"] for cell in _code_cells(notebook)]
    run = notebook["metadata"]["kernel_gateway"].get("run", {})
    reason = run.get("reason", {}).get("code", "no end yet")
    return f"`{reason}`: {', '.join(states)}"


def _papermill_states(notebook: Mapping[str, Any]) -> str:
    told = [cell["metadata"].get("papermill", {}) for cell in _code_cells(notebook)]
    return ", ".join(cell.get("status", "nothing told") for cell in told)


def _counts(notebook: Mapping[str, Any]) -> str:
    """All that there is: which cells have been executed."""
    told = ["none" if cell["execution_count"] is None else "one" for cell in _code_cells(notebook)]
    return f"a file, execution counts: {', '.join(told)}"


RUNNERS = (
    Runner("kernel-gateway run", _ours, _our_states),
    Runner("papermill", _papermill, _papermill_states),
    Runner("jupyter execute", _nbclient, _counts),
    Runner("nbconvert", _nbconvert, _counts),
)

if __name__ == "__main__":
    main()
