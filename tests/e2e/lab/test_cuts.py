"""The line between Jupyter's server and the gateway is cut in the middle of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.lab.browser import Notebook
    from tests.e2e.lab.conftest import Gateway
    from tests.e2e.lab.server import LabServer, Line

    Opening = Callable[..., Notebook]

#: Prints numbers until it is told to stop; the last is a word.
COUNTING = """
import itertools, os, time
for n in itertools.count():
    print(n, flush=True)
    time.sleep(0.005)
    if os.path.exists({stop!r}): break
print('end')
"""

MISSED = 200  # lines, at the least, that are printed while the line is cut


@pytest.fixture
def line(lab: LabServer) -> Iterator[Line]:
    """Whole again after the test, whatever came of it."""
    yield lab.line
    lab.line.do("mend")


def test_nothing_is_lost(
    notebook: Opening, line: Line, gateway: Gateway, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stop = tmp_path / "stop"
    page = notebook(COUNTING.format(stop=str(stop)), "'goes on'")
    page.start(0)
    page.shown(0, f"\n{MISSED}\n")
    (run,) = gateway.runs(page.kernel_id())
    line.do("cut")
    begin = gateway.text(run["uid"], until=0).count("\n")
    gateway.text(run["uid"], until=begin + MISSED)
    line.do("mend")
    page.shown(0, f"\n{begin + MISSED}\n")
    stop.touch()
    page.ended(0, 1).shown(0, "end")
    printed = numbers(gateway.text(run["uid"]))
    shown = numbers(page.output(0))
    assert list(range(len(printed))) == printed
    if request.node.callspec.params["lab"] == "stock":  # what it has twice it shows twice
        shown = list(dict.fromkeys(shown))
    assert printed == shown
    page.run(1, 2).shown(1, "goes on")


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split() if word.isdecimal()]


@pytest.mark.parametrize("lab", ["ours"], indirect=True)
def test_a_cell_that_is_run_meanwhile_is_run_when_the_line_is_there_again(
    notebook: Opening, line: Line, gateway: Gateway
) -> None:
    page = notebook("'meanwhile'", "'after it'")
    line.do("cut")
    page.start(0)
    page.start(1)
    page.prompted(0, "[*]:").prompted(1, "[*]:")
    assert [] == gateway.runs(page.kernel_id())
    line.do("mend")
    page.ended(0, 1).shown(0, "meanwhile")
    page.ended(1, 2).shown(1, "after it")
    assert 2 == len(gateway.runs(page.kernel_id()))
