"""Where the values of parameters stand in a notebook: in a cell of their own.

Knows notebooks as nbformat 4 dictionaries, and the tags that mean something. Must not know files or
kernels. The cell that is put in replaces that of an earlier run, stands behind the one tagged
`parameters`, and is at the top where there is none.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import InvalidField
from kernel_gateway.notebook.parameters.inspection import has_tag, inspected, tagged
from kernel_gateway.notebook.parameters.languages import assignments, field_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.parameters.inspection import Inspection

INJECTED_TAG = "injected-parameters"

MAX_TOLD = 20  # names that are told as known

#: What says how a cell is shown: a new one beside it is to be shown alike.
_SHOWN_TAGS = ("hide", "remove", "slide", "subslide", "fragment")
_SHOWN_METADATA = ("jupyter", "hide_input", "collapsed", "slideshow")


def parameterized(
    notebook: Mapping[str, Any],
    values: Mapping[str, Json],
    *,
    kernel: str,
    language: str,
    allow_unknown: bool = False,
) -> Mapping[str, Any]:
    """The notebook with these values; the one that is given stays as it is.

    `kernel` and `language` are those of the kernelspec that will execute it. Without values it is
    the same notebook. Raises `InvalidField` with `parameters.NAME` for each name that the notebook
    does not know, and for all that the language cannot say.
    """
    if not values:
        return notebook
    cells = notebook["cells"]
    above = tagged(notebook)
    if not allow_unknown:
        _refuse_unknown(values, inspected(notebook, kernel=kernel, language=language))
    before = "" if above is None else cells[above]["source"]
    source = assignments(values, kernel=kernel, language=language, before=before)
    old = [
        index for index, cell in enumerate(cells) if index != above and has_tag(cell, INJECTED_TAG)
    ]
    alike = cells[above] if above is not None else cells[old[0]] if old else None
    kept = [cell for index, cell in enumerate(cells) if index not in old]
    place = 0
    if above is not None:
        place = above + 1 - sum(index < above for index in old)
    elif old:
        place = old[0]
    kept.insert(place, _cell(source, alike, _free_id(kept)))
    return {**notebook, "cells": kept}


def _refuse_unknown(values: Mapping[str, Json], found: Inspection) -> None:
    if not (found.inspectable and found.tagged):
        return
    known = {one.name: one for one in found.parameters}
    told = ", ".join(islice(known, MAX_TOLD)) + (", ..." if len(known) > MAX_TOLD else "")
    sentence = f"is no parameter of the notebook; it has {told or 'none'}"
    faults = {field_of(name): sentence for name in values if name not in known}
    if faults:
        raise InvalidField(faults)


def _cell(source: str, alike: Mapping[str, Any] | None, cell_id: str) -> dict[str, Any]:
    there = {} if alike is None else alike["metadata"]
    tags = [tag for tag in there.get("tags", ()) if tag.startswith(_SHOWN_TAGS)]
    shown = {name: there[name] for name in _SHOWN_METADATA if name in there}
    return {
        "cell_type": "code",
        "id": cell_id,
        "metadata": {**shown, "tags": [INJECTED_TAG, *tags]},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def _free_id(cells: Sequence[Mapping[str, Any]]) -> str:
    """The same one each time, so that two runs of a notebook can be compared."""
    taken = {cell["id"] for cell in cells}
    names = (INJECTED_TAG, *(f"{INJECTED_TAG}-{number}" for number in range(2, len(cells) + 3)))
    return next(name for name in names if name not in taken)
