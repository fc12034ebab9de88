"""One gateway and one Chromium for all tests of this folder; JupyterLab twice, one after the other.

`stock`: as it comes. `ours`: with the connection class of lab/. Each test has a notebook and a page
of its own. The gateway must have made no mistake in all of them, and no process may be left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.lab.browser import BIN, PYTHON, Browser, Notebook, written
from tests.e2e.lab.server import OURS, TOKEN, LabServer, Line, call
from tests.e2e.main_job.gateway import TOKEN as GATEWAY_TOKEN
from tests.e2e.main_job.gateway import Server, serving
from tests.shared.programs import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPEC = "notebooks"

OPTIONS = {"stock": [], "ours": [OURS]}


@pytest.fixture(scope="package", autouse=True)
def lab_is_there() -> None:
    if not (BIN / "jupyter-lab").exists():
        pytest.fail("there is no JupyterLab: run scripts/client-env", pytrace=False)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway as a caller of its REST API has it."""

    server: Server

    def call(self, verb: str, path: str, body: Any = None) -> Any:
        return call(self.server.url, GATEWAY_TOKEN, verb, path, body)

    def runs(self, kernel_id: str) -> list[Any]:
        """Of a kernel, newest first."""
        runs: list[Any] = self.call("GET", f"/api/runs?kernel={kernel_id}")["items"]
        return runs

    def text(self, uid: str, *, until: int | None = None) -> str:
        """What a run has printed: at its end, or as soon as there are so many lines."""
        text = ""
        after = 0
        while until is None or text.count("\n") < until:
            query = f"after={after}&stream=stdout&wait=10"
            page = self.call("GET", f"/api/runs/{uid}/log?{query}")
            text += "".join(part for _, _, part in page["items"])
            after = page["next"]
            if page["finished"]:
                break
        return text


@pytest.fixture(scope="package")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """With one kernelspec: the Python of the environment of JupyterLab."""
    folder = tmp_path_factory.mktemp("gateway")
    spec = folder / "specs" / SPEC
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps(kernelspec()))
    with serving(folder / "data", f"--Kernels.spec_folders={spec.parent}") as server:
        yield Gateway(server)


def kernelspec() -> dict[str, Any]:
    argv = ["-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return {
        "argv": [str(PYTHON), *argv],
        "display_name": "Notebooks",
        "language": "python",
        "metadata": {"debugger": True},
    }


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(needs("chromium"), tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="package", params=["stock", "ours"])
def lab(
    gateway: Gateway, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabServer]:
    folder = tmp_path_factory.mktemp("lab")
    with Line(gateway.server.port) as line, lab_server(folder, line, request.param) as lab:
        yield lab


def lab_server(folder: Path, line: Line, which: str, *options: str) -> LabServer:
    """To be entered."""
    return LabServer(folder, line, GATEWAY_TOKEN, *OPTIONS[which], *options)


@pytest.fixture
def notebook(
    lab: LabServer, browser: Browser, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """Opens one with these cells in a page of its own; its kernel is ended after the test."""
    page = browser.new_page()
    name = f"{request.node.originalname.removeprefix('test_')[:60]}.ipynb"
    file = lab.folder / name

    def opened(*cells: str) -> Notebook:
        written(file, SPEC, cells)
        return Notebook(page, f"{lab.url}/lab/tree/{name}?reset&token={TOKEN}", file).open()

    yield opened
    page.close()
    for session in lab.call("GET", "/api/sessions"):
        lab.call("DELETE", f"/api/sessions/{session['id']}")
    file.unlink(missing_ok=True)
