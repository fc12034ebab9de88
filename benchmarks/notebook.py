"""Notebooks beside papermill and nbclient: warm, cold, long, and what they write. See README.md.

By the command line and REST only. papermill and nbclient are those of .clients/jupyter.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Contender, alternate, ratios, spread, surroundings, table
from benchmarks.peers import Gateway, gateway

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BIN = Path(__file__).parents[1] / ".clients/jupyter/bin"
READY = 2  # kernels that our server keeps
REFILL_S = 4.0  # between two notebooks: then they are ready again
CELLS, MANY = 10, 200
WRITTEN = (50, 100, 200, 400)
IN, OUT = "in.ipynb", "out.ipynb"

OURS = (sys.executable, "-m", "kernel_gateway.commands.main", "run", IN, OUT)
PAPERMILL = (BIN / "papermill", "--no-progress-bar", IN, OUT)
NBCLIENT = (BIN / "jupyter", "execute", IN, "--output=out")

#: Executes a notebook for each line that it reads; imported and ready before the first.
_DRIVER = """
import sys, time
import papermill
for line in sys.stdin:
    start = time.perf_counter()
    papermill.execute_notebook(*line.split(), progress_bar=False)
    print(time.perf_counter() - start, flush=True)
"""


def main() -> None:
    options = _options()
    print(surroundings())
    for part in options.parts:
        print(f"\n## {part}\n")
        print(PARTS[part](options.rounds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    return parser.parse_args()


def warm(rounds: int) -> str:
    return _by_server(CELLS, rounds)


def many(rounds: int) -> str:
    return _by_server(MANY, rounds)


def _by_server(cells: int, rounds: int) -> str:
    with ExitStack() as stack:
        keep = f"--Runs.warm=python3={READY}"
        server = stack.enter_context(gateway(history=False, options=[keep]))
        driver = stack.enter_context(_papermill_driver())
        return _ratios([Submitted(server, cells), Executed(driver, cells)], rounds)


def cold(rounds: int) -> str:
    commands = (("kernel-gateway run", OURS), ("jupyter execute", NBCLIENT))
    return _ratios([Command(name, command, CELLS) for name, command in commands], rounds)


def long(rounds: int) -> str:
    commands = (("kernel-gateway run", OURS), ("papermill", PAPERMILL))
    return _ratios([Command(name, command, MANY) for name, command in commands], rounds)


def written(rounds: int) -> str:
    """Once each: it is counted, not timed."""
    runners = {name: Command(name, command, 0) for name, command in _WRITERS}
    rows = [
        (
            str(cells),
            *(f"{runner.written(cells) / cells / 1024:.1f}" for runner in runners.values()),
        )
        for cells in WRITTEN
    ]
    return table(("cells", *(f"{name}: KiB a cell" for name in runners)), rows)


PARTS = {"warm": warm, "many": many, "cold": cold, "long": long, "written": written}
_WRITERS = (("kernel-gateway run", OURS), ("papermill", PAPERMILL))


def _ratios(contenders: Sequence[Contender], rounds: int) -> str:
    """The first of them is ours."""
    results = alternate(contenders, rounds=rounds, calls=1)
    rows = [
        (result.name, f"{result.percentile(50):.2f}", spread(ratios(result, results[0]), ".2f"))
        for result in results
    ]
    return table(("contender", "p50 s", "times ours, min/median/max"), rows)


def notebook(cells: int) -> dict[str, Any]:
    """Each cell prints its number."""
    code: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": spec},
        "cells": [{**code, "id": f"c{n}", "source": f"print({n})"} for n in range(cells)],
    }


def check(done: Mapping[str, Any], cells: int) -> None:
    """All of it was executed."""
    printed = [
        "".join("".join(output["text"]) for output in cell["outputs"]) for cell in done["cells"]
    ]
    assert [f"{n}\n" for n in range(cells)] == printed, printed


class Submitted:
    """`POST /api/runs` of a notebook until it is finished and its notebook is here."""

    def __init__(self, server: Gateway, cells: int) -> None:
        self.name = f"POST /api/runs, {cells} cells"
        self._http = server.connection()
        self._cells = cells

    def round(self, calls: int) -> list[float]:
        return [self._timed() for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {}

    def _timed(self) -> float:
        time.sleep(REFILL_S)
        start = time.perf_counter()
        body = {"mode": "notebook", "notebook": notebook(self._cells)}
        uid = self._http.call("POST", "/api/runs", body)["uid"]
        page: dict[str, Any] = {"next": 0, "finished": False}
        while not page["finished"]:
            path = f"/api/runs/{uid}/records?after={page['next']}&wait=10"
            page = self._http.call("GET", path)
        done = self._http.call("GET", f"/api/runs/{uid}/notebook")
        took = time.perf_counter() - start
        check(done, self._cells)
        return took


class Executed:
    """`papermill.execute_notebook` in a process that has imported it."""

    def __init__(self, driver: subprocess.Popen[str], cells: int) -> None:
        self.name = f"papermill.execute_notebook, {cells} cells"
        self._driver = driver
        self._cells = cells

    def round(self, calls: int) -> list[float]:
        return [self._timed() for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {}

    def _timed(self) -> float:
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        with _folder(self._cells) as folder:
            self._driver.stdin.write(f"{folder / IN} {folder / OUT}\n")
            self._driver.stdin.flush()
            took = float(self._driver.stdout.readline())
            check(json.loads((folder / OUT).read_text()), self._cells)
        return took


class Command:
    """From the shell's prompt to the shell's prompt."""

    def __init__(self, name: str, command: Sequence[str | Path], cells: int) -> None:
        self.name = f"{name}, {cells} cells"
        self._command = command
        self._cells = cells

    def round(self, calls: int) -> list[float]:
        return [self._run(self._cells)[0] for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {}

    def written(self, cells: int) -> int:
        return self._run(cells)[1]

    def _run(self, cells: int) -> tuple[float, int]:
        """Seconds, and bytes that the process has written, its store and its sockets included."""
        with _folder(cells) as folder:
            environment = {**os.environ, "KERNEL_GATEWAY_DATA_DIR": f"{folder}/data"}
            start = time.perf_counter()
            process = subprocess.Popen(
                self._command, cwd=folder, env=environment, stderr=(folder / "stderr").open("wb")
            )
            # Not reaped yet: what Linux has counted of it is still there.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            took = time.perf_counter() - start
            counted = dict(
                line.split(": ")
                for line in Path(f"/proc/{process.pid}/io").read_text().splitlines()
            )
            assert process.wait() == 0, (folder / "stderr").read_text()
            check(json.loads((folder / OUT).read_text()), cells)
        return took, int(counted["wchar"])


@contextmanager
def _folder(cells: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        (folder / IN).write_text(json.dumps(notebook(cells)))
        yield folder


@contextmanager
def _papermill_driver() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [BIN / "python", "-c", _DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as driver:
        try:
            yield driver
        finally:
            driver.kill()


if __name__ == "__main__":
    main()
