"""Scala, C#, F#, Kotlin, JavaScript, TypeScript and Lua: how each writes a value.

Must not know notebooks. Plain values look as papermill writes them, where it knows the language.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from kernel_gateway.notebook.parameters.dialect import (
    C_ESCAPES,
    EXACT,
    INT32,
    INT64,
    WITH_DOLLAR,
    Dialect,
    Unsayable,
    code_units,
    decimal,
    escaped,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel_gateway.messaging.strict_json import Json


class _Sized(Dialect):
    """A whole number has a type of its size."""

    largest = INT64

    def whole(self, value: int) -> str:
        is_long = INT32 < value <= INT64 or -INT64 <= value < -INT32 - 1
        return f"{value}L" if is_long else super().whole(value)


class Scala(_Sized):
    title = "Scala"
    comment = "// {}"
    reserved = words(
        "_ abstract case catch class def do else enum export extends false final finally for "
        "forSome given if implicit import lazy macro match new null object override package "
        "private protected return sealed super then this throw trait try true type val var while "
        "with yield"
    )
    none = "None"
    not_a_number = "Double.NaN"
    infinity, minus_infinity = "Double.PositiveInfinity", "Double.NegativeInfinity"
    around_list, around_object, arrow = ("Seq(", ")"), ("Map(", ")"), " -> "

    def assignment(self, name: str, value: Json, before: str) -> str:
        return f"val {super().assignment(name, value, before)}"

    def huge(self, value: int) -> str:
        return f'BigInt("{value}")'

    def text(self, value: str) -> str:
        return f'"{escaped(value, C_ESCAPES, code_units)}"'


class CSharp(_Sized):
    title = "C#"
    comment = "// {}"
    reserved = words(
        "abstract as base bool break byte case catch char checked class const continue decimal "
        "default delegate do double else enum event explicit extern false finally fixed float for "
        "foreach goto if implicit in int interface internal is lock long namespace new null object "
        "operator out override params private protected public readonly ref return sbyte sealed "
        "short sizeof stackalloc static string struct switch this throw true try typeof uint ulong "
        "unchecked unsafe ushort using virtual void volatile while"
    )
    not_a_number = "double.NaN"
    infinity, minus_infinity = "double.PositiveInfinity", "double.NegativeInfinity"

    def assignment(self, name: str, value: Json, before: str) -> str:
        kind = "object" if value is None else "var"
        return f"{kind} {super().assignment(name, value, before)};"

    def huge(self, value: int) -> str:
        return f'System.Numerics.BigInteger.Parse("{value}")'

    def text(self, value: str) -> str:
        return f'"{escaped(value, C_ESCAPES, code_units)}"'

    def sequence(self, value: list[Json]) -> str:
        is_plain = _type_of(value).rpartition(" ")[2] in _PLAIN
        kind = "new []" if is_plain else "new object[]"
        return f"{kind} {{ {', '.join(map(self.literal, value))} }}"

    def mapping(self, value: dict[str, Json]) -> str:
        pairs = (f"{{ {self.text(key)} , {self.literal(item)} }}" for key, item in value.items())
        return f"new Dictionary<string,Object>{{ {', '.join(pairs)} }}"


class FSharp(_Sized):
    title = "F#"
    comment = "(* {} *)"
    reserved = words(
        "_ abstract and as assert base begin class const default delegate do done downcast downto "
        "elif else end exception extern false finally fixed for fun function global if in inherit "
        "inline interface internal lazy let match member mod module mutable namespace new not null "
        "of open or override private public rec return sig static struct then to true try type "
        "upcast use val void when while with yield atomic break checked component constraint "
        "constructor continue event external include mixin parallel process protected pure sealed "
        "tailcall trait virtual land lor lxor lsl lsr asr"
    )
    none = "None"
    not_a_number, infinity, minus_infinity = "nan", "infinity", "-infinity"

    def assignment(self, name: str, value: Json, before: str) -> str:
        return f"let {super().assignment(name, value, before)}"

    def huge(self, value: int) -> str:
        return f"{value}I"

    def text(self, value: str) -> str:
        return f'"{escaped(value, C_ESCAPES, code_units)}"'

    def sequence(self, value: list[Json]) -> str:
        write = self.literal if len(set(map(_type_of, value))) <= 1 else self._comparable
        return f"[ {'; '.join(map(write, value))} ]"

    def mapping(self, value: dict[str, Json]) -> str:
        if not value:
            return "(Map.empty : Map<string, IComparable>)"
        pairs = (f"({self.text(key)}, {self._comparable(item)})" for key, item in value.items())
        return f"[ {'; '.join(pairs)} ] |> Map.ofList"

    def _comparable(self, value: Json) -> str:
        """A type that all values share, as a list and a map need one."""
        if value is None:
            return "(null : IComparable)"
        inner = self.literal(value)
        return f"({inner}) :> IComparable" if isinstance(value, dict) else f"{inner} :> IComparable"


#: Of these, and of lists of these, a list has a type that need not be said.
_PLAIN = frozenset({"bool", "int", "long", "float", "str", "dict"})


def _type_of(value: Json) -> str:
    """Whether two values can be in a list that has one type for all."""
    if isinstance(value, list):
        kinds = set(map(_type_of, value))
        return f"list of {kinds.pop() if len(kinds) == 1 else 'anything'}"
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if -INT32 - 1 <= value <= INT32 else "long" if abs(value) <= INT64 else "huge"
    return type(value).__name__


class Kotlin(_Sized):
    title = "Kotlin"
    comment = "// {}"
    identifier = re.compile(r"(?!_+$)[A-Za-z_][A-Za-z0-9_]*")
    reserved = words(
        "as break class continue do else false for fun if in interface is null object package "
        "return super this throw true try typealias typeof val var when while"
    )
    not_a_number = "Double.NaN"
    infinity, minus_infinity = "Double.POSITIVE_INFINITY", "Double.NEGATIVE_INFINITY"

    def assignment(self, name: str, value: Json, before: str) -> str:
        return f"val {super().assignment(name, value, before)}"

    def huge(self, value: int) -> str:
        return f'java.math.BigInteger("{value}")'

    def text(self, value: str) -> str:
        return f'"{escaped(value, WITH_DOLLAR, code_units)}"'

    def sequence(self, value: list[Json]) -> str:
        return f"listOf{'' if value else '<Any?>'}({', '.join(map(self.literal, value))})"

    def mapping(self, value: dict[str, Json]) -> str:
        pairs = [f"{self.text(key)} to {self.literal(item)}" for key, item in value.items()]
        return f"mapOf{'' if pairs else '<String, Any?>'}({', '.join(pairs)})"


class JavaScript(Dialect):
    """Where a name is declared already there is one way to give it a value, and it depends on how:
    `const` can only be said again, `let` and `var` only be assigned to."""

    title = "JavaScript"
    comment = "// {}"
    identifier = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
    reserved = words(
        "await break case catch class const continue debugger default delete do else enum export "
        "extends false finally for function if import in instanceof interface let new null package "
        "private protected public return static super switch this throw true try typeof undefined "
        "NaN Infinity arguments eval implements var void while with yield"
    )
    infinity, minus_infinity = "Infinity", "-Infinity"
    largest = EXACT
    around_list, around_object = ("[", "]"), ("{", "}")
    _declaration: ClassVar[re.Pattern[str]] = re.compile(
        r"^[ \t]*(const|let|var)[ \t]+([^\n]*)", re.MULTILINE
    )

    def assignment(self, name: str, value: Json, before: str) -> str:
        kinds = {"": "var ", "const": "const ", "let": "", "var": ""}
        return f"{kinds[self._declared(name, before)]}{name} = {self.literal(value)};"

    def _declared(self, name: str, before: str) -> str:
        place = re.compile(rf"(?:^|,)\s*{re.escape(name)}\s*(?::[^=,;]*)?(?:[=,;]|$)")
        found: Iterable[tuple[str, str]] = self._declaration.findall(before)
        return next((kind for kind, names in found if place.search(names)), "")

    def text(self, value: str) -> str:
        return f'"{escaped(value, C_ESCAPES, code_units)}"'

    def key(self, name: str) -> str:
        """Said plainly `__proto__` would be the prototype of the object."""
        return f"[{self.text(name)}]" if name == "__proto__" else self.text(name)


class TypeScript(JavaScript):
    title = "TypeScript"


class Lua(Dialect):
    title = "Lua"
    comment = "-- {}"
    reserved = words(
        "and break do else elseif end false for function goto if in local nil not or repeat return "
        "then true until while"
    )
    none = "nil"
    not_a_number, infinity, minus_infinity = "(0/0)", "math.huge", "-math.huge"
    largest = INT64
    around_list, around_object, arrow = ("{", "}"), ("{", "}"), " = "

    def text(self, value: str) -> str:
        return f'"{escaped(value, C_ESCAPES, decimal)}"'

    def sequence(self, value: list[Json]) -> str:
        _refuse_nil(value)
        return super().sequence(value)

    def mapping(self, value: dict[str, Json]) -> str:
        _refuse_nil(value.values())
        return super().mapping(value)

    def key(self, name: str) -> str:
        return f"[{self.text(name)}]"


def _refuse_nil(values: Iterable[Json]) -> None:
    if any(item is None for item in values):
        raise Unsayable("has null in a list or an object, where Lua would leave it out")
