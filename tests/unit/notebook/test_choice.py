"""`notebook/choice.py`: option, then name, then language, then default."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.notebook.choice import Wish, choose
from kernel_gateway.service import KernelSpecsView, KernelSpecView


def specs(*names: str, default: str = "python3") -> KernelSpecsView:
    """Of each name, the letters before a digit are the language."""
    return KernelSpecsView(
        default=default,
        specs=tuple(
            KernelSpecView(name=name, display_name=name.title(), language=name.rstrip("0123456789"))
            for name in names
        ),
    )


ALL = specs("ir", "julia1", "julia2", "python2", "python3")


@pytest.mark.parametrize(
    ("option", "wish", "chosen"),
    [
        ("ir", Wish(name="python3", language="python"), "ir"),
        (None, Wish(name="julia2"), "julia2"),
        (None, Wish(), "python3"),
        (None, Wish(language="julia"), "julia1"),
        (None, Wish(language="Python"), "python3"),  # the default before the first
    ],
)
def test_what_is_asked_for_is_taken_without_a_word(
    option: str | None, wish: Wish, chosen: str
) -> None:
    choice = choose(ALL, option, wish)
    assert (chosen, "") == (choice.spec.name, choice.fallback)


@pytest.mark.parametrize(
    ("wish", "chosen", "fallback"),
    [
        (
            Wish(name="conda-env-x", language="python"),
            "python3",
            "The notebook names the kernel 'conda-env-x', which is not there: 'python3' is used.",
        ),
        (
            Wish(name="julia9", language="julia"),
            "julia1",
            "The notebook names the kernel 'julia9', which is not there: 'julia1' is used.",
        ),
        (
            Wish(name="gone", language="cobol"),
            "python3",
            "The notebook names the kernel 'gone', which is not there: 'python3' is used.",
        ),
        (Wish(language="cobol"), "python3", "There is no kernel for cobol: 'python3' is used."),
    ],
)
def test_a_fallback_is_told(wish: Wish, chosen: str, fallback: str) -> None:
    choice = choose(ALL, None, wish)
    assert (chosen, fallback) == (choice.spec.name, choice.fallback)


def test_an_option_has_no_fallback() -> None:
    with pytest.raises(KernelSpecNotFound, match=r"'nope'. There are: ir, julia1, julia2, "):
        choose(ALL, "nope", Wish(name="python3"))


def test_a_default_that_is_not_there_is_none() -> None:
    with pytest.raises(KernelSpecNotFound, match="There are: ir"):
        choose(specs("ir"), None, Wish(name="python2", language="python"))


def test_without_any_kernel_nothing_can_be_chosen() -> None:
    with pytest.raises(KernelSpecNotFound, match="None is installed"):
        choose(specs(), None, Wish())
