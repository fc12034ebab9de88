"""Which parameters a notebook has: what its cell tagged `parameters` assigns to.

Knows notebooks as nbformat 4 dictionaries, and Python as a syntax. Must not know files or kernels:
nothing is executed. Of other languages no syntax is known; then nothing is found, and that is said.
"""

from __future__ import annotations

import ast
import io
import re
import threading
import tokenize
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from kernel_gateway.notebook.parameters.languages import is_python

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json

PARAMETERS_TAG = "parameters"

MAX_SOURCE = 2**18  # characters; who has more parameters than that has no parameters cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    type: str | None  # as annotated, or in a comment, or that of a plain default
    default: str | None  # source, in one line; None: it has a type alone
    help: str  # the comment behind it; may be empty

    @property
    def json(self) -> dict[str, Json]:
        return {"name": self.name, "type": self.type, "default": self.default, "help": self.help}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    parameters: tuple[Parameter, ...] = ()  # in the order of the cell
    inspectable: bool  # whether the cell could be understood
    tagged: bool  # whether there is such a cell

    @property
    def json(self) -> dict[str, Json]:
        return {
            "parameters": [one.json for one in self.parameters],
            "inspectable": self.inspectable,
        }


def inspected(notebook: Mapping[str, Any], *, kernel: str, language: str) -> Inspection:
    """`kernel` and `language` as the notebook or a kernelspec names them; they may be empty."""
    index = tagged(notebook)
    if not is_python(kernel, language):
        return Inspection(inspectable=False, tagged=index is not None)
    if index is None:
        return Inspection(inspectable=True, tagged=False)
    found = _of_python(notebook["cells"][index]["source"])
    if found is None:
        return Inspection(inspectable=False, tagged=True)
    return Inspection(parameters=found, inspectable=True, tagged=True)


def tagged(notebook: Mapping[str, Any]) -> int | None:
    """The first cell of code that holds parameters."""
    numbered = enumerate(notebook["cells"])
    return next((index for index, cell in numbered if has_tag(cell, PARAMETERS_TAG)), None)


def has_tag(cell: Mapping[str, Any], tag: str) -> bool:
    return cell["cell_type"] == "code" and tag in cell["metadata"].get("tags", ())


# -- Python ----------------------------------------------------------------------------------------

_Assignment: TypeAlias = ast.Assign | ast.AnnAssign

#: Blocks in which code of the cell itself goes on; a function's names are its own.
_BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try)

_MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)  # of IPython: no Python, and no parameter
_COMMENT = re.compile(r"#\s*(?:type:\s*(?P<type>\S+)\s*)?(?P<help>.*)")

#: Filters of warnings are the whole process's: nobody else sets them meanwhile.
_filters = threading.Lock()


def _of_python(source: str) -> tuple[Parameter, ...] | None:
    """None: it cannot be read as Python. The last word on a name counts, as it does in Python."""
    if len(source) > MAX_SOURCE:
        return None
    source = _MAGIC.sub(r"\1pass", source.replace("\r\n", "\n").replace("\r", "\n"))
    try:
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the author's escapes: not for who inspects
            body = ast.parse(source).body
        return _parameters(body, source.split("\n"), _comments(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None


def _parameters(
    body: Sequence[ast.stmt], lines: Sequence[str], comments: Mapping[int, str]
) -> tuple[Parameter, ...]:
    found: dict[str, Parameter] = {}
    for statement in _assignments(body):
        comment = comments.get(statement.end_lineno or 0, "")
        for name, value in _assigned(statement):
            found.pop(name, None)
            found[name] = _parameter(lines, statement, name, value, comment)
    return tuple(found.values())


def _comments(source: str) -> dict[int, str]:
    """By line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def _assignments(body: Sequence[ast.stmt]) -> Iterator[_Assignment]:
    for statement in body:
        if isinstance(statement, _Assignment):
            yield statement
        elif isinstance(statement, _BLOCKS):
            for field in ("body", "handlers", "orelse", "finalbody"):
                for inner in getattr(statement, field, ()):
                    yield from _assignments(
                        inner.body if isinstance(inner, ast.ExceptHandler) else [inner]
                    )


def _assigned(statement: _Assignment) -> Iterator[tuple[str, ast.expr | None]]:
    """Each name with its value; the value of one among several is known where all are written."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    for target in targets:
        yield from _named(target, statement.value)


def _named(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Starred):
        yield from _named(target.value, None)
    elif isinstance(target, ast.Tuple | ast.List):
        parts = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        fits = len(parts) == len(target.elts) and not any(
            isinstance(part, ast.Starred) for part in (*parts, *target.elts)
        )
        for number, part in enumerate(target.elts):
            yield from _named(part, parts[number] if fits else None)


def _parameter(
    lines: Sequence[str],
    statement: _Assignment,
    name: str,
    value: ast.expr | None,
    comment: str,
) -> Parameter:
    said = _COMMENT.match(comment)
    annotation = statement.annotation if isinstance(statement, ast.AnnAssign) else None
    kind = None if annotation is None else _annotated(lines, annotation)
    if kind is None and said is not None:
        kind = said["type"]
    return Parameter(
        name=name,
        type=kind or _type_of(value),
        default=None if value is None else _text(lines, value),
        help="" if said is None else said["help"].strip(),
    )


def _annotated(lines: Sequence[str], annotation: ast.expr) -> str:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return _text(lines, annotation)


def _text(lines: Sequence[str], node: ast.expr) -> str:
    """In one line, and where it is written in one, as it is written."""
    if node.end_lineno != node.lineno:
        return ast.unparse(node)
    line = lines[node.lineno - 1].encode()  # its columns are counted in bytes
    return line[node.col_offset : node.end_col_offset].decode()


def _type_of(value: ast.expr | None) -> str | None:
    """None, too, for what only its execution could tell, and for `None`."""
    try:
        plain = None if value is None else ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return None if plain is None else type(plain).__name__
