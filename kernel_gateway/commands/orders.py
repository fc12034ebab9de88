"""Which notebooks a command line asks for, with which values, and where each output goes. Pure.

Knows names and the rules for them: IN [OUT], or several inputs and a folder, each once for every
combination of a matrix. Must not read or write anything.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

from kernel_gateway.commands.base import UsageError
from kernel_gateway.errors import InvalidField
from kernel_gateway.notebook.parameters.options import Given, Kind, read_options, typed
from kernel_gateway.notebook.parameters.paths import filled
from kernel_gateway.notebook.places import STANDARD, default_output

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json

_MOST_CHARS = 40  # of one value in a name of a file
_UNSAFE = re.compile(r"[^\w.+-]+")
_ENDINGS = (".out.ipynb", ".ipynb")

Axis: TypeAlias = "tuple[str, Sequence[Json]]"  # a parameter and its values


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One run to be."""

    input: str
    output: str
    values: Mapping[str, Json]  # of its parameters


def places(
    names: Sequence[str],
    output_dir: str | None,
    matrix: Sequence[str],
    values: Mapping[str, Json],
    *,
    new_id: Callable[[], str],
    now: dt.datetime,
) -> list[Place]:
    """In the order of the inputs. Raises `UsageError`."""
    combinations = _combinations([_axis(text) for text in matrix])
    found = [
        Place(
            input=name,
            output=_output(template, rest, {**values, **chosen}, label, new_id(), now),
            values={**values, **chosen},
        )
        for name, template, rest in _inputs(names, output_dir)
        for label, chosen in combinations
    ]
    counts = Counter(place.output for place in found)
    twice = next((output for output, count in counts.items() if count > 1), None)
    if twice is not None:
        raise UsageError(f"Two runs would both write {twice}: give them different outputs.")
    if STANDARD in names and len(found) > 1:
        raise UsageError("Standard input and output are of one run alone.")
    return found


# -- inputs and outputs ----------------------------------------------------------------------------


def _inputs(names: Sequence[str], output_dir: str | None) -> list[tuple[str, str, str]]:
    """Each with its output, so far: what was given of it, and what comes behind as it is."""
    if output_dir is not None and names:
        return [(name, *_in_folder(output_dir, default_output(name))) for name in names]
    if not 1 <= len(names) <= 2:
        raise UsageError(
            f"A notebook and perhaps an output are needed, not {len(names)} names: kernel-gateway "
            "run IN.ipynb [OUT.ipynb]. Several notebooks need --output-dir DIR; then all names are "
            "inputs."
        )
    if len(names) == 2:
        return [(names[0], names[1], "")]
    return [(names[0], "", default_output(names[0]))]


def _in_folder(folder: str, output: str) -> tuple[str, str]:
    if output == STANDARD:
        raise UsageError("Standard input has no name that its output could have in a folder.")
    return f"{(folder or '.').rstrip('/')}/", output.rpartition("/")[2]


def _output(
    template: str,
    rest: str,
    values: Mapping[str, Json],
    label: str,
    run_uuid: str,
    now: dt.datetime,
) -> str:
    """What stands in braces is filled in; else the combination is put before the ending."""
    if "{" in template:
        try:
            return filled(template, values, run_uuid=run_uuid, now=now) + rest
        except InvalidField as fault:
            raise UsageError(f"{fault.fields['path']}.") from fault
    output = template + rest
    if not label or output == STANDARD:
        return output
    ending = next((one for one in _ENDINGS if output.endswith(one)), "")
    return f"{output.removesuffix(ending)}.{label}{ending}"


# -- the matrix ------------------------------------------------------------------------------------


def _axis(text: str) -> Axis:
    """`name=1,2,3`, typed as by -p, or `name=[...]` in YAML."""
    name, equals, listed = text.partition("=")
    if not (name and equals and listed):
        raise UsageError(f"--matrix takes NAME=VALUE,VALUE,... and not {text!r}.")
    if not listed.startswith("["):
        return name, [typed(one) for one in listed.split(",")]
    try:
        values = _from_yaml(f"values: {listed}")["values"]
    except InvalidField as fault:
        raise UsageError(f"--matrix {name}: {' '.join(fault.fields.values())}.") from fault
    if not isinstance(values, list) or not values:
        raise UsageError(f"--matrix {name}: there are no values in {listed}.")
    return name, values


def _from_yaml(text: str) -> Mapping[str, Json]:
    return read_options([Given(Kind.YAML, (text,))], lambda name: b"")


def _combinations(axes: Sequence[Axis]) -> list[tuple[str, dict[str, Json]]]:
    """Each with what its output is called by; of no axis there is one, which is called nothing."""
    names = [name for name, _ in axes]
    if len(set(names)) < len(names):
        raise UsageError("--matrix names the same parameter twice; give all its values at once.")
    labelled = [list(zip(_labels(values), values, strict=True)) for _, values in axes]
    return [
        (
            ".".join(f"{_safe(n)}={label}" for n, (label, _) in zip(names, chosen, strict=True)),
            {name: value for name, (_, value) in zip(names, chosen, strict=True)},
        )
        for chosen in product(*labelled)
    ]


def _labels(values: Sequence[Json]) -> list[str]:
    """No two the same."""
    labels = [_safe(one if isinstance(one, str) else json.dumps(one)) for one in values]
    if len(set(labels)) == len(labels):
        return labels
    return [f"{label}-{number}" for number, label in enumerate(labels, 1)]


def _safe(text: str) -> str:
    """In a name of a file, on any system and in any shell."""
    return _UNSAFE.sub("_", text)[:_MOST_CHARS]
