"""A JUnit report of notebook runs: a suite a notebook, a case a code cell.

Knows how runs ended and the shape that CI systems read. Must not know files or the command line.
Whatever a kernel has sent, what comes out is well-formed XML 1.0.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from kernel_gateway.notebook.plan import code_cells
from kernel_gateway.runs.view import Outcome, StepOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any
    from xml.etree.ElementTree import Element

    from kernel_gateway.errors import GatewayError
    from kernel_gateway.notebook.runner import NotebookResult
    from kernel_gateway.runs.view import StepView

_WORDS = 50  # characters of a cell's first line

#: What XML 1.0 has no way to say, lone surrogates among it.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: What terminals act on: colours and cursor moves, titles and links, short sequences.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")

_FAILED = "failure"  # the code says so
_BROKEN = "error"  # the code had no say
_LEFT_OUT = "skipped"
_KINDS: Mapping[StepOutcome, str] = {
    StepOutcome.ERROR: _FAILED,
    StepOutcome.TIMED_OUT: _BROKEN,
    StepOutcome.CANCELLED: _BROKEN,
    StepOutcome.DIED: _BROKEN,
    StepOutcome.SKIPPED: _LEFT_OUT,
    StepOutcome.NOT_RUN: _LEFT_OUT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One notebook that was run, or refused."""

    name: str
    notebook: Mapping[str, Any]  # as it was executed
    result: NotebookResult | None
    attempt: int = 1
    fault: GatewayError | None = None  # where there is no result


def first_words(code: str) -> str:
    """Of a cell: its first line that says something."""
    lines = (line.strip() for line in code.splitlines())
    first = next((line for line in lines if line and not line.startswith("%%")), code.strip())
    return first if len(first) <= _WORDS else f"{first[: _WORDS - 3]}..."


def junit(suites: Iterable[Suite]) -> bytes:
    root = ET.Element("testsuites")
    root.extend(_suite(one) for one in suites)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(suite: Suite) -> Element:
    cases = _cases(suite)
    kinds = Counter(child.tag for case in cases for child in case)
    steps = suite.result.steps if suite.result is not None else ()
    element = _element(
        "testsuite",
        name=suite.name,
        tests=str(len(cases)),
        failures=str(kinds[_FAILED]),
        errors=str(kinds[_BROKEN]),
        skipped=str(kinds[_LEFT_OUT]),
        time=_seconds(sum(step.duration or 0.0 for step in steps)),
    )
    begun = next((step.started_at for step in steps if step.started_at is not None), None)
    if begun is not None:
        moment = dt.datetime.fromtimestamp(begun, dt.UTC)
        element.set("timestamp", moment.isoformat(timespec="seconds"))
    properties = _element("properties")
    for name, value in _properties(suite).items():
        properties.append(_element("property", name=name, value=value))
    element.append(properties)
    element.extend(cases)
    return element


def _properties(suite: Suite) -> dict[str, str]:
    result = suite.result
    if result is None:
        return {"attempt": str(suite.attempt)}
    told = {"outcome": result.outcome.value, "attempt": str(suite.attempt)}
    return told if result.run is None else {**told, "uid": result.run.uid}


def _cases(suite: Suite) -> list[Element]:
    result = suite.result
    if result is None:
        assert suite.fault is not None
        return [_broken(suite.name, "notebook", suite.fault.code, suite.fault.message)]
    cells = code_cells(suite.notebook)
    cases = [
        _case(suite.name, f"{step.index + 1}: {first_words(cell['source'])}".rstrip(), step, result)
        for step, cell in zip(result.steps, cells, strict=True)
    ]
    if result.outcome is not Outcome.OK and not any(step.state in _HIT for step in result.steps):
        # It never came to a cell.
        cases.insert(0, _broken(suite.name, "kernel", result.reason.code, result.reason.message))
    return cases


def _broken(suite: str, name: str, code: str, message: str) -> Element:
    """A case for what is no cell."""
    case = _element("testcase", classname=suite, name=name, time=_seconds(0.0))
    case.append(_verdict(_BROKEN, code, message))
    return case


#: In which a run comes to a bad end.
_HIT = frozenset(state for state, kind in _KINDS.items() if kind != _LEFT_OUT)


def _case(suite: str, name: str, step: StepView, result: NotebookResult) -> Element:
    case = _element("testcase", classname=suite, name=name, time=_seconds(step.duration or 0.0))
    kind = _KINDS.get(step.state)
    if kind == _LEFT_OUT:
        case.append(_element(kind, message=step.state.value))
    elif kind is not None and step.error is not None:
        error = step.error
        text = "\n".join(error.traceback)
        case.append(_verdict(kind, error.ename, f"{error.ename}: {error.evalue}", text))
    elif kind is not None:
        case.append(_verdict(kind, result.reason.code, result.reason.message))
    return case


def _verdict(kind: str, type_: str, message: str, text: str = "") -> Element:
    element = _element(kind, type=type_, message=message or type_)
    element.text = _clean(text or message or type_)
    return element


def _element(tag: str, **attributes: str) -> Element:
    return ET.Element(tag, {name: _clean(value) for name, value in attributes.items()})


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", _ANSI.sub("", text))


def _seconds(duration: float) -> str:
    return f"{duration:.3f}"
