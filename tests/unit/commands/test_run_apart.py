"""`commands/run.py`: what would replace what is of another run, or something else, is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.orders import Place
from kernel_gateway.commands.run import check_apart, check_harmless
from kernel_gateway.commands.running import Item
from kernel_gateway.notebook.bringing import Homes
from kernel_gateway.notebook.rendering import Form
from tests.unit.commands.done import order


def item(output: str | None, *, artifacts: str | None = None, page: str | None = None) -> Item:
    made = replace(
        order(output or "-"),
        file=None if output is None else Path(output),
        homes=Homes(work=Path("/w"), artifacts=Path(artifacts or f"{output}_artifacts")),
    )
    return Item(order=made, pages=() if page is None else ((Form.HTML, Path(page)),))


def place(name: str) -> Place:
    return Place(input=name, output="", values={})


def test_runs_that_have_nothing_in_common_may_be_run() -> None:
    places = [place("/i/a.ipynb"), place("s3://b/a.ipynb")]
    check_apart(places, [item("/i/a.ipynb", page="/o/a.html"), item(None, page="/o/b.html")])


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (item("/o/a"), item("/o/a", artifacts="x"), "Two runs would both write /o/a:"),
        (item("/o/a", artifacts="/x"), item("/o/b", artifacts="/y/../x"), "both write /x:"),
        (item("/o/a", page="/p"), item("/o/b", page="/q/../p"), "both write /p:"),
        (item("/i/b.ipynb"), item("/o/b"), "The output /i/b.ipynb is the input of another run."),
    ],
)
def test_what_is_of_another_run_is_not_replaced(first: Item, second: Item, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_apart([place("/i/a.ipynb"), place("/i/x/../b.ipynb")], [first, second])
    assert said in str(caught.value)


def check(folder: Path, **paths: str) -> None:
    """The notebook `in` has the output `out` and the answers `answers`; where are the others?"""
    named = {name: folder / path for name, path in paths.items()}
    page = named.pop("html", None)
    made = item(str(folder / "out"), page=None if page is None else str(page))
    read = {"--answers": folder / "answers"}
    written = {"--report": named.get("report"), "--log": named.get("log")}
    check_harmless([place(str(folder / "in"))], [made], read, written)


def test_reports_in_files_of_their_own_may_be_written(tmp_path: Path) -> None:
    check(tmp_path)
    check(tmp_path, report="junit.xml", log="log", html="page.html")
    check(tmp_path, report="/dev/null", log="/dev/null", html="/dev/null")


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ({"report": "in"}, "/in is an input: give it a file of its own."),
        ({"log": "x/../out"}, "/x/../out is an output:"),
        ({"html": "answers"}, "--html .*/answers is the file of --answers:"),
        ({"html": "a", "report": "a"}, "--report .*/a is the file of --html:"),
        ({"report": "a", "log": "link"}, "--log .*/link is the file of --report:"),
        ({"report": "none/a"}, "--report .*/none/a has no folder: make .*/none first."),
    ],
)
def test_no_report_replaces_what_is_something_else(
    tmp_path: Path, paths: dict[str, str], said: str
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(UsageError, match=said):
        check(tmp_path, **paths)
