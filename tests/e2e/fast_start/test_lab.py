"""Stock JupyterLab, in a real browser, with the kernelspec that starts fast.

Its packages are those of `.clients/lab`; they are found behind our own, as if it had been installed
where we are. One page does it all: to open it is what costs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fast_start.test_programs import SERVER, SPEC
from tests.e2e.lab.browser import BIN, Browser, Notebook, written
from tests.e2e.lab.server import TOKEN, Lab
from tests.e2e.main_job.gateway import HANG_LIMIT_S, Watched
from tests.shared.programs import needs

if TYPE_CHECKING:
    from pathlib import Path

(PEERS,) = (BIN.parent / "lib").glob("python*/site-packages")
APP = BIN.parent / "share/jupyter/lab"
BESIDE = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module('jupyterlab', run_name='__main__', alter_sys=True)"
)
WHO = (
    "import os, pathlib\n"
    "words = pathlib.Path(f'/proc/{os.getppid()}/cmdline').read_text().split(chr(0))\n"
    "print(os.getpid(), os.getppid(), *words[1:3])"
)
ENDLESS = "import time\nkept = 1\nprint('begun')\nwhile True: time.sleep(0.1)"
DEATH = "import os\nos._exit(3)"
AFTER = "print('kept' in globals(), os.getpid() if 'os' in globals() else None)"


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """To be entered."""
    folder = tmp_path / "browser"
    folder.mkdir()
    return Browser(needs("chromium"), folder)


def test_a_notebook_starts_fast_and_is_like_any_other(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, runtime = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    env = {"XDG_RUNTIME_DIR": str(runtime), "PYTHONWARNINGS": "ignore"}
    program = [sys.executable, "-c", BESIDE, str(PEERS)]
    with Lab(folder, program, f"--app-dir={APP}", env=env) as lab, browser:
        file = lab.folder / "fast.ipynb"
        written(file, SPEC, [WHO, ENDLESS, AFTER, DEATH])
        url = f"{lab.url}/lab/tree/{file.name}?reset&token={TOKEN}"
        page = Notebook(browser.new_page(), url, file).open()
        page.page.see(".jp-Toolbar-kernelName:has-text('Python 3 (fast start)')")

        page.run(0, 1)
        pid, server, *words = page.output(0).split()
        assert SERVER == words
        page.start(1)
        page.shown(1, "begun")
        page.button("interrupt")
        page.ended(1, 2).shown(1, "KeyboardInterrupt")
        page.run(2, 3).shown(2, f"True {pid}")

        page.restart()
        page.run(2, 1).shown(2, "False None")
        page.run(0, 2)
        second, same, *_ = page.output(0).split()
        assert server == same
        assert pid != second
        assert Watched(int(pid)).ended_within(HANG_LIMIT_S)

        page.start(3)
        page.accept("appears to have died")
        page.run(0, 1)
        third, same, *_ = page.output(0).split()
        assert server == same
        assert Watched(int(second)).ended_within(HANG_LIMIT_S)

        page.command("kernelmenu:shutdown")
        page.page.see(".jp-NotebookPanel .jp-Toolbar-kernelName:has-text('No Kernel')")
        assert Watched(int(third)).ended_within(HANG_LIMIT_S)
    assert Watched(int(server)).ended_within(HANG_LIMIT_S)
    assert not [line for line in lab.lines if "fork server" in line]
    assert [] == [*runtime.rglob("*.sock")]
