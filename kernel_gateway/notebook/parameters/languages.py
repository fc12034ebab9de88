"""Which language a kernel is said to have, and values as source of it.

Knows the names of kernelspecs and languages. Must not know notebooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.errors import InvalidField
from kernel_gateway.messaging.strict_json import clean_text
from kernel_gateway.notebook.parameters import numeric, programs, shells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.parameters.dialect import Dialect

#: By the language of a kernelspec, or by its name where that says more; in lower case.
DIALECTS: Mapping[str, Dialect] = {
    name: dialect
    for dialect, names in (
        (numeric.Python(), "python python3 ipython pysparkkernel"),
        (numeric.R(), "r ir sparkrkernel"),
        (programs.Scala(), "scala sparkkernel"),
        (numeric.Julia(), "julia"),
        (numeric.Matlab(), "matlab"),
        (numeric.Octave(), "octave"),
        (shells.Bash(), "bash sh"),
        (shells.PowerShell(), "powershell pwsh .net-powershell .net-pwsh"),
        (programs.CSharp(), "c# csharp .net-csharp"),
        (programs.FSharp(), "f# fsharp .net-fsharp"),
        (programs.JavaScript(), "javascript js"),
        (programs.TypeScript(), "typescript ts"),
        (programs.Kotlin(), "kotlin"),
        (programs.Lua(), "lua"),
        (shells.Sql(), "sql"),
    )
    for name in names.split()
}


def dialect_of(kernel: str, language: str) -> Dialect | None:
    """By the name of a kernelspec, else by its language."""
    return DIALECTS.get(kernel.lower()) or DIALECTS.get(language.lower())


def is_python(kernel: str, language: str) -> bool:
    """Also when nothing is said of either: then the kernel is most likely the usual one."""
    dialect = dialect_of(kernel, language)
    return isinstance(dialect, numeric.Python) or not (kernel or language)


def assignments(values: Mapping[str, Json], *, kernel: str, language: str, before: str = "") -> str:
    """`before`: the source of the cell above, where names may be declared. Raises `InvalidField`
    with all names and values that cannot be said."""
    dialect = dialect_of(kernel, language)
    if dialect is None:
        which = repr(language or kernel)
        raise InvalidField({"parameters": f"cannot be written in the language {which}"})
    faults = {
        field_of(name): fault
        for name, value in values.items()
        if (fault := dialect.fault(name, value)) is not None
    }
    if faults:
        raise InvalidField(faults)
    return dialect.source(values, before)


def field_of(name: str) -> str:
    """Of the body of a request; a name may be anything, and as long as it likes."""
    return f"parameters.{clean_text(name)[:100]}"
