"""`commands/orders.py`: what is run, with which values, and where it goes."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.orders import Place, places

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def placed(
    *names: str, output_dir: str | None = None, matrix: tuple[str, ...] = (), **values: Json
) -> list[Place]:
    return places(names, output_dir, matrix, values, new_id=lambda: "id", now=NOW)


def outputs(*names: str, output_dir: str | None = None, matrix: tuple[str, ...] = ()) -> list[str]:
    return [place.output for place in placed(*names, output_dir=output_dir, matrix=matrix)]


def test_one_name_has_its_output_beside_it() -> None:
    assert [Place(input="x/a.ipynb", output="x/a.out.ipynb", values={"p": 1})] == placed(
        "x/a.ipynb", p=1
    )


def test_of_two_names_the_second_is_the_output() -> None:
    assert ["b.ipynb"] == outputs("a.ipynb", "b.ipynb")


def test_with_a_folder_for_the_outputs_all_names_are_inputs() -> None:
    found = placed("x/a.ipynb", "s3://bucket/b.ipynb", output_dir="out/")
    assert ["x/a.ipynb", "s3://bucket/b.ipynb"] == [place.input for place in found]
    assert ["out/a.out.ipynb", "out/b.out.ipynb"] == [place.output for place in found]
    assert ["/a.out.ipynb"] == outputs("a.ipynb", output_dir="/")


def test_braces_are_filled_in_only_where_they_were_given_as_an_output() -> None:
    assert ["r{1}.out.ipynb"] == outputs("r{1}.ipynb")
    assert ["r{1}.n=1.out.ipynb"] == outputs("r{1}.ipynb", matrix=("n=1",))
    assert ["out/1/r{1}.out.ipynb"] == outputs("r{1}.ipynb", output_dir="out/{n}", matrix=("n=1",))


def test_a_matrix_is_every_combination_named_in_the_output() -> None:
    found = placed("a.ipynb", matrix=("n=1,2.5", "s=x,None"), n=9, other=0)
    assert [
        ("a.n=1.s=x.out.ipynb", {"n": 1, "s": "x", "other": 0}),
        ("a.n=1.s=null.out.ipynb", {"n": 1, "s": None, "other": 0}),
        ("a.n=2.5.s=x.out.ipynb", {"n": 2.5, "s": "x", "other": 0}),
        ("a.n=2.5.s=null.out.ipynb", {"n": 2.5, "s": None, "other": 0}),
    ] == [(place.output, place.values) for place in found]


def test_a_combination_stands_before_the_ending() -> None:
    assert ["out/r.n=1.ipynb"] == outputs("a.ipynb", "out/r.ipynb", matrix=("n=1",))
    assert ["out/r.n=1"] == outputs("a.ipynb", "out/r", matrix=("n=1",))
    assert ["-"] == outputs("a.ipynb", "-", matrix=("n=1",))


def test_values_may_be_a_list_in_yaml() -> None:
    found = placed("a.ipynb", matrix=("n=[1, 'a,b', {k: [2]}]",))
    assert [1, "a,b", {"k": [2]}] == [place.values["n"] for place in found]


def test_values_make_safe_names_of_files_that_are_never_the_same() -> None:
    found = outputs("a.ipynb", matrix=("n=../x y,/x\0y," + "é" * 50,))
    assert ["a.n=.._x_y.out.ipynb", "a.n=_x_y.out.ipynb", f"a.n={'é' * 40}.out.ipynb"] == found
    assert ["a.n=x_y-1.out.ipynb", "a.n=x_y-2.out.ipynb"] == outputs(
        "a.ipynb", matrix=("n=x y,x/y",)
    )


def test_names_in_braces_are_filled_in_and_then_nothing_is_added() -> None:
    template = "out/{region}-{run_uuid}.ipynb"
    assert ["out/eu-id.ipynb", "out/us-id.ipynb"] == outputs(
        "a.ipynb", template, matrix=("region=eu,us",)
    )


@pytest.mark.parametrize(
    ("names", "output_dir", "matrix", "sentence"),
    [
        ((), None, (), "A notebook and perhaps an output are needed, not 0 names"),
        ((), "out", (), "not 0 names"),
        (("a", "b", "c"), None, (), "Several notebooks need --output-dir DIR"),
        (("x/a", "y/a"), "out", (), "Two runs would both write out/a.out.ipynb"),
        (("-",), "out", (), "Standard input has no name"),
        (("-",), None, ("n=1,2",), "Two runs would both write -"),
        (("-", "o.ipynb"), None, ("n=1,2",), "Standard input and output are of one run alone"),
        (("a", "{no}"), None, (), "{no} cannot be filled in"),
        (("a",), None, ("n",), "--matrix takes NAME=VALUE"),
        (("a",), None, ("=1",), "--matrix takes NAME=VALUE"),
        (("a",), None, ("n=",), "--matrix takes NAME=VALUE"),
        (("a",), None, ("n=[1",), "--matrix n: is not YAML"),
        (("a",), None, ("n=[]",), "--matrix n: there are no values in []"),
        (("a",), None, ("n=1", "n=2"), "names the same parameter twice"),
    ],
)
def test_what_makes_no_sense_is_refused(
    names: tuple[str, ...], output_dir: str | None, matrix: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        outputs(*names, output_dir=output_dir, matrix=matrix)
    assert sentence in str(caught.value)
