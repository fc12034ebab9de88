"""A page follows a run by nothing but its browser's own EventSource, over a line that is cut."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.lab.server import Line, call
from tests.e2e.main_job.gateway import TOKEN, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.lab.browser import Browser
    from tests.e2e.main_job.gateway import Server

COUNT = 2_000

#: What comes is kept in the page, by the ID that the browser resumes from.
FOLLOW = """
(url) => {
  window.told = [];
  window.source = new EventSource(url);
  for (const kind of ['state', 'step', 'log', 'completed'])
    source.addEventListener(kind, (event) => told.push([event.lastEventId, kind, event.data]));
}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Pages of any origin may call it, as the one of the test does."""
    with serving(tmp_path / "data", "--Web.allow_origin=*") as server:
        yield server


def test_it_resumes_by_itself_and_ends_with_the_run(
    server: Server, browser: Browser, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    code = f"for i in range({COUNT}):\n if i == {COUNT // 2}: open({str(gate)!r}).read()\n print(i)"
    run = call(server.url, TOKEN, "POST", "/api/runs", {"mode": "query", "code": code})
    page = browser.new_page()
    with Line(server.port) as line:
        page.value(FOLLOW, f"http://127.0.0.1:{line.port}{run['links']['events']}?token={TOKEN}")
        page.until(f"() => told.some(([id, kind, data]) => data.includes('{COUNT // 2 - 1}\\\\n'))")
        line.do("cut")
        with gate.open("w"):
            pass
        line.do("mend")
        page.until("() => source.readyState === EventSource.CLOSED")
        told: list[Any] = page.value("() => told")
    page.close()
    assert list(range(1, len(told) + 1)) == [int(number) for number, _, _ in told]
    texts = [json.loads(data)["text"] for _, kind, data in told if kind == "log"]
    assert [str(number) for number in range(COUNT)] == "".join(texts).split()
    assert "completed" == told[-1][1]
