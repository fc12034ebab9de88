"""The WebSocket of kernels beside raw ZeroMQ and the peers: cells and floods. See README.md."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.channels import V1, Legacy, Served, SocketKernel
from benchmarks.echo import echo
from benchmarks.floods import (
    BURST_FOREIGN,
    BURST_OWN,
    Flood,
    Flooding,
    Stalled,
    alternate_floods,
    flood_table,
    prints,
)
from benchmarks.measure import Contender, alternate, ratio_table, surroundings
from benchmarks.peers import IPYKERNEL, RawKernel, gateway, raw_kernel
from benchmarks.rivals import (
    BURST,
    BURST_COMMAND,
    CELLS,
    CELLS_HISTORY,
    jupyter_kernel_gateway,
    jupyter_server,
    kernelspecs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

_LINES = 20_000
_STALLED_LINES, _STALL_S = 12_000, 5.0


def main() -> None:
    options = _options()
    print(surroundings(), end="\n\n")
    for part in options.parts:
        with kernelspecs() as specs:
            _PARTS[part](options, specs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=40, help="of each contender in each round")
    parser.add_argument("--parts", nargs="+", choices=list(_PARTS), default=list(_PARTS))
    parser.add_argument(
        "--servers", nargs="+", choices=sorted(SERVERS), default=["ours", "jkg", "jupyter_server"]
    )
    return parser.parse_args()


# -- the parts ----------------------------------------------------------------------------------


def _cells(options: argparse.Namespace, specs: Path) -> None:
    for history in (False, True):
        with ExitStack() as stack:
            contenders: list[Contender] = [stack.enter_context(raw_kernel(history=history))]
            contenders.append(stack.enter_context(echo()))
            for name in options.servers:
                server = stack.enter_context(SERVERS[name](specs, history))
                spec = None if name == "ours" else CELLS_HISTORY if history else CELLS
                contenders += [SocketKernel(server, kind(), spec=spec) for kind in (V1, Legacy)]
            results = alternate(contenders, rounds=options.rounds, calls=options.calls)
        print(f"## Warm 1+1, history {'on' if history else 'off'}\n")
        print(f"{options.rounds} rounds of {options.calls} calls each.\n")
        print(ratio_table(results), end="\n\n")


def _relay(options: argparse.Namespace, specs: Path) -> None:
    with _floods(options, specs, floor=BURST_COMMAND, spec=BURST) as (raw, kernels):
        title = "Relay alone: 8-byte messages of nobody's run"
        _flooded(title, [raw, *kernels], BURST_FOREIGN, options)
        title = "Relay and record: 8-byte messages of a run"
        _flooded(title, [raw, *kernels], BURST_OWN, options)


def _prints(options: argparse.Namespace, specs: Path) -> None:
    with _floods(options, specs, floor=IPYKERNEL, spec=CELLS) as (raw, kernels):
        title = f"{_LINES} flushed prints of ipykernel"
        _flooded(title, [raw, *kernels], prints(_LINES), options)


def _stall(options: argparse.Namespace, specs: Path) -> None:
    with _floods(options, specs, floor=IPYKERNEL, spec=CELLS) as (raw, kernels):
        title = f"{_STALLED_LINES} flushed prints, a reader that stalls"
        stalled = [Stalled(kernel, _STALL_S) for kernel in kernels]
        _flooded(title, [raw, *stalled], prints(_STALLED_LINES), options)


_PARTS: Mapping[str, Callable[[argparse.Namespace, Path], None]] = {
    "cells": _cells,
    "relay": _relay,
    "prints": _prints,
    "stall": _stall,
}


def _flooded(
    title: str, contenders: Sequence[Flooding], flood: Flood, options: argparse.Namespace
) -> None:
    results = alternate_floods(contenders, flood, rounds=options.rounds)
    print(f"## {title}\n")
    print(f"{options.rounds} rounds of {flood.messages} messages each.\n")
    print(flood_table(results, flood), end="\n\n")


@contextmanager
def _floods(
    options: argparse.Namespace, specs: Path, *, floor: Sequence[str], spec: str
) -> Iterator[tuple[RawKernel, list[SocketKernel]]]:
    """The floor, and the others: the rivals as shipped, and without what they drop."""
    with ExitStack() as stack:
        raw = stack.enter_context(raw_kernel(command=floor))
        kernels: list[SocketKernel] = []
        for name in options.servers:
            server = stack.enter_context(SERVERS[name](specs, False))
            kernels += [SocketKernel(server, kind(), spec=spec) for kind in (V1, Legacy)]
            if name in _UNLIMITED:
                server = stack.enter_context(_UNLIMITED[name](specs))
                kernels.append(SocketKernel(server, V1(), spec=spec))
        yield raw, kernels


# -- the servers ----------------------------------------------------------------------------------


SERVERS: Mapping[str, Callable[[Path, bool], AbstractContextManager[Served]]] = {
    "ours": lambda specs, history: gateway(history=history, specs=specs),
    "jkg": lambda specs, _: jupyter_kernel_gateway(specs),
    "jupyter_server": lambda specs, _: jupyter_server(specs),
}
_UNLIMITED: Mapping[str, Callable[[Path], AbstractContextManager[Served]]] = {
    "jkg": partial(jupyter_kernel_gateway, limited=False),
    "jupyter_server": partial(jupyter_server, limited=False),
}


if __name__ == "__main__":
    main()
