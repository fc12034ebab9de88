"""How things are measured here: side by side, in rounds, as ratios to the floor.

Milliseconds depend on the machine and on who else is using it. So each round visits every
contender once, starting one further each time, and what counts is the ratio to the floor within the
same round, and the CPU time of the processes.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PACKAGES = ("kernel-gateway", "ipykernel", "jupyter_client", "pyzmq", "tornado", "sqlalchemy")


class Contender(Protocol):
    """Something that executes trivial code on a warm kernel."""

    @property
    def name(self) -> str: ...

    def round(self, calls: int) -> list[float]:
        """Execute so often, one after the other; seconds of each call."""

    def cpu(self) -> Mapping[str, float]:
        """CPU seconds so far, by part: `client`, `gateway`, `kernel`."""


@dataclass
class Result:
    """What one contender has done."""

    name: str
    rounds: list[list[float]] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        return sum(map(len, self.rounds))

    def medians(self) -> list[float]:
        return [median(one) for one in self.rounds]

    def percentile(self, percent: int) -> float:
        return percentile([seconds for one in self.rounds for seconds in one], percent)

    def cpu_ms(self, part: str) -> float:
        """CPU of one call."""
        return 1000 * self.cpu.get(part, 0.0) / self.calls


def alternate(contenders: Sequence[Contender], *, rounds: int, calls: int) -> list[Result]:
    """One warm-up round that is thrown away, then the rounds that count."""
    for contender in contenders:
        contender.round(calls)
    results = [Result(contender.name) for contender in contenders]
    for number in range(rounds):
        for turn in range(len(contenders)):
            which = (number + turn) % len(contenders)
            _visit(contenders[which], results[which], calls)
    return results


def _visit(contender: Contender, result: Result, calls: int) -> None:
    before = contender.cpu()
    result.rounds.append(contender.round(calls))
    for part, seconds in contender.cpu().items():
        result.cpu[part] = result.cpu.get(part, 0.0) + seconds - before[part]


def ratios(result: Result, floor: Result) -> list[float]:
    """Round by round."""
    pairs = zip(result.medians(), floor.medians(), strict=True)
    return [mine / best for mine, best in pairs]


def ratio_table(results: Sequence[Result]) -> str:
    """The first of them is the floor."""
    head = ("contender", "p50 ms", "p99 ms", "ratio min/median/max", *_CPU_HEAD)
    return table(head, [_ratio_row(result, results[0]) for result in results])


_CPU_HEAD = ("CPU ms: client", "gateway", "kernel")


def _ratio_row(result: Result, floor: Result) -> tuple[str, ...]:
    return (
        result.name,
        f"{1000 * result.percentile(50):.2f}",
        f"{1000 * result.percentile(99):.2f}",
        spread(ratios(result, floor), ".2f"),
        *(f"{result.cpu_ms(part):.2f}" for part in ("client", "gateway", "kernel")),
    )


def spread(values: Sequence[float], form: str) -> str:
    """min / **median** / max"""
    return f"{min(values):{form}} / **{median(values):{form}}** / {max(values):{form}}"


def percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def process_cpu(pid: int) -> float:
    """CPU seconds of all threads of a process so far, by the scheduler's own count."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def children(pid: int) -> set[int]:
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for file in files for child in file.read_text().split()}


def new_child(pid: int, action: Callable[[], None]) -> int:
    """The process that `action` makes `pid` start."""
    before = children(pid)
    action()
    (child,) = children(pid) - before
    return child


def surroundings() -> str:
    """Versions and machine, for the head of a report."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    load = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}, {versions}\n"
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, load {load:.1f}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
