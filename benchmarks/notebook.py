"""Notebooks beside papermill and nbclient: warm, cold, long, and what they write. See README.md.

By the command line and REST only. papermill and nbclient are each in an environment of their own
(`peer-env`), with its ipykernel and the same history setting as ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Effort, Field, surroundings, table
from benchmarks.peers import IPYKERNEL, NO_HISTORY, Gateway, RawKernel, gateway, raw_kernel
from benchmarks.report import measure_table
from benchmarks.results import Measure, Series, Target
from benchmarks.rivals import CLIENTS, Driver, driver, write_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

READY = 2  # kernels that our server keeps
CELLS, MANY = 10, 200
WRITTEN = (50, 100, 200, 400)
IN, OUT = "in.ipynb", "out.ipynb"
_WAIT_S = 60
_AS_NOTEBOOK = "application/x-ipynb+json"
#: Of a machine that develops: each start would compile anew what was edited, which is ours.
_UNUSUAL = "PYTHONDONTWRITEBYTECODE"

OURS = (sys.executable, "-m", "kernel_gateway.commands.main", "run", IN, OUT)
PAPERMILL = (CLIENTS / "papermill/bin/papermill", "--no-progress-bar", IN, OUT)
NBCLIENT = (CLIENTS / "nbclient/bin/jupyter", "execute", IN, "--output=out")

#: Executes a notebook; imported and ready before the first.
_PAPERMILL = """
import time
import papermill

def answer(line):
    start = time.perf_counter()
    papermill.execute_notebook(*line.split(), progress_bar=False)
    return time.perf_counter() - start
