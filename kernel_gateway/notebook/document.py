"""A notebook on its way from the input to the output: read, emptied, filled, written as bytes.

Knows nbformat. Must not know files, services or who fills it when. Whatever was read, the notebook
is valid nbformat 4.5 (or a later 4.x) from here on, at every moment: what a kernel sends is made to
fit where it is put in.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import rwbase

from kernel_gateway.errors import NotebookUnreadable
from kernel_gateway.messaging import strict_json
from kernel_gateway.notebook.choice import Wish
from kernel_gateway.notebook.papermill import metadata as papermill
from kernel_gateway.notebook.papermill.banner import remove_banner, with_banner
from kernel_gateway.notebook.plan import code_cells
from kernel_gateway.runs.outputs import METADATA_KEY, natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.view import Outcome, RunView, StepView
    from kernel_gateway.service import KernelSpecView

OLDEST, NEWEST = 2, 4  # versions of nbformat that can be read
MINOR = 5  # of version 4, the first with cell IDs

_ID = re.compile(r"[a-zA-Z0-9-_]{1,64}")
_KNOWN = frozenset({"nbformat", "nbformat_minor", "metadata", "cells"})
_KNOWN_OF_CELL: Mapping[str, frozenset[str]] = {
    "code": frozenset({"id", "cell_type", "metadata", "source", "outputs", "execution_count"}),
    "markdown": frozenset({"id", "cell_type", "metadata", "source", "attachments"}),
    "raw": frozenset({"id", "cell_type", "metadata", "source", "attachments"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A notebook as it was read: valid, without any output or trace of an earlier run."""

    notebook: Mapping[str, Any]
    wish: Wish
    digest: str  # of the bytes that were read
    version: str  # of nbformat in which it was written


# -- reading ---------------------------------------------------------------------------------------


def read(data: bytes) -> Source:
    """Raises `NotebookUnreadable` with a sentence that says what is wrong."""
    raw = _parsed(data)
    version = f"{raw['nbformat']}.{raw.get('nbformat_minor', 0)}"
    try:
        notebook = _upgraded(raw)
        wish = _wish(notebook["metadata"])
        _clean(notebook)
        nbformat.validate(notebook)
    except nbformat.ValidationError as fault:
        where = ".".join(str(part) for part in getattr(fault, "absolute_path", ()) or ())
        what = getattr(fault, "message", str(fault))
        raise NotebookUnreadable(_short(f"It is not a valid notebook: {where} {what}")) from fault
    except Exception as fault:  # the boundary: nbformat meets what it does not expect anyhow
        raise NotebookUnreadable(_short(f"It is not a valid notebook: {fault!r}")) from fault
    return Source(notebook=notebook, wish=wish, digest=_digest(data), version=version)


def kept(text: str) -> Source:
    """From the JSON of a notebook that `read` has given: it need not be examined once more."""
    notebook = json.loads(text)
    version = f"{notebook['nbformat']}.{notebook['nbformat_minor']}"
    wish = _wish(notebook["metadata"])
    return Source(notebook=notebook, wish=wish, digest=_digest(text.encode()), version=version)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        raw: Any = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as fault:
        raise NotebookUnreadable(_short(f"It is not JSON: {fault}")) from fault
    if not isinstance(raw, dict) or not isinstance(major := raw.get("nbformat"), int):
        raise NotebookUnreadable("It is JSON but no notebook: it has no nbformat version.")
    if not OLDEST <= major <= NEWEST:
        raise NotebookUnreadable(
            f"It is written in nbformat {major}, and only {OLDEST} to {NEWEST} can be read."
        )
    return raw


def _upgraded(raw: dict[str, Any]) -> NotebookNode:
    """As nbformat 4.5, or a later 4.x as it is; lines of text joined."""
    notebook = nbformat.reader.reads(json.dumps(raw))  # type: ignore[no-untyped-call]
    converted: NotebookNode = nbformat.convert(notebook, NEWEST)  # type: ignore[no-untyped-call]
    if raw["nbformat"] < NEWEST:
        for cell in converted["cells"]:  # they got random IDs; ours are the same each time
            del cell["id"]
    converted["nbformat_minor"] = max(converted.get("nbformat_minor", 0), MINOR)
    return converted


def _wish(metadata: Mapping[str, Any]) -> Wish:
    spec, info = _mapping(metadata.get("kernelspec")), _mapping(metadata.get("language_info"))
    language = _text(spec.get("language")) or _text(info.get("name"))
    return Wish(name=_text(spec.get("name")), language=language)


def _clean(notebook: NotebookNode) -> None:
    """Leave out what is of an earlier run, and what nbformat does not know or allow."""
    if notebook["nbformat_minor"] <= MINOR:
        _keep(notebook, _KNOWN)
    remove_banner(notebook)
    metadata = notebook["metadata"]
    metadata.pop(METADATA_KEY, None)
    metadata.pop(papermill.KEY, None)
    metadata.pop("widgets", None)  # they were made by an earlier run
    for name, needed in (("kernelspec", ("name", "display_name")), ("language_info", ("name",))):
        there = _mapping(metadata.get(name))
        if not all(_text(there.get(key)) for key in needed):
            metadata.pop(name, None)
    _give_ids(notebook["cells"])
    for cell in notebook["cells"]:
        _clean_cell(cell, keep_unknown=notebook["nbformat_minor"] > MINOR)


