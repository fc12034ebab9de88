"""`commands/run.py`: runs that would replace what is of another one are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.orders import Place
from kernel_gateway.commands.run import check_apart
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
