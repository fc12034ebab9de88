"""A run as a picture: bars, an SVG that is readable on a light page and on a dark one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks.report import form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Measure, Run

#: Measures whose figures are the better the shorter.
SHOWN = ("create", "warm", "relay", "bulk", "notebooks", "many: memory of a kernel")

_WIDTH, _LABELS, _BARS = 860, 330, 400
_ROW, _BAR, _HEAD, _GAP = 20, 12, 30, 14
_THIN = 1.5  # what is hardly anything is still there

#: Inside an image a page's own colours are unknown, but whether its reader likes it dark is not.
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13px }
.label { text-anchor: end }
.other { fill: #8c959f }
.ours { fill: #1f6feb }
@media (prefers-color-scheme: dark) { text { fill: #d0d7de } .other { fill: #6e7681 } }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    title: str
    unit: str
    bars: tuple[tuple[str, float], ...]

    @property
    def height(self) -> int:
        return _HEAD + _ROW * len(self.bars) + _GAP


def picture(run: Run) -> str:
    shown = panels(run.measures)
    lines: list[str] = []
    top = 0
    for panel in shown:
        lines += _drawn(panel, top)
        top += panel.height
    about = f"{run.date}, {run.machine.get('cores', '?')} cores, {run.machine.get('CPU', '')}"
    lines.append(_text(0, top + 14, "", f"Medians; shorter is better. {about}"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top + 24}" '
        f'viewBox="0 0 {_WIDTH} {top + 24}" role="img" aria-label="How fast, in bars">\n'
        f"<style>{_STYLE}</style>\n" + "\n".join(lines) + "\n</svg>\n"
    )


def panels(measures: Sequence[Measure]) -> list[Panel]:
    """The first of each name that is to be shown."""
    first: dict[str, Measure] = {}
    for measure in measures:
        if any(one.measured for one in measure.series):
            first.setdefault(measure.name, measure)
    return [_panel(first[name]) for name in SHOWN if name in first]


def _panel(measure: Measure) -> Panel:
    """The longest bar first."""
    bars = [(one.name, median(one.rounds)) for one in measure.series if one.measured]
    setting = f", {measure.setting}" if measure.setting else ""
    return Panel(
        title=f"{measure.title}{setting}".replace("`", ""),
        unit=measure.unit,
        bars=tuple(sorted(bars, key=lambda bar: -bar[1])),
    )


def _drawn(panel: Panel, top: int) -> list[str]:
    lines = [_text(0, top + 20, "title", f"{panel.title} ({panel.unit})")]
    longest = max(figure for _, figure in panel.bars) or 1.0
    for number, (name, figure) in enumerate(panel.bars):
        y = top + _HEAD + _ROW * number
        width = max(_THIN, _BARS * figure / longest)
        kind = "ours" if is_ours(name) else "other"
        lines += [
            _text(_LABELS - 8, y + 10, "label", name),
            f'<rect class="{kind}" x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_BAR}"/>',
            _text(round(_LABELS + width + 6), y + 10, "", f"{figure:{form([figure])}}"),
        ]
    return lines


def is_ours(name: str) -> bool:
    return name.startswith(("ours", "kernel-gateway"))


def _text(x: int, y: int, kind: str, text: str) -> str:
    with_class = f' class="{kind}"' if kind else ""
    return f'<text{with_class} x="{x}" y="{y}">{escape(text)}</text>'
