"""How soon a run has its ID when its kernel takes long to start. See README.md."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Contender, alternate, process_cpu, ratio_table, surroundings
from benchmarks.peers import Gateway, HttpFloor, gateway
from benchmarks.rivals import (
    SLOW,
    SLOW_START_S,
    Rival,
    jupyter_kernel_gateway,
    jupyter_server,
    kernelspecs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

RIVALS: Mapping[str, Callable[[Path], AbstractContextManager[Rival]]] = {
    "jupyter_kernel_gateway": jupyter_kernel_gateway,
    "jupyter_server": jupyter_server,
}


def main() -> None:
    options = _options()
    print(surroundings(), end="\n\n")
    with ExitStack() as stack:
        specs = stack.enter_context(kernelspecs())
        server = stack.enter_context(gateway(history=False, specs=specs))
        rivals = [stack.enter_context(RIVALS[name](specs)) for name in options.rivals]
        ours: list[Contender] = [HttpFloor(server), Creation(server)]
        contenders = [*ours, *map(KernelCreation, rivals)]
        results = alternate(contenders, rounds=options.rounds, calls=options.calls)
    print(f"## An ID, of a kernel that takes {SLOW_START_S} s to start\n")
    print(f"{options.rounds} rounds of {options.calls} calls each.\n")
    print(ratio_table(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=20, help="of each contender in each round")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS))
    return parser.parse_args()


class Creation:
    """`POST /api/runs` with a kernel of the run's own; each is cancelled after its round."""

    name = "POST /api/runs"

    def __init__(self, server: Gateway) -> None:
        self._server = server
        self._http = server.connection()

    def round(self, calls: int) -> list[float]:
        took = []
        made = []
        for _ in range(calls):
            start = time.perf_counter()
            run = self._http.call("POST", "/api/runs", self._body())
            took.append(time.perf_counter() - start)
            assert run["state"] in {"queued", "starting"}, run
            made.append(run["uid"])
        for uid in made:
            self._http.call("POST", f"/api/runs/{uid}/cancel", {"grace": 0})
        return took

    def _body(self) -> dict[str, Any]:
        return {"mode": "query", "code": "1+1", "kernel": {"name": SLOW}}

    def cpu(self) -> Mapping[str, float]:
        return {"client": time.process_time(), "gateway": process_cpu(self._server.pid)}


class KernelCreation:
    """`POST /api/kernels`, the nearest that others have; deleted after its round."""

    def __init__(self, rival: Rival) -> None:
        self.name = f"POST /api/kernels of {rival.name}"
        self._pid = rival.pid
        self._http = rival.connection()

    def round(self, calls: int) -> list[float]:
        took = []
        for _ in range(calls):
            start = time.perf_counter()
            kernel = self._http.call("POST", "/api/kernels", {"name": SLOW})
            took.append(time.perf_counter() - start)
            self._http.call("DELETE", f"/api/kernels/{kernel['id']}")
        return took

    def cpu(self) -> Mapping[str, float]:
        return {"client": time.process_time(), "gateway": process_cpu(self._pid)}


if __name__ == "__main__":
    main()
