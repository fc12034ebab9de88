"""`kernel-gateway inspect`: which parameters a notebook has."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from traitlets import Bool

from kernel_gateway.commands.base import FLAGS, Command, UsageError
from kernel_gateway.commands.sources import read_source
from kernel_gateway.commands.table import aligned, harmless
from kernel_gateway.notebook.parameters.inspection import inspected

if TYPE_CHECKING:
    from kernel_gateway.notebook.parameters.inspection import Inspection, Parameter

_MOST = 60  # characters of a default or a type


class InspectApp(Command):
    name = "kernel-gateway inspect"
    description = """
        Show the parameters of a notebook: what its cell tagged parameters assigns to.

        kernel-gateway inspect [options] IN.ipynb

        Nothing is executed. - stands for standard input. Exit codes: 0 · 2 usage, or an unreadable
        notebook.
    """
    examples = """
        kernel-gateway inspect report.ipynb
        kernel-gateway inspect report.ipynb --json
    """
    as_json = Bool(False, config=True, help="One JSON object, as POST /api/notebooks/inspect.")
    flags: dict[Any, Any] = {**FLAGS, "json": ({"InspectApp": {"as_json": True}}, as_json.help)}

    def run(self) -> int:
        if len(self.extra_args) != 1:
            raise UsageError("One notebook is needed: kernel-gateway inspect IN.ipynb")
        source = read_source(self.extra_args[0], "inspected")
        found = inspected(source.notebook, kernel=source.wish.name, language=source.wish.language)
        if self.as_json:
            print(json.dumps(found.json))
            return 0
        for line in table(found):
            print(line)
        if hint := _hint(found):
            print(f"{self.name}: {hint}", file=sys.stderr)
        return 0


def table(found: Inspection) -> list[str]:
    if not found.parameters:
        return []
    return aligned([("NAME", "TYPE", "DEFAULT", "HELP"), *map(_row, found.parameters)])


def _row(parameter: Parameter) -> tuple[str, ...]:
    said = (parameter.type, parameter.default)
    return parameter.name, *(_short(text) for text in said), harmless(parameter.help)


def _short(text: str | None) -> str:
    line = harmless("-" if text is None else text)
    return line if len(line) <= _MOST else f"{line[: _MOST - 3]}..."


def _hint(found: Inspection) -> str:
    if not found.tagged:
        return "No cell has the tag parameters."
    if not found.inspectable:
        return "The cell tagged parameters is not plain Python: its parameters are not known."
    return "" if found.parameters else "The cell tagged parameters assigns to no name."
