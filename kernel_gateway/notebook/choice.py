"""Which kernel a notebook gets.

Knows the kernels there are and what a notebook asks for. Must not know how either was found.

A kernel that somebody asks for by an option is that one or none. The name in a notebook is a
weaker wish: it is mostly that of the author's machine, so another kernel of the same language does,
and at last the default one. Each such fallback is a sentence for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernel_gateway.errors import KernelSpecNotFound

if TYPE_CHECKING:
    from kernel_gateway.service import KernelSpecsView, KernelSpecView


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a notebook's metadata says of its kernel; empty where it says nothing."""

    name: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    spec: KernelSpecView
    fallback: str = ""  # why it is not the one that the notebook names


def choose(specs: KernelSpecsView, option: str | None, wish: Wish) -> Choice:
    """Raises `KernelSpecNotFound`, with the names that would do."""
    by_name = {spec.name: spec for spec in specs.specs}
    asked = wish.name if option is None else option
    if asked in by_name:
        return Choice(spec=by_name[asked])
    if option is not None:
        raise KernelSpecNotFound(f"There is no kernel {option!r}. {_there_are(specs)}")
    found = _of_language(specs, wish.language) or by_name.get(specs.default)
    if found is None:
        raise KernelSpecNotFound(f"There is no kernel for this notebook. {_there_are(specs)}")
    return Choice(spec=found, fallback=_fallback(wish, found))


def _of_language(specs: KernelSpecsView, language: str) -> KernelSpecView | None:
    """The default one if it is of this language, else the first."""
    fitting = [spec for spec in specs.specs if spec.language.lower() == language.lower() != ""]
    default = [spec for spec in fitting if spec.name == specs.default]
    return next(iter(default + fitting), None)


def _fallback(wish: Wish, found: KernelSpecView) -> str:
    used = f"{found.name!r} is used."
    if wish.name:
        return f"The notebook names the kernel {wish.name!r}, which is not there: {used}"
    if wish.language and wish.language.lower() != found.language.lower():
        return f"There is no kernel for {wish.language}: {used}"
    return ""


def _there_are(specs: KernelSpecsView) -> str:
    names = ", ".join(spec.name for spec in specs.specs)
    return f"There are: {names}." if names else "None is installed."
