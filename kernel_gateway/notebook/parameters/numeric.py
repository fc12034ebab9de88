"""Python, R, Julia, Matlab and Octave: how each writes a value.

Must not know notebooks. Plain values look as papermill writes them.
"""

from __future__ import annotations

import keyword
import re
from itertools import groupby
from typing import TYPE_CHECKING

from kernel_gateway.notebook.parameters.dialect import (
    C_ESCAPES,
    EXACT,
    LETTERS_FIRST,
    WITH_DOLLAR,
    Dialect,
    Unsayable,
    code_point,
    escaped,
    octal,
    utf16,
    without_nul,
    words,
)

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json


class Python(Dialect):
    title = "Python"
    around_list, around_object = ("[", "]"), ("{", "}")
    none, true, false = "None", "True", "False"
    not_a_number, infinity, minus_infinity = "float('nan')", "float('inf')", "float('-inf')"

    def check_name(self, name: str) -> None:
        if not name.isidentifier() or keyword.iskeyword(name) or name == "__debug__":
            raise Unsayable("is not a name that a variable can have in Python")

    def text(self, value: str) -> str:
        return f'"{escaped(value, C_ESCAPES, code_point)}"'


class R(Dialect):
    title = "R"
    identifier = re.compile(r"(?:[A-Za-z]|\.(?![0-9]))[A-Za-z0-9._]*")
    reserved = words(
        "if else repeat while function for next break TRUE FALSE NULL Inf NaN NA NA_integer_ "
        "NA_real_ NA_complex_ NA_character_ in ..."
    )
    none, true, false = "NULL", "TRUE", "FALSE"
    largest = EXACT  # a number without a decimal point is a float all the same
    around_list, around_object, arrow = ("list(", ")"), ("list(", ")"), " = "

    def text(self, value: str) -> str:
        return f'"{escaped(without_nul(value, self.title), C_ESCAPES, code_point)}"'

    def mapping(self, value: dict[str, Json]) -> str:
        if "" in value:
            raise Unsayable("has an empty name in an object, which R cannot have in a list")
        return super().mapping(value)


class Julia(Dialect):
    title = "Julia"
    identifier = re.compile(r"[^\W\d]\w*")
    reserved = words(
        "baremodule begin break catch const continue do else elseif end export false finally for "
        "function global if import let local macro module quote return struct true try using "
        "while"
    )
    none = "nothing"
    around_list, around_object, arrow = ("[", "]"), ("Dict(", ")"), " => "

    def text(self, value: str) -> str:
        return f'"{escaped(value, WITH_DOLLAR, code_point)}"'


class Matlab(Dialect):
    """It knows no escape in a literal: what cannot be printed is added by its number."""

    title = "Matlab"
    comment = "% {}"
    identifier = re.compile(LETTERS_FIRST.pattern.replace("*", "{0,62}"))
    reserved = words(
        "break case catch classdef continue else elseif end for function global if otherwise "
        "parfor persistent return spmd switch try while"
    )
    none = "NaN"  # as papermill; there is no nearer word
    largest = EXACT
    around_list = ("{", "}")

    def assignment(self, name: str, value: Json, before: str) -> str:
        return f"{super().assignment(name, value, before)};"

    def text(self, value: str) -> str:
        parts = _parts(value, '"')
        return parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"

    def key(self, name: str) -> str:
        """A map has keys of the older kind of text."""
        parts = _parts(name, "'")
        return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"

    def mapping(self, value: dict[str, Json]) -> str:
        if not value:
            return "containers.Map()"
        keys = ", ".join(map(self.key, value))
        items = ", ".join(map(self.literal, value.values()))
        return f"containers.Map({{{keys}}}, {{{items}}})"


class Octave(Matlab):
    title = "Octave"
    identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
    reserved = Matlab.reserved | words(
        "__FILE__ __LINE__ do end_try_catch end_unwind_protect endclassdef endfor endfunction "
        "endif endparfor endswitch endwhile until unwind_protect unwind_protect_cleanup"
    )

    def text(self, value: str) -> str:
        return f'"{escaped(value, C_ESCAPES, octal)}"'

    def key(self, name: str) -> str:
        return self.text(name)


def _parts(text: str, quote: str) -> list[str]:
    """A quoted one first, if need be an empty one: what it is makes all of them text."""
    groups = [(shown, "".join(part)) for shown, part in groupby(text, str.isprintable)]
    if not groups or not groups[0][0]:
        groups.insert(0, (True, ""))
    return [_quoted(part, quote) if shown else _chars(part) for shown, part in groups]


def _quoted(text: str, quote: str) -> str:
    return f"{quote}{text.replace(quote, quote * 2)}{quote}"


def _chars(text: str) -> str:
    return f"char([{' '.join(map(str, utf16(text)))}])"
