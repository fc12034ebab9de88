"""Several notebooks by one command, its reports, and what is left when it is killed."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from tests.e2e.commands import LIMIT_S, ROOT, run, started
from tests.e2e.test_run_command import Output, notebook, until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

PAGES = """
import sys
from pathlib import Path
source = Path(sys.argv[-1])
source.with_suffix(".html").write_text(f"<html>{len(source.read_text()) > 0}</html>")
"""

#: A kernel that dies once.
FLAKY = (
    "import os, time\n"
    "if not os.path.exists('died'):\n"
    "    open('died', 'w').close()\n"
    "    os._exit(3)\n"
    "print('fine')"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("many")


@pytest.fixture(scope="module")
def process(folder: Path) -> subprocess.CompletedProcess[str]:
    """Two notebooks, twice each, with all reports: what the tests below look at."""
    package = folder / "packages" / "nbconvert"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PAGES)
    notebook(folder / "good.ipynb", "print('n is', 1)")
    notebook(folder / "bad.ipynb", FLAKY, "print('b')\n1 / 0", "print('c')")
    path = os.pathsep.join([str(package.parent), str(ROOT)])
    return run(
        folder,
        *["run", "good.ipynb", "bad.ipynb", "--output-dir=out", "--matrix", "n=1,2", "--jobs=2"],
        *["--retries=1", "--report=junit.xml", "--html=pages", "--log=log.jsonl"],
        env={"PYTHONPATH": path},
    )


def test_each_notebook_is_run_once_for_each_value(
    folder: Path, process: subprocess.CompletedProcess[str]
) -> None:
    assert 1 == process.returncode, process.stderr
    states = {
        path.name: [state for state in Output(path).states if state != "ok"]
        for path in (folder / "out").iterdir()
    }
    assert {
        "good.n=1.out.ipynb": [],
        "good.n=2.out.ipynb": [],
        "bad.n=1.out.ipynb": ["error", "not-run"],
        "bad.n=2.out.ipynb": ["error", "not-run"],
    } == states


def test_the_table_is_the_last_that_is_said(process: subprocess.CompletedProcess[str]) -> None:
    *_, head, first, second, third, fourth, count = process.stderr.splitlines()
    assert ["OUTPUT", "OUTCOME", "CELLS", "TIME", "WHY"] == head.split()
    assert ["ok", "ok", "error", "error"] == [
        line.split()[1] for line in (first, second, third, fourth)
    ]
    assert "2 of 4 notebooks are ok." == count
    assert "" == process.stdout
    assert "out/bad.n=1.out.ipynb: [1/" in process.stderr


def test_a_kernel_that_died_is_tried_once_more(
    folder: Path, process: subprocess.CompletedProcess[str]
) -> None:
    told = [Output(path).told for path in sorted((folder / "out").glob("bad.*"))]
    attempts = [one["attempts"] for one in told if "attempts" in one]
    assert attempts
    assert {"kernel_died"} == {one[0]["reason"]["code"] for one in attempts}
    assert "Attempt 2 begins." in process.stderr


def test_reports_are_of_all_also_of_those_that_failed(
    folder: Path, process: subprocess.CompletedProcess[str]
) -> None:
    suites = ET.parse(folder / "junit.xml").getroot()
    assert [("0", "0"), ("0", "0"), ("1", "1"), ("1", "1")] == [
        (suite.get("failures"), suite.get("skipped")) for suite in suites
    ]
    pages = {path.name: path.read_text() for path in (folder / "pages").iterdir()}
    assert {"<html>True</html>"} == set(pages.values())
    assert "bad.n=1.out.html" in pages
    assert 4 == len(pages)


def test_the_log_has_the_records_of_all(
    folder: Path, process: subprocess.CompletedProcess[str]
) -> None:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    by_uid: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_uid.setdefault(line["uid"], []).append(line)
    uids = {Output(path).told["run"]["uid"] for path in (folder / "out").iterdir()}
    assert uids <= by_uid.keys()
    for of_one in by_uid.values():
        assert list(range(1, len(of_one) + 1)) == [line["seq"] for line in of_one]
        assert 1 == [line["kind"] for line in of_one].count("completed")


def test_what_was_killed_is_finished_by_recover(tmp_path: Path) -> None:
    """What was printed last was saved nowhere but in the log."""
    notebook(
        tmp_path / "in.ipynb",
        "print('one')",
        "import time\nprint('two', flush=True)\ntime.sleep(600)",
        "print('three')",
    )
    with started(tmp_path, "run", "in.ipynb", "--log=log.jsonl") as process:
        log = tmp_path / "log.jsonl"
        until(lambda: log.exists() and "two\\n" in log.read_text())
        listed = run(tmp_path, "recover", "--list")
        assert ["OUTPUT  FOLDER"] == listed.stdout.splitlines()  # it lives
        (folder,) = (tmp_path / "data" / "headless").iterdir()
        early = run(tmp_path, "recover", str(folder))
        assert (2, True) == (early.returncode, "goes on; there is nothing" in early.stderr)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT_S)
    output = tmp_path / "in.out.ipynb"
    done = run(tmp_path, "recover")
    assert (0, "") == (done.returncode, done.stderr)
    assert [
        f"lost: cell 2: The gateway was killed while the run was in progress. -> {output}"
    ] == done.stdout.splitlines()
    assert ["ok", "died", "not-run"] == Output(output).states
    assert ["one\n", "two\n"] == [Output(output).text(cell) for cell in (0, 1)]
    assert [] == list((tmp_path / "data" / "headless").iterdir())
    assert "There is nothing to finish.\n" == run(tmp_path, "recover").stderr
