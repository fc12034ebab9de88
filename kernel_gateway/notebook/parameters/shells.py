"""Bash, PowerShell and SQL: how each writes a value, and what it has no values for.

Must not know notebooks. Plain values look as papermill writes them.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kernel_gateway.notebook.parameters.dialect import (
    INT64,
    Dialect,
    Unsayable,
    escaped,
    octal,
    utf16,
    without_nul,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json

_BASH: Mapping[str, str] = {
    "\\": "\\\\",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    # An interactive shell looks for its history behind what it takes for the end of the quotes.
    "'": "\\047",
    "!": "\\041",
}


class Bash(Dialect):
    title = "bash"
    reserved = words("BASHOPTS BASH_VERSINFO EUID PPID SHELLOPTS UID")  # read-only
    none = ""
    not_a_number, infinity, minus_infinity = "nan", "inf", "-inf"

    def assignment(self, name: str, value: Json, before: str) -> str:
        return f"{name}={self.literal(value)}"

    def text(self, value: str) -> str:
        without_nul(value, self.title)
        if value.isprintable():
            return shlex.quote(value)
        return f"$'{escaped(value, _BASH, octal)}'"

    def sequence(self, value: list[Json]) -> str:
        if any(isinstance(item, list | dict) for item in value):
            raise Unsayable("has lists or objects in a list, which bash cannot")
        return f"({' '.join(self.literal(item) or chr(39) * 2 for item in value)})"


_POWERSHELL: Mapping[str, str] = {
    "`": "``",
    '"': '`"',
    "$": "`$",
    "\n": "`n",
    "\r": "`r",
    "\t": "`t",
    **{quote: f"$([char]{ord(quote)})" for quote in "“”„"},  # as good as the straight one
}


class PowerShell(Dialect):
    title = "PowerShell"
    reserved = words(
        "args error executioncontext false home host input iscoreclr islinux ismacos iswindows "
        "null pid psculture psedition pshome psuiculture psversiontable shellid this true"
    )
    none, true, false = "$Null", "$True", "$False"
    not_a_number = "[double]::NaN"
    infinity, minus_infinity = "[double]::PositiveInfinity", "[double]::NegativeInfinity"
    largest = INT64

    def check_name(self, name: str) -> None:
        super().check_name(name.lower())  # where case does not count

    def assignment(self, name: str, value: Json, before: str) -> str:
        return f"${super().assignment(name, value, before)}"

    def huge(self, value: int) -> str:
        return f'[bigint]::Parse("{value}")'

    def text(self, value: str) -> str:
        return f'"{escaped(value, _POWERSHELL, _by_number)}"'

    def sequence(self, value: list[Json]) -> str:
        items = [self.literal(item) for item in value]
        alone = "," if len(value) == 1 and isinstance(value[0], list) else ""  # else it dissolves
        return f"@({alone}{', '.join(items)})"

    def mapping(self, value: dict[str, Json]) -> str:
        if len({key.casefold() for key in value}) < len(value):
            raise Unsayable(
                "has names in an object that differ in case alone, which PowerShell cannot"
            )
        pairs = (f"{self.text(key)} = {self.literal(item)}" for key, item in value.items())
        return "@{" + "\n ".join(pairs) + "}"


def _by_number(character: str) -> str:
    return "".join(f"$([char]{unit})" for unit in utf16(character))


class Sql(Dialect):
    """User variables as in MySQL and MariaDB: by their `@` they are never a setting of the server.

    What a backslash means in a literal differs from server to server, and so it is refused.
    """

    title = "SQL"
    comment = "-- {}"
    none, true, false = "NULL", "TRUE", "FALSE"

    def assignment(self, name: str, value: Json, before: str) -> str:
        return f"SET @{name} = {self.literal(value)};"

    def number(self, value: float) -> str:
        if value != value or value in (float("inf"), float("-inf")):
            raise Unsayable("is no finite number, and SQL has no other")
        return super().number(value)

    def text(self, value: str) -> str:
        if "\\" in value or not value.isprintable():
            raise Unsayable(
                "contains a backslash or a control character, which not every SQL reads alike"
            )
        doubled = value.replace("'", "''")
        return f"'{doubled}'"
