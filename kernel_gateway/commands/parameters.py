"""The options that give a notebook its parameters, as papermill has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.ordered import OrderedOption
from kernel_gateway.errors import InvalidField
from kernel_gateway.notebook.parameters.options import Given, Kind, read_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.commands.ordered import GivenOption
    from kernel_gateway.messaging.strict_json import Json

_KINDS = {
    OrderedOption(
        names=("p", "parameters"),
        values=("NAME", "VALUE"),
        help="A parameter: True, False, None, a number, or else text. A later one counts.",
    ): Kind.TYPED,
    OrderedOption(
        names=("r", "parameters_raw"),
        values=("NAME", "TEXT"),
        help="A parameter that is text, whatever it looks like.",
    ): Kind.RAW,
    OrderedOption(
        names=("f", "parameters_file"),
        values=("FILE",),
        help="Parameters of a file of YAML or JSON.",
    ): Kind.FILE,
    OrderedOption(
        names=("y", "parameters_yaml"),
        values=("YAML",),
        help="Parameters as YAML or JSON: 'alpha: 0.5'.",
    ): Kind.YAML,
    OrderedOption(
        names=("b", "parameters_base64"),
        values=("BASE64",),
        help="The same in base64.",
    ): Kind.BASE64,
}

OPTIONS = tuple(_KINDS)


def given_parameters(given: Sequence[GivenOption]) -> dict[str, Json]:
    """Raises `UsageError` with the option that cannot be understood."""
    options = [Given(_KINDS[one.option], one.values) for one in given if one.option in _KINDS]
    try:
        return read_options(options, lambda name: Path(name).expanduser().read_bytes())
    except InvalidField as fault:
        raise UsageError(f"{fault.message}.") from fault
