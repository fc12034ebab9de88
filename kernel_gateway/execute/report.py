"""A notebook for those who read reports: all but its code. Knows notebooks, nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kernel_gateway.notebook.parameters.injection import INJECTED_TAG
from kernel_gateway.notebook.parameters.inspection import has_tag, tagged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.document import Source


def without_code(source: Source, values: Mapping[str, Json]) -> Source:
    """A cell of parameters that is put in looks like the one it replaces or stands below: where
    there is neither, an empty one is made to be replaced."""
    notebook = source.notebook
    cells = list(notebook["cells"])
    is_there = tagged(notebook) is not None or any(has_tag(cell, INJECTED_TAG) for cell in cells)
    if values and not is_there:
        cells.insert(0, _empty({cell["id"] for cell in cells}))
    return replace(source, notebook={**notebook, "cells": [_hidden(cell) for cell in cells]})


def _empty(taken: set[str]) -> dict[str, Any]:
    names = (INJECTED_TAG, *(f"{INJECTED_TAG}-{number}" for number in range(2, len(taken) + 3)))
    return {
        "cell_type": "code",
        "id": next(name for name in names if name not in taken),
        "metadata": {"tags": [INJECTED_TAG]},
        "source": "",
        "outputs": [],
        "execution_count": None,
    }


def _hidden(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    if cell["cell_type"] != "code":
        return cell
    looks = {**cell["metadata"].get("jupyter", {}), "source_hidden": True}
    return {**cell, "metadata": {**cell["metadata"], "jupyter": looks}}
