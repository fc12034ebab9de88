"""`kernel-gateway run --server`: files go there, all that becomes of the run comes back."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.commands import LIMIT_S, Served, run, served, started
from tests.shared.notebooks import code_notebook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as one:
        yield one
        code, _ = one.stop()
        assert 0 == code


def write(folder: Path, *cells: str) -> str:
    (folder / "in.ipynb").write_text(json.dumps(code_notebook(*cells)))
    return "in.ipynb"


def cells_of(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_files_go_there_and_come_home_and_the_token_is_on_no_command_line(
    server: Served, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/numbers.csv").write_text("1,2")
    (tmp_path / "stays.txt").write_text("here")
    notebook = write(
        tmp_path,
        "import os\nprint(sorted(os.listdir()), open('data/numbers.csv').read())",
        "open('data/sum.csv', 'w').write('3')",
        "from kernel_gateway import scope\n"
        "_ = (scope.current_run().artifact_dir / 'model.txt').write_text('m')",
        "raise SystemExit(1)",
    )
    ran = run(
        tmp_path,
        *("run", f"--server={server.url}", "--upload=data", notebook, "out.ipynb"),
        env={"KERNEL_GATEWAY_TOKEN": server.token},
    )
    assert 1 == ran.returncode, ran.stderr
    printed = "".join(cells_of(tmp_path / "out.ipynb")[0]["outputs"][0]["text"])
    assert "['data'] 1,2\n" == printed
    assert "3" == (tmp_path / "data/sum.csv").read_text()
    assert "m" == (tmp_path / "out_artifacts/model.txt").read_text()
    home = f"Brought 1 file in {tmp_path} and 1 file in {tmp_path}/out_artifacts"
    assert home in ran.stderr


def test_ctrl_c_passes_through(server: Served, tmp_path: Path) -> None:
    notebook = write(tmp_path, "print('begun', flush=True)\nimport time; time.sleep(600)", "2")
    env = {"KERNEL_GATEWAY_TOKEN": server.token}
    arguments = ("run", f"--server={server.url}", "--log-output", notebook, "out.ipynb")
    with started(tmp_path, *arguments, env=env) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "begun\n":
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    assert 130 == process.returncode
    states = [
        cell["metadata"]["kernel_gateway"]["state"] for cell in cells_of(tmp_path / "out.ipynb")
    ]
    assert ["cancelled", "not-run"] == states
    (newest, *_) = server.call("GET", "/api/runs")[1]["items"]
    assert ("cancelled", "interrupted") == (newest["outcome"], newest["reason"]["message"])


def test_a_gateway_that_is_not_there_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    notebook = write(tmp_path, "1")
    ran = run(tmp_path, "run", "--server=http://127.0.0.1:9/?token=t", notebook, "out.ipynb")
    assert (1, False) == (ran.returncode, (tmp_path / "out.ipynb").exists())
    assert "does not answer" in ran.stderr
