"""How things are measured here: side by side, in rounds, as ratios to the floor.

Milliseconds depend on the machine and on who else is using it. So each round visits every
contender once, starting one further each time, and what counts is the ratio to the floor within the
same round, and the CPU time of the processes.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
import traceback
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Protocol, TypeVar

from benchmarks.results import Series, by_rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_PACKAGES = (
    "kernel-gateway",
    "ipykernel",
    "jupyter_client",
    "pyzmq",
    "tornado",
    "sqlalchemy",
    "msgspec",  # the extra `fast`
)


class Contender(Protocol):
    """Something that executes trivial code on a warm kernel."""

    @property
    def name(self) -> str: ...

    def round(self, calls: int) -> list[float]:
        """Execute so often, one after the other; seconds of each call."""

    def cpu(self) -> Mapping[str, float]:
        """CPU seconds so far, by part: `client`, `gateway`, `kernel`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: as many rounds as were asked for, or as each measure wants."""

    asked: int | None = None
    quick: bool = False

    def rounds(self, full: int, quick: int) -> int:
        return self.asked or (quick if self.quick else full)


@dataclass
class Result:
    """What one contender has done."""

    name: str
    rounds: list[list[float]] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    fault: str = ""  # it failed: it is not visited again and has no speed

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


def alternate(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    calls: int,
    names: Sequence[str] | None = None,
) -> list[Result]:
    """One warm-up round that is thrown away, then the rounds that count."""
    results = [Result(name) for name in names or [contender.name for contender in contenders]]
    for contender, result in zip(contenders, results, strict=True):
        _warm_up(contender, result, calls)
    for number in range(rounds):
        for turn in range(len(contenders)):
            which = (number + turn) % len(contenders)
            _visit(contenders[which], results[which], calls)
    return results


def _warm_up(contender: Contender, result: Result, calls: int) -> None:
    with faults_told(result):
        contender.round(calls)


def _visit(contender: Contender, result: Result, calls: int) -> None:
    if result.fault:
        return
    with faults_told(result):
        before = contender.cpu()
        result.rounds.append(contender.round(calls))
        for part, seconds in contender.cpu().items():
            result.cpu[part] = result.cpu.get(part, 0.0) + seconds - before[part]


class Faulty(Protocol):
    """What keeps why its contender has no speed."""

    name: str
    fault: str


@contextmanager
def faults_told(result: Faulty) -> Iterator[None]:
    """One contender that fails does not take the others with it."""
    try:
        yield
    except Exception as error:
        result.fault = reason(error)
        print(f"{result.name} failed", file=sys.stderr)
        traceback.print_exception(error)


def reason(error: BaseException) -> str:
    """In a line, for a report that others read: without paths."""
    (*_, last) = str(error).strip().splitlines() or [""]
    return _PATH.sub("...", f"{type(error).__name__}: {last}"[:120])


_PATH = re.compile(r"/[^\s'\":]*/[^\s'\":]*")


T = TypeVar("T")


class Field:
    """The contenders of a measure. Who cannot be had is told, and the others go on without."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.contenders: dict[str, Contender] = {}
        self.absent: list[Series] = []

    def enter(self, name: str, made: Callable[[], AbstractContextManager[T]]) -> T | None:
        """A server, or whatever contenders need."""
        return self.had(name, lambda: self._stack.enter_context(made()))

    def add(self, name: str, made: Callable[[], Contender]) -> None:
        contender = self.had(name, made)
        if contender is not None:
            self.contenders[name] = contender

    def had(self, name: str, made: Callable[[], T]) -> T | None:
        result = Result(name)
        with faults_told(result):
            return made()
        self.absent.append(Series(name=name, fault=result.fault))
        return None

    def alternate(self, *, rounds: int, calls: int) -> tuple[Series, ...]:
        """By the names here, in milliseconds; the first that was added is the floor."""
        names, contenders = list(self.contenders), list(self.contenders.values())
        results = alternate(contenders, rounds=rounds, calls=calls, names=names)
        return (*(series(result.name, result) for result in results), *self.absent)


def ratios(result: Result, floor: Result) -> list[float]:
    """Round by round."""
    return list(by_rounds(result.medians(), floor.medians()))


def series(name: str, result: Result, *, per: float = 1000.0) -> Series:
    """For the report; `per` is what a second is in the unit of the measure: milliseconds."""
    if result.fault:
        return Series(name=name, fault=result.fault)
    many = result.calls > len(result.rounds)
    return Series(
        name=name,
        rounds=tuple(per * middle for middle in result.medians()),
        p99=per * result.percentile(99) if many else None,
        cpu_ms={part: result.cpu_ms(part) for part in result.cpu},
    )


def ratio_table(results: Sequence[Result]) -> str:
    """The first of them is the floor."""
    head = ("contender", "p50 ms", "p99 ms", "ratio min/median/max", *_CPU_HEAD)
    return table(head, [_ratio_row(result, results[0]) for result in results])


_CPU_HEAD = ("CPU ms: client", "gateway", "kernel")


def _ratio_row(result: Result, floor: Result) -> tuple[str, ...]:
    if result.fault:
        return (result.name, result.fault, *["-"] * 5)
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


def cpu_of_all(*, gateway: int, kernel: int) -> dict[str, float]:
    """Of these processes, and of the client, which is this one."""
    return {
        "client": time.process_time(),
        "gateway": process_cpu(gateway),
        "kernel": process_cpu(kernel),
    }


def pss_bytes(pid: int) -> int:
    """Memory of a process, where what it shares with others is shared out among them."""
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )
    return 1024 * int(line.split()[1])


def children(pid: int) -> set[int]:
    """None where there is no such process any more."""
    found: set[int] = set()
    with suppress(FileNotFoundError, ProcessLookupError):
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            found.update(map(int, file.read_text().split()))
    return found


def new_child(pid: int, action: Callable[[], object]) -> int:
    """The kernel that `action` makes `pid` start: forked by a fork server, it is a grandchild, and
    the fork server may be new, too."""
    before = dict(descendants(pid))
    action()
    new = [(depth, child) for child, depth in descendants(pid) if child not in before]
    _, child = max(new)
    return child


def descendants(pid: int, depth: int = 1) -> Iterator[tuple[int, int]]:
    """Each with how many generations it is away."""
    for child in children(pid):
        yield child, depth
        yield from descendants(child, depth + 1)


def surroundings() -> str:
    """Versions and machine, for the head of a report."""
    versions = ", ".join(f"{name} {number}" for name, number in our_versions().items())
    about = ", ".join(f"{name} {value}" for name, value in machine().items())
    return f"{versions}\n{about}"


def our_versions() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}


def machine() -> dict[str, str]:
    """What the figures depend on; not whose it is."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpus if "model name" in line), "")
    return {
        "cores": str(os.cpu_count()),
        "CPU": model or platform.machine(),
        platform.system(): platform.release(),
        "Python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
