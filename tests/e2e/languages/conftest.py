"""One gateway for all languages, with their kernelspecs, and one kernel of each while it is tested.

Kernels from .clients/languages, which scripts/client-env makes, and R where Debian's package has
put it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.main_job.gateway import Server, serving
from tests.e2e.runs.caller import Caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SPECS = Path(__file__).parents[3] / ".clients/languages/share/jupyter/kernels"
R = ["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"]


@pytest.fixture(scope="package")
def specs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of kernelspecs."""
    if not SPECS.exists():
        pytest.fail("there are no kernels: run scripts/client-env", pytrace=False)
    folder = tmp_path_factory.mktemp("specs")
    if shutil.which("R"):
        (folder / "ir").mkdir()
        spec = {"argv": R, "display_name": "R", "language": "R"}
        (folder / "ir/kernel.json").write_text(json.dumps(spec))
    elif os.environ.get("CI"):
        pytest.fail("there is no R: apt-get install r-cran-irkernel", pytrace=False)
    return [SPECS, folder]


@pytest.fixture(scope="package")
def server(specs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    options = [f"--Kernels.spec_folders={path}" for path in specs]
    with serving(folder / "data", *options) as server:
        yield server


@pytest.fixture
async def caller(server: Server) -> AsyncIterator[Caller]:
    caller = Caller(server)
    yield caller
    await caller.close()
