"""Real kernels for tests: launchers that are closed, kernelspecs that are written for one test."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.kernels.settings import KernelSettings
from tests.shared.kernels import Bench, Python, Started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

IPYKERNEL = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]


class MakeBench(Protocol):
    def __call__(self, **settings: Any) -> Bench: ...


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    """A bench with these `KernelSettings`; the kernelspecs of `write_spec` are found by it.

    Without a fork server: for one kernel that is more work than a start.
    """
    benches: list[Bench] = []

    def make(**settings: Any) -> Bench:
        folders = (tmp_path / "specs",)
        settings = {"fork_server": False, **settings}
        launcher = LocalLauncher(KernelSettings(spec_folders=folders, **settings))
        benches.append(Bench(launcher, Python()))
        return benches[-1]

    yield make
    for bench in benches:
        await bench.launcher.close()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


@pytest.fixture
async def kernel(bench: Bench) -> AsyncIterator[Started]:
    """An ipykernel that is ready; it is ended with the test."""
    kernel = await bench.ready()
    yield kernel
    await kernel.kernel.kill()
    await kernel.recorder.dead()


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., str]:
    """Write a kernelspec and give its name. Without `argv`: ipykernel."""

    def write(name: str = "made", argv: list[str] | None = None, **fields: Any) -> str:
        folder = tmp_path / "specs" / name
        folder.mkdir(parents=True)
        spec = {"argv": argv or IPYKERNEL, "display_name": name, "language": "python", **fields}
        (folder / "kernel.json").write_text(json.dumps(spec))
        return name

    return write


def python(code: str, *arguments: str) -> list[str]:
    """An argv that runs `code`."""
    return [sys.executable, "-c", code, *arguments]
