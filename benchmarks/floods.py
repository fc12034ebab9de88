"""What a flood of one kernel costs, and whether all of it arrives.

A contender that lost output has no speed: where fewer characters arrived than were printed, the
table says how many, and nothing else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Protocol

from benchmarks.burst import MESSAGE_BYTES, MESSAGES
from benchmarks.measure import faults_told, spread, table
from benchmarks.results import Series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.cells import Cell
    from benchmarks.channels import SocketKernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    code: str
    messages: int
    characters: int


BURST_FOREIGN = Flood(code="burst foreign", messages=MESSAGES, characters=MESSAGES * MESSAGE_BYTES)
BURST_OWN = Flood(code="burst own", messages=MESSAGES, characters=MESSAGES * MESSAGE_BYTES)


def prints(lines: int) -> Flood:
    """Each line flushed, so each in a message of its own."""
    return Flood(
        code=f"for i in range({lines}): print(i, flush=True)",
        messages=lines,
        characters=sum(len(f"{number}\n") for number in range(lines)),
    )


class Flooding(Protocol):
    """Something that executes and tells all that it heard."""

    @property
    def name(self) -> str: ...

    def prepare(self) -> None:
        """Called before it is measured."""

    def execute(self, code: str) -> Cell: ...

    def cpu(self) -> Mapping[str, float]: ...


class Stalled:
    """A client that reads nothing for some seconds after it has asked."""

    def __init__(self, kernel: SocketKernel, seconds: float) -> None:
        self.name = f"{kernel.name}, stalled {seconds:g} s"
        self._kernel = kernel
        self._seconds = seconds

    def prepare(self) -> None:
        self._kernel.prepare()

    def execute(self, code: str) -> Cell:
        cell = self._kernel.submit(code)
        time.sleep(self._seconds)
        return self._kernel.finish(cell)

    def cpu(self) -> Mapping[str, float]:
        return self._kernel.cpu()


@dataclass
class Flooded:
    """What one contender has done."""

    name: str
    seconds: list[float] = field(default_factory=list)
    printed: list[int] = field(default_factory=list)
    endless: int = 0  # cells whose reply or idle never came
    messages: list[int] = field(default_factory=list)
    cpu: list[Mapping[str, float]] = field(default_factory=list)
    fault: str = ""  # it failed, and is not visited again

    def lost(self, flood: Flood) -> str:
        """Why it has no speed, if so."""
        if self.fault:
            return self.fault
        share = min(self.printed) / flood.characters
        if share != 1 or self.endless:
            end = f", {self.endless} without an end" if self.endless else ""
            return f"{share:.3f} arrived{end}"
        return ""


def alternate_floods(contenders: Sequence[Flooding], flood: Flood, *, rounds: int) -> list[Flooded]:
    """Each round visits each once, starting one further each time."""
    results = [Flooded(contender.name) for contender in contenders]
    for number in range(rounds):
        for turn in range(len(contenders)):
            which = (number + turn) % len(contenders)
            _visit(contenders[which], results[which], flood)
    return results


def _visit(contender: Flooding, result: Flooded, flood: Flood) -> None:
    if result.fault:
        return
    with faults_told(result):
        _flood(contender, result, flood)


def _flood(contender: Flooding, result: Flooded, flood: Flood) -> None:
    contender.prepare()
    before = _settled_cpu(contender)
    start = time.perf_counter()
    cell = contender.execute(flood.code)
    result.seconds.append(time.perf_counter() - start)
    after = _settled_cpu(contender)
    result.printed.append(cell.printed)
    result.endless += not cell.over
    result.messages.append(cell.messages)
    result.cpu.append({part: seconds - before[part] for part, seconds in after.items()})


def _settled_cpu(contender: Flooding) -> Mapping[str, float]:
    """When it has done what it had put off, such as a commit."""
    before = contender.cpu()
    while True:
        time.sleep(0.2)
        after = contender.cpu()
        if after.get("gateway", 0.0) - before.get("gateway", 0.0) < 0.005:
            return after
        before = after


def flood_table(results: Sequence[Flooded], flood: Flood) -> str:
    """The first of them is the floor."""
    head = (
        "contender",
        "received/printed",
        "messages",
        "s",
        "ratio min/median/max",
        "CPU us a message: client",
        "gateway min/median/max",
        "kernel",
    )
    return table(head, [_row(result, results[0], flood) for result in results])


def _row(result: Flooded, floor: Flooded, flood: Flood) -> tuple[str, ...]:
    if lost := result.lost(flood):
        return (result.name, lost, *["void"] * 6)
    messages = f"{median(result.messages):.0f}"
    pairs = zip(result.seconds, floor.seconds, strict=True)
    return (
        result.name,
        "1",
        messages,
        f"{median(result.seconds):.2f}",
        spread([mine / best for mine, best in pairs], ".2f"),
        f"{median(_cpu_us(result, 'client', flood)):.1f}",
        spread(_cpu_us(result, "gateway", flood), ".1f"),
        f"{median(_cpu_us(result, 'kernel', flood)):.1f}",
    )


def cpu_series(name: str, result: Flooded, flood: Flood, part: str) -> Series:
    """CPU of a part for a message, in us."""
    if lost := result.lost(flood):
        return Series(name=name, fault=lost)
    return Series(name=name, rounds=tuple(_cpu_us(result, part, flood)))


def _cpu_us(result: Flooded, part: str, flood: Flood) -> list[float]:
    return [1e6 * one.get(part, 0.0) / flood.messages for one in result.cpu]
