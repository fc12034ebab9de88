"""`commands/ordered.py`: options with several values, in the order in which they are given."""

from __future__ import annotations

import pytest
from traitlets.config.loader import ArgumentError

from kernel_gateway.commands.ordered import GivenOption, OrderedOption, help_lines, taken

PAIR = OrderedOption(names=("p", "pair"), values=("NAME", "VALUE"), help="Two.")
FILE = OrderedOption(names=("f", "file"), values=("FILE",), help="One.")
OPTIONS = (PAIR, FILE)


def test_they_are_taken_in_their_order_and_the_rest_is_left() -> None:
    argv = ["in.ipynb", "-p", "a", "1", "--cwd=x", "-f", "b", "--pair", "c", "2", "out.ipynb"]
    given = [
        GivenOption(PAIR, ("a", "1")),
        GivenOption(FILE, ("b",)),
        GivenOption(PAIR, ("c", "2")),
    ]
    assert (given, ["in.ipynb", "--cwd=x", "out.ipynb"]) == taken(argv, OPTIONS)


def test_a_value_may_look_like_an_option() -> None:
    given = [GivenOption(PAIR, ("a", "-1")), GivenOption(PAIR, ("-p", "--"))]
    assert (given, ["x"]) == taken(["-p", "a", "-1", "-p", "-p", "--", "x"], OPTIONS)


def test_one_value_may_stand_behind_an_equals_sign() -> None:
    given = [GivenOption(FILE, ("a=b",)), GivenOption(FILE, ("",))]
    assert (given, ["--pair=a", "-k=b"]) == taken(
        ["--file=a=b", "-f=", "--pair=a", "-k=b"], OPTIONS
    )


def test_behind_two_dashes_there_are_none() -> None:
    assert ([], ["a", "--", "-f", "b"]) == taken(["a", "--", "-f", "b"], OPTIONS)


@pytest.mark.parametrize("argv", [["-p"], ["-p", "a"], ["-f"]])
def test_a_value_that_is_missing_is_told(argv: list[str]) -> None:
    with pytest.raises(ArgumentError, match=rf"{argv[0]} needs (NAME VALUE|FILE) behind it\."):
        taken(argv, OPTIONS)


def test_the_help_names_them_and_their_values() -> None:
    assert ["-p, --pair NAME VALUE", "    Two.", "-f, --file FILE", "    One."] == list(
        help_lines(OPTIONS)
    )
