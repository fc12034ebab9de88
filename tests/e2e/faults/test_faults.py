"""`kernel-gateway run` on notebooks that go wrong: exit code, file, steps and reason."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e import commands
from tests.e2e.commands import LIMIT_S, started
from tests.e2e.faults.notebooks import FAULTS, KILLED, MARK, Deed, Fault
from tests.e2e.test_run_command import Output, until
from tests.shared.processes import is_alive

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def small(tmp_path: Path) -> Iterator[None]:
    """What a run leaves in its folder is not kept for later looks: hundreds of megabytes."""
    yield
    for path in tmp_path.rglob("*.ipynb"):
        path.unlink()


def run(folder: Path, fault: Fault) -> int:
    """Its exit code."""
    (folder / "in.ipynb").write_text(json.dumps(fault.notebook()))
    with started(folder, "run", "in.ipynb", "out.ipynb", *fault.arguments()) as process:
        if fault.deed is not None:
            do(fault.deed, process, folder / MARK)
        process.communicate(timeout=LIMIT_S)
    return process.returncode


def do(deed: Deed, process: subprocess.Popen[str], mark: Path) -> None:
    whom, number = deed.value
    until(lambda: mark.exists() and mark.read_text())
    os.kill(process.pid if whom == "runner" else int(mark.read_text()), number)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.title)
def test_whatever_goes_wrong_is_told_and_what_was_printed_is_kept(
    fault: Fault, tmp_path: Path
) -> None:
    exit_code = run(tmp_path, fault)
    output = Output(tmp_path / "out.ipynb")
    assert fault.exit_code == exit_code
    assert (fault.states, fault.reason) == (tuple(output.states), output.reason)
    assert fault.texts == tuple(output.text(cell) for cell in range(len(fault.cells)))
    assert not (tmp_path / MARK).exists() or not is_alive(int((tmp_path / MARK).read_text()))


def test_a_kernel_that_takes_more_memory_than_there_is(tmp_path: Path, small_group: Path) -> None:
    """Killed by the system, and the reason says why; where control groups can be made."""
    enter = f'echo $$ > {small_group}/cgroup.procs; exec "$0" "$@"'
    kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": ["sh", "-c", enter, *kernel], "display_name": "S", "language": "python"}
    (tmp_path / "specs/small").mkdir(parents=True)
    (tmp_path / "specs/small/kernel.json").write_text(json.dumps(spec))
    fault = Fault(
        title="out of memory",
        cells=("print('one')", "filled = bytearray(b'x') * 2**29", "print('never')"),
        texts=("one\n", "", ""),
        exit_code=6,
        states=("ok", "died", "not-run"),
        reason="out_of_memory",
        metadata={},
        options=("-k", "small", f"--Kernels.spec_folders={tmp_path / 'specs'}"),
    )
    assert fault.exit_code == run(tmp_path, fault)
    output = Output(tmp_path / "out.ipynb")
    assert (fault.states, fault.reason) == (tuple(output.states), output.reason)
    assert "one\n" == output.text(0)


def test_a_runner_that_is_killed_leaves_no_kernel_and_a_log_that_completes_the_file(
    tmp_path: Path,
) -> None:
    assert KILLED.exit_code == run(tmp_path, KILLED)
    kernel = int((tmp_path / MARK).read_text())
    until(lambda: not is_alive(kernel))
    Output(tmp_path / "out.ipynb")  # as it was last saved: whole and valid
    recovering = commands.run(tmp_path, "recover")
    assert 0 == recovering.returncode, recovering.stderr
    output = Output(tmp_path / "out.ipynb")
    assert (KILLED.states, KILLED.reason) == (tuple(output.states), output.reason)
    assert KILLED.texts == tuple(output.text(cell) for cell in range(3))
