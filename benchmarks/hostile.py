"""`1+1` of one client while others do what they should not. See README.md."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.attacks import ATTACKS, READY
from benchmarks.channels import V1, Served, SocketKernel
from benchmarks.measure import percentile, process_cpu, spread, surroundings, table
from benchmarks.rivals import CELLS, kernelspecs
from benchmarks.websocket import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = (
    "while",
    "p50 ms quiet",
    "then",
    "ratio min/median/max",
    "p95 ms quiet",
    "then",
    "ratio min/median/max",
    "CPU of the server",
    "of the attacker",
    "what the server said",
)


@dataclass
class Rounds:
    """Of one attack: the seconds of the calls before it and under it, round by round."""

    quiet: list[list[float]] = field(default_factory=list)
    attacked: list[list[float]] = field(default_factory=list)
    server_cores: list[float] = field(default_factory=list)
    attacker_cores: list[float] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)


def main() -> None:
    options = _options()
    print(surroundings(), end="\n\n")
    with kernelspecs() as specs, SERVERS[options.server](specs, False) as server:
        spec = None if options.server == "ours" else CELLS
        measured = SocketKernel(server, V1(), spec=spec)
        victim = SocketKernel(server, V1(), spec=spec)
        victim.socket.close()  # it would be a reader that has stalled
        print(f"## {server.name}: warm 1+1 while ...\n")
        print(f"{options.rounds} rounds of {options.calls} calls each.\n")
        measured.round(options.calls)
        rows = [
            _row(name, _measure(name, server, measured, victim, options))
            for name in options.attacks
        ]
    print(table(_HEAD, rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--per-second", type=int, default=200, help="hostile deeds")
    parser.add_argument("--attacks", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--server", choices=sorted(SERVERS), default="ours")
    return parser.parse_args()


def _measure(
    name: str,
    server: Served,
    measured: SocketKernel,
    victim: SocketKernel,
    options: argparse.Namespace,
) -> Rounds:
    rounds = Rounds()
    for _ in range(options.rounds):
        rounds.quiet.append(measured.round(options.calls))
        with _attack(name, server, victim, options.per_second, rounds.said) as pid:
            before = process_cpu(server.pid), process_cpu(pid)
            took = measured.round(options.calls)
            after = process_cpu(server.pid), process_cpu(pid)
        rounds.attacked.append(took)
        rounds.server_cores.append((after[0] - before[0]) / sum(took))
        rounds.attacker_cores.append((after[1] - before[1]) / sum(took))
        victim.calm()
    return rounds


@contextmanager
def _attack(
    name: str, server: Served, victim: SocketKernel, per_second: int, said: Counter[str]
) -> Iterator[int]:
    """Its process, which is at it when this begins."""
    arguments = [name, str(server.port), victim.id, str(per_second)]
    command = [sys.executable, "-m", "benchmarks.attacks", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            line = process.stdout.readline().strip()
            assert line == READY, line
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
        said.update(json.loads(process.stdout.readline()))


def _row(name: str, rounds: Rounds) -> tuple[str, ...]:
    return (
        name,
        *_compared(rounds, 50),
        *_compared(rounds, 95),
        f"{100 * max(rounds.server_cores):.0f} %",
        f"{100 * max(rounds.attacker_cores):.0f} %",
        ", ".join(f"{count} x {answer}" for answer, count in rounds.said.most_common(6)),
    )


def _compared(rounds: Rounds, percent: int) -> tuple[str, str, str]:
    quiet = [percentile(one, percent) for one in rounds.quiet]
    attacked = [percentile(one, percent) for one in rounds.attacked]
    ratios = [late / early for early, late in zip(quiet, attacked, strict=True)]
    return (
        f"{1000 * median(quiet):.2f}",
        f"{1000 * median(attacked):.2f}",
        spread(ratios, ".2f"),
    )


if __name__ == "__main__":
    main()
