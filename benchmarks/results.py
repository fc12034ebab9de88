"""What was measured, as values: figures round by round, ratios, and whether a target is met.

It knows no process, no clock and no file; report.py and picture.py show what is here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Bound = Literal["at most", "at least"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One contender: a figure for each round, or the reason why there is none."""

    name: str
    rounds: tuple[float, ...] = ()
    p99: float | None = None  # of all calls, where a round has many
    cpu_ms: Mapping[str, float] = field(default_factory=dict)  # of one call, by part
    fault: str = ""

    @property
    def measured(self) -> bool:
        """Who failed, or lost output, has no speed."""
        return bool(self.rounds) and not self.fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`of` is to be at most or at least `limit`; with `over`, so many times that of `over`."""

    text: str
    of: str
    over: str = ""
    bound: Bound
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Contenders that were visited in the same rounds; the ratios are to the first of them."""

    name: str
    title: str
    setting: str = ""  # such as `history off`, the same for all of them
    unit: str
    series: tuple[Series, ...]
    targets: tuple[Target, ...] = ()
    note: str = ""
    date: str = ""

    def of(self, name: str) -> Series:
        """Without a figure where there is no such contender."""
        found = (one for one in self.series if one.name == name)
        return next(found, Series(name=name, fault="not measured"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a target. Without values nothing can be said of it."""

    target: Target
    values: tuple[float, ...] = ()
    fault: str = ""

    @property
    def met(self) -> bool | None:
        if not self.values:
            return None
        if self.target.bound == "at most":
            return median(self.values) <= self.target.limit
        return median(self.values) >= self.target.limit

    @property
    def miss(self) -> float:
        """By what part of the limit the median is on the wrong side of it; 0 where it is not."""
        if not self.values:
            return 0.0
        beyond = median(self.values) / self.target.limit - 1
        return max(0.0, beyond if self.target.bound == "at most" else -beyond)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All that one run of the benchmarks has found, and where."""

    date: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    measures: tuple[Measure, ...]
    missing: Mapping[str, str] = field(default_factory=dict)  # measures that failed, and why
    quick: bool = False


def merged(before: Run, after: Run, parts: Collection[str]) -> Run:
    """The measures of `after`, for which `parts` were run, and those of `before` that have other
    names."""
    names = {one.name for one in after.measures}
    kept = [one for one in before.measures if one.name not in names]
    missing = {name: why for name, why in before.missing.items() if name not in parts}
    return replace(
        after,
        versions={**before.versions, **after.versions},
        measures=(*kept, *after.measures),
        missing={**missing, **after.missing},
    )


def ratios(series: Series, floor: Series) -> tuple[float, ...]:
    """Round by round; nothing where one of the two has no figure."""
    if not series.measured or not floor.measured:
        return ()
    return by_rounds(series.rounds, floor.rounds)


def by_rounds(mine: Sequence[float], floor: Sequence[float]) -> tuple[float, ...]:
    return tuple(one / best for one, best in zip(mine, floor, strict=True))


def verdict(measure: Measure, target: Target) -> Verdict:
    of = measure.of(target.of)
    if not target.over:
        return Verdict(target=target, values=of.rounds if of.measured else (), fault=of.fault)
    over = measure.of(target.over)
    return Verdict(target=target, values=ratios(of, over), fault=of.fault or over.fault)


def verdicts(measures: Sequence[Measure]) -> list[tuple[Measure, Verdict]]:
    return [(one, verdict(one, target)) for one in measures for target in one.targets]


# -- as JSON --------------------------------------------------------------------------------------


def to_json(run: Run) -> dict[str, Any]:
    return asdict(run)


def from_json(whole: Mapping[str, Any]) -> Run:
    return Run(**{**whole, "measures": tuple(map(_measure, whole["measures"]))})


def _measure(whole: Mapping[str, Any]) -> Measure:
    series = tuple(Series(**{**one, "rounds": tuple(one["rounds"])}) for one in whole["series"])
    targets = tuple(Target(**one) for one in whole["targets"])
    return Measure(**{**whole, "series": series, "targets": targets})
