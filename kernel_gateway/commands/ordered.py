"""Options that traitlets does not know: with more than one value, and with a place among others.

`-p NAME VALUE -f FILE -p NAME VALUE`: they are taken out of the command line before it reads the
rest, and handed to the command in their order. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from traitlets.config.loader import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedOption:
    names: tuple[str, ...]  # without dashes: one for a single letter, else two
    values: tuple[str, ...]  # what the help calls them; each must be given
    help: str

    @property
    def spellings(self) -> tuple[str, ...]:
        return tuple(f"-{name}" if len(name) == 1 else f"--{name}" for name in self.names)


@dataclass(frozen=True, slots=True)
class GivenOption:
    option: OrderedOption
    values: tuple[str, ...]


def taken(
    argv: Sequence[str], options: Sequence[OrderedOption]
) -> tuple[list[GivenOption], list[str]]:
    """Those that are there, and what is left. Whatever follows an option is its value, also with a
    dash. Raises `ArgumentError` where a value is missing."""
    by_spelling = {spelling: option for option in options for spelling in option.spellings}
    given: list[GivenOption] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            return given, [*rest, word, *words]
        spelling, equals, value = word.partition("=")
        if word in by_spelling:
            given.append(_with_values(word, by_spelling[word], words))
        elif equals and spelling in by_spelling and len(by_spelling[spelling].values) == 1:
            given.append(GivenOption(by_spelling[spelling], (value,)))
        else:
            rest.append(word)
    return given, rest


def _with_values(word: str, option: OrderedOption, words: Iterator[str]) -> GivenOption:
    values = tuple(value for _, value in zip(option.values, words, strict=False))
    if len(values) < len(option.values):
        raise ArgumentError(f"{word} needs {' '.join(option.values)} behind it.")
    return GivenOption(option, values)


def help_lines(options: Sequence[OrderedOption]) -> Iterator[str]:
    for option in options:
        yield f"{', '.join(option.spellings)} {' '.join(option.values)}"
        yield f"    {option.help}"
