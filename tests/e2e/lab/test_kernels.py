"""What becomes of a notebook's kernel: interrupts, restarts, deaths, pages that are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import HANG_LIMIT_S, Watched

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.lab.browser import Notebook
    from tests.e2e.lab.conftest import Gateway

    Opening = Callable[..., Notebook]

DIED = "appears to have died"


def test_the_button_interrupts_a_cell(notebook: Opening) -> None:
    page = notebook("import time\nprint('begun')\nwhile True: time.sleep(0.1)", "'goes on'")
    page.start(0)
    page.shown(0, "begun")
    page.button("interrupt")
    page.ended(0, 1).shown(0, "KeyboardInterrupt")
    page.run(1, 2).shown(1, "goes on")


def test_after_a_restart_nothing_is_left_and_nobody_has_died(notebook: Opening) -> None:
    page = notebook("kept = 1", "'kept' in globals()").run(0, 1)
    page.restart()
    page.run(1, 1).shown(1, "False")
    assert not page.page.shows(f".jp-Dialog:has-text('{DIED}')")


def test_a_restart_ends_a_cell_that_runs(notebook: Opening) -> None:
    page = notebook("import time\nprint('begun')\nwhile True: time.sleep(0.1)", "'goes on'")
    page.start(0)
    page.shown(0, "begun")
    page.restart()
    page.run(1, 1).shown(1, "goes on")
    assert not page.page.shows(f".jp-Dialog:has-text('{DIED}')")


def test_a_kernel_that_dies_is_told_and_comes_back(notebook: Opening) -> None:
    page = notebook("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "'goes on'")
    page.start(0)
    page.accept(DIED)
    page.ready()
    page.run(1, 1).shown(1, "goes on")


def test_a_page_that_is_closed_ends_nothing(
    notebook: Opening, gateway: Gateway, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    page = notebook(
        "import os, time\nprint('begun')\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('done')"
    )
    kernel_id = page.kernel_id()
    page.start(0)
    page.shown(0, "begun")
    page.page.do("goto", "about:blank")
    (run,) = gateway.runs(kernel_id)
    assert "running" == run["state"]
    gate.touch()
    assert "begun\ndone\n" == gateway.text(run["uid"])


def test_the_debugger_shows_variables(notebook: Opening) -> None:
    page = notebook("answer = 6 * 7")
    page.button("debugger-icon")
    page.page.see('[data-jp-item-name="debugger-icon"] [aria-pressed="true"]')
    page.run(0, 1)
    page.page.until(
        "text => document.querySelector('.jp-DebuggerVariables')?.textContent.includes(text)",
        "answer",
    )


def test_shutting_down_leaves_no_process(notebook: Opening, gateway: Gateway) -> None:
    page = notebook("import os\nprint(os.getpid())").run(0, 1)
    kernel = Watched(int(page.output(0)))
    assert page.kernel_id() in [one["id"] for one in gateway.call("GET", "/api/kernels")]
    page.command("kernelmenu:shutdown")
    assert kernel.ended_within(HANG_LIMIT_S)
    page.page.see(".jp-NotebookPanel .jp-Toolbar-kernelName:has-text('No Kernel')")
    assert [] == gateway.call("GET", "/api/kernels")
