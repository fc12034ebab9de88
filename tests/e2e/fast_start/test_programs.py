"""Jupyter's own programs with the kernelspec that starts fast: they notice nothing but that.

Their packages are those of `.clients/jupyter`; they are found behind our own, as if they had been
installed where we are.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import LIMIT_S, ROOT, environment
from tests.e2e.main_job.gateway import HANG_LIMIT_S, Watched

DRIVER = Path(__file__).with_name("driver.py")
(PEERS,) = (ROOT / ".clients/jupyter/lib").glob("python*/site-packages")
BESIDE = "import runpy, sys; sys.path.append(sys.argv[2]); runpy.run_path(sys.argv.pop(1))"
SPEC = "kernel-gateway-python"
SERVER = ["-m", "kernel_gateway.fork_server"]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of a user find each other's servers."""
    runtime = tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    return runtime


@pytest.fixture(scope="module")
def told(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """By all of them, once for this module."""
    folder = tmp_path_factory.mktemp("programs")
    more = {"PYTHONWARNINGS": "ignore", "XDG_RUNTIME_DIR": str(runtime)}
    done = subprocess.run(
        [sys.executable, "-c", BESIDE, str(DRIVER), str(PEERS), str(folder), SPEC],
        cwd=folder,
        env=environment(folder, more),
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert "fork server" not in done.stderr
    return json.loads(done.stdout)


def test_notebooks_run_as_ever(told: Any) -> None:
    for program in ("nbclient", "papermill", "jupyter execute"):
        _, value = told[program]
        assert "42" == value


def test_all_kernels_come_from_one_server(told: Any) -> None:
    """Also those of two processes."""
    kernels = [told[program][0] for program in ("nbclient", "papermill", "jupyter execute")]
    kernels += [told["jupyter_client"][name] for name in ("first", "second")]
    assert [SERVER] * 5 == [words for _, _, words in kernels]
    assert 1 == len({server for _, server, _ in kernels})
    assert 5 == len({kernel for kernel, _, _ in kernels})


def test_a_kernel_is_interrupted_restarted_and_shut_down(told: Any) -> None:
    found = told["jupyter_client"]
    assert "KeyboardInterrupt" == found["interrupted"]
    assert "False\n" == found["kept"]
    assert [False] * 3 == found["alive"]


def test_a_kernel_that_dies_is_told(told: Any) -> None:
    assert "DeadKernelError" == told["dies"]


def test_the_server_goes_with_its_last_user(told: Any, runtime: Path) -> None:
    _, server, _ = told["nbclient"][0]
    assert Watched(server).ended_within(HANG_LIMIT_S)
    assert [] == [*runtime.rglob("*.sock")]
