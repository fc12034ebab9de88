"""A notebook to be run, and what two runs of one have in common, wherever they were executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Of a run alone: that it is told, and not what.
_OWN = frozenset(
    {
        "created_at", "started_at", "finished_at", "start_time", "end_time", "duration",
        "queue_time", "predict_time", "id", "uid", "msg_id",
    }
)  # fmt: skip


def in_common(notebook: Any) -> Any:
    """Without times and the IDs of runs; that there are some stays. IDs of cells are the page's."""
    if isinstance(notebook, list):
        return [in_common(item) for item in notebook]
    if not isinstance(notebook, dict):
        return notebook
    is_cell = "cell_type" in notebook
    return {
        name: value is not None
        if name in _OWN and not (is_cell and name == "id")
        else in_common(value)
        for name, value in notebook.items()
    }


def code_notebook(*sources: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """In nbformat 4.5, with a code cell each."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": dict(metadata or {}),
        "cells": [
            {
                "id": f"c{number}",
                "cell_type": "code",
                "metadata": {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, source in enumerate(sources)
        ],
    }
