"""The report of a run, in Markdown. Pure: from values to text."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measure import spread, table
from benchmarks.results import Measure, Series, Verdict, ratios, verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.results import Run

_HOW = """\
Every round visits each contender once, starting one further each time. What counts is the ratio of
two contenders **in the same round**, here as min / **median** / max over the rounds: milliseconds
depend on the machine. CPU is of all threads of a process, for one call. A contender that lost
output or failed has no speed."""


def report(run: Run) -> str:
    """The whole; ends with a newline."""
    parts = [
        f"# How fast, on {run.date}",
        *(["A quick run: a few rounds, to see that all of it works."] if run.quick else []),
        _HOW,
        _pairs(run.machine),
        _pairs(run.versions),
        "## Targets",
        targets_table(run.measures),
        *_missing(run.missing),
    ]
    for measure in run.measures:
        parts += _shown(measure)
    return "\n\n".join(parts) + "\n"


def targets_table(measures: Sequence[Measure]) -> str:
    head = ("measure", "target", "min / **median** / max", "met")
    return table(head, [_target_row(*one) for one in verdicts(measures)])


def _target_row(measure: Measure, verdict: Verdict) -> tuple[str, ...]:
    target = verdict.target
    unit = "x" if target.over else measure.unit
    setting = f", {measure.setting}" if measure.setting else ""
    values = spread(verdict.values, form(verdict.values)) if verdict.values else "-"
    wanted = f"{target.bound} {target.limit:g} {unit}"
    return (f"{target.text}{setting}", wanted, values, _said(verdict))


def _said(verdict: Verdict) -> str:
    if verdict.met is None:
        return f"not measured: {verdict.fault}"
    return "yes" if verdict.met else f"**no**, by {100 * verdict.miss:.0f} %"


def _pairs(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs.items())


def _missing(missing: Mapping[str, str]) -> list[str]:
    if not missing:
        return []
    rows = [f"- {name}: {reason}" for name, reason in missing.items()]
    return ["## Not measured", "\n".join(rows)]


def _shown(measure: Measure) -> list[str]:
    setting = f", {measure.setting}" if measure.setting else ""
    rounds = max((len(one.rounds) for one in measure.series), default=0)
    on = f" on {measure.date}" if measure.date else ""
    note = f" {measure.note}" if measure.note else ""
    return [
        f"## {measure.title}{setting}",
        f"{rounds} rounds{on}.{note}",
        measure_table(measure),
    ]


def measure_table(measure: Measure) -> str:
    """The ratios are to the first contender."""
    parts = sorted({part for one in measure.series for part in one.cpu_ms})
    tails = any(one.p99 is not None for one in measure.series)
    head = (
        "contender",
        f"{measure.unit}, min / **median** / max",
        *(["p99"] if tails else []),
        f"times {measure.series[0].name}" if measure.series else "",
        *(f"CPU ms: {part}" for part in parts),
    )
    return table(head, [_row(one, measure, parts, tails=tails) for one in measure.series])


def _row(one: Series, measure: Measure, parts: Sequence[str], *, tails: bool) -> tuple[str, ...]:
    if not one.measured:
        blank = ["-"] * (len(parts) + tails + 1)
        return (one.name, one.fault or "not measured", *blank)
    to_floor = ratios(one, measure.series[0])
    return (
        one.name,
        spread(one.rounds, form(one.rounds)),
        *([_p99(one)] if tails else []),
        spread(to_floor, form(to_floor)) if to_floor else "-",
        *(f"{one.cpu_ms[part]:.2f}" if part in one.cpu_ms else "-" for part in parts),
    )


def _p99(one: Series) -> str:
    return "-" if one.p99 is None else f"{one.p99:{form([one.p99])}}"


def form(values: Sequence[float]) -> str:
    """Three digits, as far as they tell something."""
    middle = median(values) if values else 0.0
    return ".0f" if middle >= 100 else ".1f" if middle >= 10 else ".2f"
