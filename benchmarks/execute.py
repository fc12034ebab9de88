"""Warm `1+1`, raw ZeroMQ and REST side by side, and commits in a flood. See README.md."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from benchmarks.commits import flood_server, flood_store
from benchmarks.measure import (
    Contender,
    alternate,
    percentile,
    ratio_table,
    surroundings,
    table,
)
from benchmarks.parts import engines
from benchmarks.peers import HttpFloor, gateway, raw_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FLOOD_HEAD = ("measured", "count", "p50 ms", "p99 ms", "max ms")


def main() -> None:
    options = _options()
    print(surroundings(), end="\n\n")
    for history in (False, True):
        with _contenders(history=history, parts=options.parts) as contenders:
            results = alternate(contenders, rounds=options.rounds, calls=options.calls)
        print(f"## Warm 1+1, history {'on' if history else 'off'}\n")
        print(f"{options.rounds} rounds of {options.calls} calls each.\n")
        print(ratio_table(results), end="\n\n")
    if options.flood:
        print("## Commits\n")
        print(_flood_table(flood_store(options.flood)), end="\n\n")
        with gateway(history=False) as server:
            print(_flood_table(flood_server(server, options.flood)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=60, help="of each contender in each round")
    parser.add_argument("--parts", action="store_true", help="also the gateway bit by bit")
    parser.add_argument(
        "--flood", type=float, default=5.0, metavar="SECONDS", help="0: leave the floods out"
    )
    return parser.parse_args()


@contextmanager
def _contenders(*, history: bool, parts: bool) -> Iterator[Sequence[Contender]]:
    """The floor first."""
    with ExitStack() as stack:
        floor = stack.enter_context(raw_kernel(history=history))
        server = stack.enter_context(gateway(history=history))
        contenders: list[Contender] = [floor, server.start_kernel()]
        if parts and not history:
            contenders += [*stack.enter_context(engines()), HttpFloor(server)]
        yield contenders


def _flood_table(found: Mapping[str, Sequence[float]]) -> str:
    return table(_FLOOD_HEAD, [_flood_row(name, took) for name, took in found.items()])


def _flood_row(name: str, took: Sequence[float]) -> tuple[str, ...]:
    figures = (percentile(took, 50), percentile(took, 99), max(took))
    return (name, str(len(took)), *(f"{1000 * figure:.1f}" for figure in figures))


if __name__ == "__main__":
    main()
