"""What all languages share in writing a value down as source.

Knows JSON values and text. Must not know notebooks, nor any one language. The rule of all: a value
is what it was, or it is refused; and no value ends the literal in which it stands. Therefore only
printable characters are written as they are, and each language escapes the rest in its own way.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from kernel_gateway.messaging.strict_json import Json, clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_DEPTH = 50  # of lists and objects in each other; compilers give up at some hundred brackets
MAX_BITS = 8192  # of a whole number; Python itself refuses to write longer ones at 4,300 digits
INT32 = 2**31 - 1
INT64 = 2**63 - 1
EXACT = 2**53 - 1  # the largest whole number that a 64-bit float cannot be mistaken about

ASCII_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LETTERS_FIRST = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Unsayable(ValueError):
    """The language has no such value, or no such name. The message ends a sentence."""


class Dialect(ABC):
    """One language. A subclass fills in what differs."""

    title: ClassVar[str]
    comment: ClassVar[str] = "# {}"
    identifier: ClassVar[re.Pattern[str]] = ASCII_NAME
    reserved: ClassVar[frozenset[str]] = frozenset()
    none: ClassVar[str] = "null"
    true: ClassVar[str] = "true"
    false: ClassVar[str] = "false"
    not_a_number: ClassVar[str] = "NaN"
    infinity: ClassVar[str] = "Inf"
    minus_infinity: ClassVar[str] = "-Inf"
    largest: ClassVar[int | None] = None  # that a literal can be; None: there is no end
    #: What begins and ends one; None: the language has none in a variable.
    around_list: ClassVar[tuple[str, str] | None] = None
    around_object: ClassVar[tuple[str, str] | None] = None
    arrow: ClassVar[str] = ": "  # from a name in an object to its value

    def source(self, values: Mapping[str, Json], before: str) -> str:
        """One assignment a value, below a comment. `before`: what the cell above has.

        Raises `Unsayable`; ask `fault` of each value first to learn of all.
        """
        lines = (self.assignment(name, value, before) for name, value in values.items())
        return "\n".join([self.comment.format("Parameters"), *lines, ""])

    def fault(self, name: str, value: Json) -> str | None:
        """Why this cannot be said."""
        try:
            self.check_name(name)
            check_value(value)
            self.literal(value)
        except Unsayable as fault:
            return str(fault)
        return None

    def check_name(self, name: str) -> None:
        if not self.identifier.fullmatch(name) or name in self.reserved:
            raise Unsayable(f"is not a name that a variable can have in {self.title}")

    def assignment(self, name: str, value: Json, before: str) -> str:
        return f"{name} = {self.literal(value)}"

    def literal(self, value: Json) -> str:
        if value is None:
            return self.none
        if isinstance(value, bool):
            return self.true if value else self.false
        if isinstance(value, int):
            return self.whole(value)
        if isinstance(value, float):
            return self.number(value)
        if isinstance(value, str):
            return self.text(value)
        return self.sequence(value) if isinstance(value, list) else self.mapping(value)

    def whole(self, value: int) -> str:
        if self.largest is not None and abs(value) > self.largest:
            return self.huge(value)
        return str(value)

    def huge(self, value: int) -> str:
        raise Unsayable(f"is too large a whole number for {self.title}")

    def number(self, value: float) -> str:
        if value != value:
            return self.not_a_number
        if value in (float("inf"), float("-inf")):
            return self.infinity if value > 0 else self.minus_infinity
        return repr(value)

    @abstractmethod
    def text(self, value: str) -> str: ...

    def sequence(self, value: list[Json]) -> str:
        if self.around_list is None:
            raise Unsayable(f"is a list, which {self.title} cannot have in a variable")
        begin, end = self.around_list
        return f"{begin}{', '.join(map(self.literal, value))}{end}"

    def mapping(self, value: dict[str, Json]) -> str:
        if self.around_object is None:
            raise Unsayable(f"is an object, which {self.title} cannot have in a variable")
        begin, end = self.around_object
        pairs = (
            f"{self.key(name)}{self.arrow}{self.literal(item)}" for name, item in value.items()
        )
        return f"{begin}{', '.join(pairs)}{end}"

    def key(self, name: str) -> str:
        """Of an object."""
        return self.text(name)


def check_value(value: Json) -> None:
    """What no language can say. Raises `Unsayable`."""
    level: Iterable[Json] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and clean_text(item) != item:
                raise Unsayable("contains a lone surrogate, which is no character")
            elif isinstance(item, int) and item.bit_length() > MAX_BITS:
                raise Unsayable(f"is a whole number of more than {MAX_BITS} bits")
        if not below:
            return
        level = below
    raise Unsayable(f"has more than {MAX_DEPTH} lists and objects in each other")


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# -- text ------------------------------------------------------------------------------------------


def escaped(text: str, own: Mapping[str, str], other: Callable[[str], str]) -> str:
    """`own`: the escapes by character. `other`: that of any character that cannot be printed."""
    return "".join(own.get(c) or (c if c.isprintable() else other(c)) for c in text)


def without_nul(text: str, title: str) -> str:
    if "\0" in text:
        raise Unsayable(f"contains NUL (U+0000), which text in {title} cannot")
    return text


def code_point(character: str) -> str:
    """`\\u0007`, or `\\U0001f600` for the characters that need it."""
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def code_units(character: str) -> str:
    """As UTF-16 has it: one or two of `\\u0007`."""
    return "".join(f"\\u{unit:04x}" for unit in utf16(character))


def octal(character: str) -> str:
    """The bytes of UTF-8, each `\\007`."""
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def decimal(character: str) -> str:
    return "".join(f"\\{byte:03d}" for byte in character.encode())


def utf16(character: str) -> list[int]:
    data = character.encode("utf-16-be")
    return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]


#: What most languages since C agree on.
C_ESCAPES: Mapping[str, str] = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
WITH_DOLLAR: Mapping[str, str] = {**C_ESCAPES, "$": "\\$"}  # where it would begin a substitution