def _clean_cell(cell: NotebookNode, *, keep_unknown: bool) -> None:
    metadata = cell.setdefault("metadata", {})
    metadata.pop(METADATA_KEY, None)
    metadata.pop(papermill.KEY, None)
    cell.setdefault("source", "")
    if cell["cell_type"] == "code":
        metadata.pop("execution", None)  # times of an earlier run
        cell["outputs"] = []
        cell["execution_count"] = None
    if not keep_unknown:
        _keep(cell, _KNOWN_OF_CELL.get(cell["cell_type"], frozenset(cell)))


def _keep(node: NotebookNode, known: Iterable[str]) -> None:
    for name in set(node) - set(known):
        del node[name]


def _give_ids(cells: Sequence[NotebookNode]) -> None:
    """To each cell without one, or with that of a cell before it. The same ones each time."""
    taken: set[str] = set()
    for cell in cells:
        if not _ID.fullmatch(_text(cell.get("id"))) or cell["id"] in taken:
            cell.pop("id", None)
        else:
            taken.add(cell["id"])
    free = (name for number in range(1, 10**9) if (name := f"cell-{number}") not in taken)
    for cell in cells:
        if "id" not in cell:
            cell["id"] = next(free)


# -- filling ---------------------------------------------------------------------------------------


class Document:
    """The output notebook. Its cells are those of the source; steps are counted as in the plan."""

    def __init__(self, source: Source) -> None:
        self.notebook = nbformat.from_dict(source.notebook)  # type: ignore[no-untyped-call]
        self._cells = code_cells(self.notebook)
        self._steps: Sequence[StepView] = ()

    @property
    def names(self) -> list[str]:
        """Of the steps."""
        return [cell["id"] for cell in self._cells]

    def set_kernel(self, spec: KernelSpecView) -> None:
        """The kernel that really runs it; what else the input said of the same one is kept."""
        there = _mapping(self.notebook["metadata"].get("kernelspec"))
        known = there if there.get("name") == spec.name else {}
        self.notebook["metadata"]["kernelspec"] = {
            "display_name": spec.display_name or spec.name,
            "language": spec.language,
            **known,
            "name": spec.name,
        }

    def set_language(self, info: Mapping[str, Json]) -> None:
        """As the kernel gives it, without what the schema does not allow."""
        if _text(info.get("name")):
            self.notebook["metadata"]["language_info"] = {
                name: value for name, value in info.items() if _allowed_of_language(name, value)
            }

    def set_metadata(self, metadata: Mapping[str, Json]) -> None:
        self.notebook["metadata"][METADATA_KEY] = dict(metadata)

    def set_widgets(self, widgets: Mapping[str, Json] | None) -> None:
        """Their state, by MIME type, so that a reader without a kernel can show them."""
        if widgets is not None:
            self.notebook["metadata"]["widgets"] = dict(widgets)

    def set_papermill(
        self,
        about: papermill.About,
        steps: Sequence[StepView],
        view: RunView | None,
        outcome: Outcome | None,
    ) -> None:
        """The same in papermill's words; at the end a banner leads to the cell that failed."""
        papermill.fill(self.notebook, about, steps, view, outcome)
        self._steps = () if outcome is None else steps

    def set_cell(
        self,
        step: int,
        *,
        outputs: Sequence[Mapping[str, Json]],
        execution_count: int | None,
        metadata: Mapping[str, Json],
    ) -> None:
        cell = self._cells[step]
        cell["outputs"] = list(outputs)
        cell["execution_count"] = natural(execution_count)
        cell["metadata"][METADATA_KEY] = dict(metadata)

    def encode(self) -> bytes:
        """As Jupyter writes it. May take its time, so call it where nothing waits for it; the
        document must not be changed meanwhile."""
        shown = with_banner(self.notebook, self._steps)
        try:
            return _written(nbformat.from_dict(shown))  # type: ignore[no-untyped-call]
        except ValueError:  # NaN, or a lone surrogate, deep in what a kernel sent
            plain = strict_json.decode(strict_json.encode(shown))
            return _written(nbformat.from_dict(plain))  # type: ignore[no-untyped-call]


def _allowed_of_language(name: str, value: Json) -> bool:
    if name == "codemirror_mode":
        return isinstance(value, str | dict)
    if name in {"name", "file_extension", "mimetype", "pygments_lexer"}:
        return isinstance(value, str)
    return True


def _written(notebook: NotebookNode) -> bytes:
    """As nbformat does, but in place: it would copy first. Raises `ValueError`."""
    shown = rwbase.strip_transient(rwbase.split_lines(notebook))  # type: ignore[no-untyped-call]
    return strict_json.laid_out(shown) + b"\n"


# -- small things ----------------------------------------------------------------------------------


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _short(text: str) -> str:
    """Of a fault that may quote the whole notebook."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:297]}..."
