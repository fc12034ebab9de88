"""50 MB of output, complete: by pages of a run's log, and by execute answers, beside raw ZeroMQ.

Each contender executes the same cell and reads all that it prints; a client that counts a character
too few stops the benchmark.
"""

from __future__ import annotations

import argparse
import http.client
import json
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.cells import CODE
from benchmarks.measure import (
    Contender,
    alternate,
    cpu_of_all,
    new_child,
    ratio_table,
    surroundings,
)
from benchmarks.peers import TOKEN, RawKernel, gateway, raw_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.peers import Gateway

_MEGABYTES = 50
_LINE = 100  # characters, its newline with them
CHARACTERS = _MEGABYTES * 2**20 // _LINE * _LINE
#: A megabyte a print, and all in many small ones that ipykernel joins as it likes.
BIG = f"""
text = ("x" * {_LINE - 1} + "\\n") * ({CHARACTERS} // {_LINE})
for start in range(0, len(text), 2**20):
    print(text[start : start + 2**20], end="", flush=True)
"""
SMALL = f"""
for _ in range({CHARACTERS} // {_LINE}):
    print("x" * {_LINE - 1})
"""


def main() -> None:
    options = _options()
    print(surroundings(), end="\n\n")
    for title, code in (("prints of 1 MB", BIG), (f"prints of {_LINE} bytes", SMALL)):
        with ExitStack() as stack:
            raw = stack.enter_context(raw_kernel())
            server = stack.enter_context(gateway(history=False))
            rest = [Rest(server, code, by_log=by_log) for by_log in (True, False)]
            contenders: list[Contender] = [Raw(raw, code), *rest]
            results = alternate(contenders, rounds=options.rounds, calls=1)
        print(f"## {_MEGABYTES} MB in {title}\n")
        print(ratio_table(results), end="\n\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


class Raw:
    """The floor: iopub until the kernel is idle."""

    def __init__(self, kernel: RawKernel, code: str) -> None:
        self.name = "raw ZeroMQ"
        self._kernel = kernel
        self._code = code

    def round(self, calls: int) -> list[float]:
        return [_timed(lambda: self._kernel.execute(self._code).printed) for _ in range(calls)]

    def cpu(self) -> Mapping[str, float]:
        return self._kernel.cpu()


class Rest:
    """A run of ours, read while it goes on: by pages of the log, or by execute answers."""

    def __init__(self, gateway: Gateway, code: str, *, by_log: bool) -> None:
        self.name = f"kernel-gateway, {'log' if by_log else 'execute'}"
        self._gateway = gateway
        self._code = code
        self._read = self._by_log if by_log else self._by_answers
        self._pid = new_child(gateway.pid, self._start)

    def round(self, calls: int) -> list[float]:
        self._http = http.client.HTTPConnection("127.0.0.1", self._gateway.port)
        took = [_timed(lambda: sum(map(len, self._read()))) for _ in range(calls)]
        self._http.close()
        return took

    def cpu(self) -> Mapping[str, float]:
        return cpu_of_all(gateway=self._gateway.pid, kernel=self._pid)

    def _start(self) -> None:
        made = self._gateway.connection().call("POST", "/api/kernels", {})
        self._path = f"/api/kernels/{made['id']}/execute"
        self._http = http.client.HTTPConnection("127.0.0.1", self._gateway.port)
        for _ in self._answers(CODE):  # it is up
            pass

    def _by_log(self) -> Iterator[str]:
        run_id = uuid.uuid4().hex
        body = {"mode": "query", "runId": run_id, "code": self._code, "options": {"wait": 0}}
        self._call("POST", self._path, body)
        page: dict[str, Any] = {"next": 0, "finished": False}
        while not page["finished"]:
            page = self._call("GET", f"/api/runs/{run_id}/log?after={page['next']}&wait=30")
            yield from (text for _, _, text in page["items"])

    def _by_answers(self) -> Iterator[str]:
        for answer in self._answers(self._code):
            yield from (text for stream, text in answer["console"] if stream == "stdout")

    def _answers(self, code: str) -> Iterator[Mapping[str, Any]]:
        run_id = uuid.uuid4().hex
        body = {"mode": "query", "runId": run_id, "code": code}
        while True:
            answer = self._call("POST", self._path, body)
            yield answer
            if answer["status"] == "finished":
                return
            body = {"mode": "continue", "runId": run_id}

    def _call(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Not by `HttpConnection`, which joins what it receives bit by bit."""
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        self._http.request(verb, path, None if body is None else json.dumps(body), headers)
        response = self._http.getresponse()
        data = response.read()
        assert response.status < 300, data
        return json.loads(data)


def _timed(read: Callable[[], int]) -> float:
    start = time.perf_counter()
    characters = read()
    took = time.perf_counter() - start
    assert characters == CHARACTERS, f"{characters} of {CHARACTERS} characters arrived"
    return took


if __name__ == "__main__":
    main()