"""


def main() -> None:
    options = _options()
    print(surroundings())
    for part in options.parts:
        print(f"\n## {part}\n")
        print(_PARTS[part](options.rounds, options.history))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="*", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--history", action="store_true", help="of IPython, for all of them")
    return parser.parse_args()


def notebooks(effort: Effort) -> list[Measure]:
    """All but what is written, with the history off and on."""
    return [
        part(effort.rounds(full, 1), history)
        for part, full in ((warm, 15), (many, 3), (cold, 5))
        for history in (False, True)
        if not (effort.quick and history and part is many)  # papermill takes its time
    ]


def warm(rounds: int, history: bool) -> Measure:
    return _by_server(CELLS, rounds, history, at_least=30)


def many(rounds: int, history: bool) -> Measure:
    return _by_server(MANY, rounds, history, at_least=10)


def _by_server(cells: int, rounds: int, history: bool, *, at_least: float) -> Measure:
    with ExitStack() as stack:
        field = Field(stack)
        options = [f"--Runs.warm=python3={READY}"]
        server = field.enter(_OURS, lambda: gateway(history=history, options=options))
        if server:
            field.add(_OURS, lambda: Submitted(server, cells))
        kernel = field.enter(_FLOOR, lambda: raw_kernel(history=history))
        if kernel:
            field.add(_FLOOR, lambda: Cells(kernel, cells))
        specs = stack.enter_context(_own_kernel("papermill", history=history))
        papermill = field.enter(_THEIRS, lambda: driver("papermill", _PAPERMILL, specs))
        if papermill:
            field.add(_THEIRS, lambda: Executed(papermill, cells))
        field.add(_COMMAND, partial(Command, _COMMAND, PAPERMILL, cells, specs))
        rivals = {_COMMAND: "`papermill`", _THEIRS: "papermill, imported before,"}
        if not history:  # as ours is shipped
            field.add(_SHIPPED, partial(Command, _SHIPPED, PAPERMILL, cells))
            rivals[_SHIPPED] = "`papermill` as shipped"
        found = field.alternate(rounds=rounds, calls=1)
    return Measure(
        name="notebooks",
        title=f"A notebook of {cells} cells on a warm server",
        setting=_setting(history),
        unit="ms",
        series=found,
        targets=tuple(
            Target(
                text=f"a notebook of {cells} cells on a warm server: {who} by ours",
                of=of,
                over=_OURS,
                bound="at least",
                limit=at_least,
            )
            for of, who in rivals.items()
        ),
        note=(
            "`POST /api/runs`, which brings the notebook back, on a server that keeps "
            f"{READY} kernels ready; papermill as the command, which has neither server nor kernel "
            "that could be kept ready, and in a process that has imported it. *As shipped* it has "
            "the kernelspec and the history of its own environment, as ours has its own. Raw "
            "ZeroMQ executes the cells one after the other on a kernel that is there, and makes no "
            "notebook of them."
        ),
    )


def cold(rounds: int, history: bool) -> Measure:
    found = _by_command({_RUN: (OURS, None), _EXECUTE: (NBCLIENT, "nbclient")}, CELLS)
    series = found(rounds, history)
    target = Target(
        text="a notebook by a cold command: nbclient by ours",
        of=_EXECUTE,
        over=_RUN,
        bound="at least",
        limit=1,
    )
    return Measure(
        name="notebooks",
        title=f"A notebook of {CELLS} cells, from the shell's prompt to the shell's prompt",
        setting=_setting(history),
        unit="ms",
        series=series,
        targets=(target,),
    )


def long(rounds: int, history: bool) -> Measure:
    found = _by_command({_RUN: (OURS, None), "papermill": (PAPERMILL, "papermill")}, MANY)
    return Measure(
        name="notebooks",
        title=f"A notebook of {MANY} cells, from the shell's prompt to the shell's prompt",
        setting=_setting(history),
        unit="ms",
        series=found(rounds, history),
    )


_OURS = "ours, POST /api/runs"
_FLOOR = "raw ZeroMQ, the cells alone"
_THEIRS, _COMMAND = "papermill.execute_notebook, imported", "papermill, the command"
_SHIPPED = "papermill, the command, as shipped"
_RUN, _EXECUTE = "kernel-gateway run", "jupyter execute (nbclient)"


def _by_command(
    commands: Mapping[str, tuple[Sequence[str | Path], str | None]], cells: int
) -> Callable[[int, bool], tuple[Series, ...]]:
    """Each with the environment that it is from, where that is not ours."""

    def measured(rounds: int, history: bool) -> tuple[Series, ...]:
        with ExitStack() as stack:
            field = Field(stack)
            for name, (command, package) in commands.items():
                whole = command if package else (*command, f"--Kernels.history={history}")
                specs = package and stack.enter_context(_own_kernel(package, history=history))
                field.add(name, partial(Command, name, whole, cells, specs))
            return field.alternate(rounds=rounds, calls=1)

    return measured


def written(rounds: int, history: bool) -> str:
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


def _shown(part: Callable[[int, bool], Measure]) -> Callable[[int, bool], str]:
    return lambda rounds, history: measure_table(part(rounds, history))


_PARTS: Mapping[str, Callable[[int, bool], str]] = {
    "warm": _shown(warm),
    "many": _shown(many),
    "cold": _shown(cold),
    "long": _shown(long),
    "written": written,
}
_WRITERS = (("kernel-gateway run", OURS), ("papermill", PAPERMILL))


def _setting(history: bool) -> str:
    return f"history {'on' if history else 'off'}"


@contextmanager
def _own_kernel(package: str, *, history: bool) -> Iterator[Path]:
    """For `JUPYTER_PATH`: the kernel of its own environment, with the history as asked."""
    python = str(CLIENTS / package / "bin/python")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        options = () if history else (NO_HISTORY,)
        write_spec(Path(folder), "python3", [python, *IPYKERNEL, "{connection_file}", *options])
        yield Path(folder)


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


class _Runner(ABC):
    """A contender: the whole of the notebook is one call, and its CPU is not told."""

    def round(self, calls: int) -> list[float]:
        return [self._timed() for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return {}

    @abstractmethod
    def _timed(self) -> float:
        """Seconds."""


class Cells(_Runner):
    """Those of the notebook, one after the other, by nothing above pyzmq: the floor."""

    def __init__(self, kernel: RawKernel, cells: int) -> None:
        self.name = f"raw ZeroMQ, {cells} cells"
        self._kernel = kernel
        self._cells = cells

    def _timed(self) -> float:
        start = time.perf_counter()
        for cell in notebook(self._cells)["cells"]:
            self._kernel.execute(cell["source"])
        return time.perf_counter() - start


class Submitted(_Runner):
    """`POST /api/runs` of a notebook, answered with the notebook when that is finished."""

    def __init__(self, server: Gateway, cells: int) -> None:
        self.name = f"POST /api/runs, {cells} cells"
        self._server = server
        self._cells = cells

    def _timed(self) -> float:
        self._server.await_warm(READY)
        http = self._server.connection()
        start = time.perf_counter()
        body = {"mode": "notebook", "notebook": notebook(self._cells)}
        done = http.call("POST", "/api/runs", body, wait_s=_WAIT_S, accept=_AS_NOTEBOOK)
        took = time.perf_counter() - start
        check(done, self._cells)
        return took


class Executed(_Runner):
    """`papermill.execute_notebook` in a process that has imported it."""

    def __init__(self, papermill: Driver, cells: int) -> None:
        self.name = f"papermill.execute_notebook, {cells} cells"
        self._papermill = papermill
        self._cells = cells

    def _timed(self) -> float:
        with _folder(self._cells) as folder:
            took = float(self._papermill.ask(f"{folder / IN} {folder / OUT}"))
            check(json.loads((folder / OUT).read_text()), self._cells)
        return took


class Command(_Runner):
    """From the shell's prompt to the shell's prompt."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        cells: int,
        specs: Path | str | None = None,
    ) -> None:
        self.name = f"{name}, {cells} cells"
        self._command = command
        self._cells = cells
        self._own = {"JUPYTER_PATH": str(specs)} if specs else {}

    def _timed(self) -> float:
        return self._run(self._cells)[0]

    def written(self, cells: int) -> int:
        return self._run(cells)[1]

    def _run(self, cells: int) -> tuple[float, int]:
        """Seconds, and bytes that the process has written, its store and its sockets included."""
        with _folder(cells) as folder:
            given = {name: os.environ[name] for name in os.environ if name != _UNUSUAL}
            environment = {
                **given,
                **self._own,
                "KERNEL_GATEWAY_DATA_DIR": f"{folder}/data",
            }
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


if __name__ == "__main__":
    main()
