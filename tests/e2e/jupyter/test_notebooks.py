"""nbclient and papermill, through jupyter_server's manager of gateway kernels."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.e2e.jupyter.programs import LIMIT_S, PYTHON, blocks, environment
from tests.e2e.main_job.gateway import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DRIVER = Path(__file__).with_name("notebooks.py")
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)

CELLS = {
    "stdout": "for i in range(1000): print('line', i)",
    "stderr": "import sys; print('complaint', file=sys.stderr)",
    "result": "{'answer': 6 * 7}",
    "display": "display({'text/html': '<b>bold</b>', 'text/plain': 'bold'}, raw=True)",
    "picture": f"import base64\nfrom IPython.display import Image\n"
    f"Image(data=base64.b64decode('{PIXEL}'))",
    "update": "handle = display('before', display_id='it')\nhandle.update('after')",
    "clear": "from IPython.display import clear_output\n"
    "print('gone')\nclear_output()\nprint('here')",
    "folder": "from pathlib import Path\nprint(Path('data.txt').read_text())",
    "input": "input('Who? ')",
    "error": "def f(): return 1 / 0\nf()",
    "after it": "print('goes on')",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the Python of the clients' environment, so that both ways run the same."""
    folder = tmp_path_factory.mktemp("notebooks")
    spec = folder / "specs" / "python3"
    spec.mkdir(parents=True)
    argv = [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Python", "language": "python"})
    )
    with serving(folder / "data", f"--Kernels.spec_folders={spec.parent}") as server:
        yield server


@pytest.fixture
def manager(tmp_path: Path) -> str:
    """What the how-to has its readers save."""
    (code,) = (one for one in blocks("python") if "class TokenManager" in one)
    (tmp_path / "gateway_kernels.py").write_text(code)
    return "gateway_kernels.TokenManager"


def written(folder: Path, *codes: str) -> Path:
    path = folder / "source.ipynb"
    cells = [nbformat.v4.new_code_cell(code, id=f"cell-{n}") for n, code in enumerate(codes)]  # type: ignore[no-untyped-call]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)  # type: ignore[no-untyped-call]
    return path


def executed(
    folder: Path,
    server: Server | None,
    *,
    env: Mapping[str, str] | None = None,
    **how: Any,
) -> subprocess.CompletedProcess[str]:
    target = str(folder / "target.ipynb")
    asked = {"source": str(folder / "source.ipynb"), "target": target, "manager": None, **how}
    return subprocess.run(
        [PYTHON, DRIVER, json.dumps(asked)],
        cwd=folder,
        env={**environment(folder, server), **(env or {})},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def outputs(folder: Path) -> list[Any]:
    """Of all code cells; without what no two runs have in common."""
    text = (folder / "target.ipynb").read_text()
    text = re.sub(r"ipykernel_\d+/\d+", "ipykernel", text)
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [(cell.execution_count, cell.outputs) for cell in cells]


def test_a_notebook_by_nbclient_has_the_outputs_of_a_local_run(
    server: Server, manager: str, tmp_path: Path
) -> None:
    written(tmp_path, *CELLS.values())
    data = tmp_path / "elsewhere"
    data.mkdir()
    (data / "data.txt").write_text("found")
    how: dict[str, Any] = {
        "engine": "nbclient",
        "allow_errors": True,
        "resources": {"metadata": {"path": str(data)}},
    }
    there = executed(tmp_path, server, manager=manager, **how)
    assert 0 == there.returncode, there.stderr
    by_gateway = outputs(tmp_path)
    here = executed(tmp_path, None, **how)
    assert 0 == here.returncode, here.stderr
    assert outputs(tmp_path) == by_gateway
    by_name = dict(zip(CELLS, (told for _, told in by_gateway), strict=True))
    assert "found\n" == by_name["folder"][0].text
    assert PIXEL == by_name["picture"][0].data["image/png"].strip()
    assert "StdinNotImplementedError" == by_name["input"][0].ename
    assert "ZeroDivisionError" == by_name["error"][0].ename
    assert "goes on\n" == by_name["after it"][0].text


def test_papermill_gives_its_parameters_and_its_folder(
    server: Server, manager: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "year = 1", "print(year)", CELLS["folder"])
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    notebook.cells[0].metadata.tags = ["parameters"]
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
    data = tmp_path / "elsewhere"
    data.mkdir()
    (data / "data.txt").write_text("found")
    done = executed(
        tmp_path,
        server,
        engine="papermill",
        manager=manager,
        parameters={"year": 2026},
        kernel_name="python3",
        env={"KERNEL_WORKING_DIR": str(data)},
    )
    assert 0 == done.returncode, done.stderr
    printed = [told[0].text for _, told in outputs(tmp_path) if told]
    assert ["2026\n", "found\n"] == printed


@pytest.mark.parametrize("engine", ["nbclient", "papermill"])
def test_a_kernel_that_dies_ends_a_notebook_with_an_error(
    server: Server, manager: str, tmp_path: Path, engine: str
) -> None:
    written(tmp_path, "print('first')", "import os\nos.kill(os.getpid(), 9)", "print('never')")
    how: dict[str, Any] = {"kernel_name": "python3"} if engine == "papermill" else {}
    done = executed(tmp_path, server, engine=engine, manager=manager, **how)
    assert 1 == done.returncode
    assert "The kernel died (killed by SIGKILL)." in done.stderr
    told = [[getattr(one, "ename", None) for one in cell] for _, cell in outputs(tmp_path)]
    assert ["KernelDied"] in told
    assert "never" not in (tmp_path / "target.ipynb").read_text().replace("print('never')", "")


def test_jupyter_servers_own_manager_sends_no_token_on_its_websocket(
    server: Server, tmp_path: Path
) -> None:
    """Why the how-to has a class. When this fails, that class has become superfluous."""
    written(tmp_path, "1 + 1")
    done = executed(
        tmp_path,
        server,
        engine="nbclient",
        manager="jupyter_server.gateway.managers.GatewayKernelManager",
    )
    assert 1 == done.returncode
    assert "Handshake status 401 Unauthorized" in done.stderr


def test_the_programs_of_the_howto_run_as_they_stand_there(
    server: Server, manager: str, tmp_path: Path
) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "data.txt").write_text("found")
    variables = next(one for one in blocks("sh") if "JUPYTER_GATEWAY_URL=" in one)
    assert "JUPYTER_GATEWAY_AUTH_TOKEN=" in variables
    env = environment(tmp_path, server)

    def started(number: int, name: str) -> subprocess.Popen[str]:
        """In a folder of its own, with a notebook to be executed."""
        (program,) = (one for one in blocks("python") if name in one)
        program = program.replace("/data/reports", str(reports))
        program = program.replace("http://127.0.0.1:8888", server.url)
        program = program.replace("a-secret-of-yours", env["JUPYTER_GATEWAY_AUTH_TOKEN"])
        folder = tmp_path / str(number)
        folder.mkdir()
        written(folder, CELLS["folder"]).rename(folder / "report.ipynb")
        return subprocess.Popen(
            [PYTHON, "-c", program],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    names = ("NotebookClient(", "papermill.execute_notebook(", "JupyterKernelClient(")
    programs = [started(number, name) for number, name in enumerate(names)]
    ended = [(*one.communicate(timeout=LIMIT_S), one.returncode) for one in programs]
    assert [0, 0, 0] == [code for _, _, code in ended], ended
    for number in (0, 1):
        assert "found\\n" in (tmp_path / str(number) / "done.ipynb").read_text()
    assert "'text/plain': '42'" in ended[2][0]
