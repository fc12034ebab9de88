"""Cells of a notebook in JupyterLab: what they print, show and ask, and how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.lab.browser import cell

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.lab.browser import Notebook
    from tests.e2e.lab.conftest import Gateway

    Opening = Callable[..., Notebook]

LINES = 100_000
FILL = "." * 93  # 100 bytes a line with its number and its end


def test_what_a_cell_prints_and_gives_is_under_it(notebook: Opening) -> None:
    page = notebook("for word in ('one', 'two'): print(word)\n'three'").run(0, 1)
    assert ["one", "two", "[1]:", "'three'"] == page.output(0).split()
    saved = page.saved()[0]
    assert ["one\n", "two\n"] == saved["outputs"][0]["text"]
    assert 1 == saved["execution_count"]


def test_an_error_is_shown_with_its_traceback(notebook: Opening) -> None:
    page = notebook("def halved(n): return n / 0\nhalved(3)").run(0, 1)
    shown = page.output(0)
    assert shown.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "halved(3)" in shown
    assert "error" == page.saved()[0]["outputs"][0]["output_type"]


def test_a_plot_is_a_picture(notebook: Opening) -> None:
    page = notebook("from matplotlib import pyplot\n_ = pyplot.plot([1, 3, 2])").run(0, 1)
    page.page.until(
        "selector => document.querySelector(selector)?.naturalWidth > 100",
        f"{cell(0)} .jp-RenderedImage img",
    )


def test_a_cell_that_asks_gets_what_is_typed(notebook: Opening) -> None:
    page = notebook("name = input('Who? ')\nprint(f'Hello, {name}!')")
    page.start(0)
    page.answer("Ada").ended(0, 1)
    assert "Who?  Ada" in page.output(0)
    assert "Hello, Ada!" in page.output(0)


def test_a_bar_of_progress_is_one_bar_in_the_end(notebook: Opening) -> None:
    page = notebook(
        "from time import sleep\nfrom tqdm import tqdm\nfor _ in tqdm(range(40)): sleep(0.01)"
    ).run(0, 1)
    (bar,) = page.output(0).strip().splitlines()
    assert bar.startswith("100%|")
    assert "40/40" in bar


def test_after_an_error_no_more_cells_are_run(notebook: Opening, gateway: Gateway) -> None:
    page = notebook("print('before')", "1 / 0", "print('behind')", "print('at the end')")
    page.command("notebook:run-all-cells")
    page.shown(1, "ZeroDivisionError").ended(1, 2)
    page.prompted(2, "[ ]:").prompted(3, "[ ]:")
    assert [1, 2, None, None] == [one["execution_count"] for one in page.saved()]
    page.run(2, 3).shown(2, "behind")
    outcomes = [run["outcome"] for run in gateway.runs(page.kernel_id())]
    assert ["ok", "error", "ok"] == [one for one in outcomes if one in {"ok", "error"}]


def test_ten_megabytes_are_all_there(notebook: Opening, gateway: Gateway) -> None:
    page = notebook(
        f"for start in range(0, {LINES}, 1000):\n"
        f"    print('\\n'.join(f'{{n:06}}{FILL}' for n in range(start, start + 1000)))"
    ).run(0, 1)
    page.shown(0, f"{LINES - 1:06}")
    expected = [f"{n:06}{FILL}" for n in range(LINES)]
    outputs = page.saved()[0]["outputs"]
    text = "".join("".join(output["text"]) for output in outputs)
    assert expected == text.splitlines()
    (run,) = gateway.runs(page.kernel_id())
    assert expected == gateway.text(run["uid"]).splitlines()
