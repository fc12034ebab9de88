"""One gateway for all tests of this folder, callers of its runs, and kernelspecs of odd kernels.

The gateway must have made no mistake in all of them. What a test starts or opens ends with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.main_job.gateway import Kernel, Server, serving, started_kernel
from tests.e2e.runs.caller import Caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

KERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
_LENGTH_KERNEL = Path(__file__).parents[1] / "jupyter" / "length_kernel.py"
#: It says how long its code is: a parser of Python takes half a minute for 30 MiB.
LENGTH_KERNEL = [sys.executable, str(_LENGTH_KERNEL), "-f", "{connection_file}"]

#: By the name of the kernelspec, the line of the shell before the kernel itself.
_WAIT = 'while [ ! -e "$GATE" ]; do sleep 0.05; done'
ODD_KERNELS = {
    "held-shut": _WAIT,
    "slow-start": "sleep 10",
    "wordy-start": "echo I am starting; echo and complain >&2",
    "broken": "echo no module frobnicate >&2; exit 3",
    "broken-behind-gate": (
        f'echo start >>"$(dirname "$GATE")/starts"; {_WAIT}; echo no module frobnicate >&2; exit 3'
    ),
}


def write_spec(
    folder: Path, name: str, before: str = ":", kernel: Sequence[str] = KERNEL, **env: str
) -> None:
    """A kernelspec, of ipykernel unless it is said, that does something else first."""
    spec = folder / name
    spec.mkdir(parents=True)
    argv = ["/bin/sh", "-c", f'{before}\nexec "$0" "$@"', *kernel]
    content = {"argv": argv, "display_name": name, "language": "python", "env": env}
    (spec / "kernel.json").write_text(json.dumps(content))


@pytest.fixture(scope="package")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that a kernel of `held-shut` waits for."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    for name, before in ODD_KERNELS.items():
        write_spec(folder / "specs", name, before, GATE=str(gate))
    write_spec(folder / "specs", "length", kernel=LENGTH_KERNEL)
    options = (f"--Kernels.spec_folders={folder / 'specs'}", "--Webhooks.allowed_hosts=127.0.0.1")
    with serving(folder / "data", *options) as server:
        yield server


@pytest.fixture
async def caller(server: Server) -> AsyncIterator[Caller]:
    caller = Caller(server)
    yield caller
    await caller.close()


@pytest.fixture
async def kernel(caller: Caller) -> AsyncIterator[Kernel]:
    """A test's own, ready. It may have been deleted."""
    kernel = await caller.kernel()
    yield kernel
    assert (await kernel.delete()).status in {204, 404}


@pytest.fixture(scope="package")
def shared_id(server: Server) -> str:
    """Of a kernel for all tests that leave it as they have found it."""
    return started_kernel(server)


@pytest.fixture
def shared(caller: Caller, shared_id: str) -> Kernel:
    return Kernel(caller, shared_id)


@pytest.fixture
def closed_gate(gate: Path) -> Iterator[Path]:
    """Kernels of `held-shut` wait until the test has made this file."""
    gate.unlink(missing_ok=True)
    yield gate
    gate.touch()
