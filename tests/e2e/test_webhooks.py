"""Webhooks of a gateway that serves: its end, and what it leaves to the next one."""

from __future__ import annotations

import json
import queue
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

from tests.e2e.commands import LIMIT_S, Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALLOWED = "--Webhooks.allowed_hosts=127.0.0.1"
FOR_EVER = "print('begun', flush=True)\nimport time\nwhile True: time.sleep(0.05)"


class Receiver(HTTPServer):
    """Answers each call with `status`, and keeps its records."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.records: queue.Queue[Any] = queue.Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def until(self, kind: str) -> Any:
        """The first record of this kind that comes."""
        while (record := self.records.get(timeout=LIMIT_S))["kind"] != kind:
            pass
        return record


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for record in body["records"]:
            self.server.records.put(record)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def create(gateway: Served, receiver: Receiver, code: str) -> Any:
    body = {"mode": "query", "code": code, "webhook": {"url": receiver.url}}
    status, run = gateway.call("POST", "/api/runs", body)
    assert 201 == status, run
    return run


def test_a_run_that_the_shutdown_ends_is_delivered_before_the_gateway_has_gone(
    tmp_path: Path,
) -> None:
    with receiving() as receiver, served(tmp_path, ALLOWED, "--drain=0") as gateway:
        run = create(gateway, receiver, FOR_EVER)
        assert "begun\n" == receiver.until("log")["text"]
        assert 0 == gateway.stop()[0]
        completed = receiver.until("completed")
    assert (run["uid"], "cancelled") == (completed["uid"], completed["outcome"])
    assert "finished" == completed["run"]["state"]


def test_a_run_that_was_lost_with_the_gateway_is_delivered_by_the_next_one(
    tmp_path: Path,
) -> None:
    with receiving() as receiver:
        with served(tmp_path, ALLOWED) as gateway:
            run = create(gateway, receiver, FOR_EVER)
            receiver.until("log")
            gateway.process.kill()
            gateway.process.communicate(timeout=LIMIT_S)
        with served(tmp_path, ALLOWED) as gateway:
            completed = receiver.until("completed")
            assert 0 == gateway.stop()[0]
    assert (run["uid"], "lost") == (completed["uid"], completed["outcome"])


def test_what_a_receiver_did_not_take_is_delivered_after_the_next_start(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.status = 503
        with served(tmp_path, ALLOWED) as gateway:
            run = create(gateway, receiver, "print('x')")
            receiver.until("state")
            assert 0 == gateway.stop()[0]
        receiver.status = 200
        with served(tmp_path, ALLOWED) as gateway:
            assert run["uid"] == receiver.until("completed")["uid"]
            status, found = gateway.call("GET", f"/api/runs/{run['uid']}")
            assert 0 == gateway.stop()[0]
    assert 200 == status
    assert {503, 200} >= {one["status"] for one in found["webhook"]["deliveries"]}
    assert "secret" not in found["webhook"]


def test_a_host_that_may_not_be_called_is_refused_with_its_field(tmp_path: Path) -> None:
    with receiving() as receiver, served(tmp_path) as gateway:
        body = {"mode": "query", "code": "1", "webhook": {"url": receiver.url}}
        status, answer = gateway.call("POST", "/api/runs", body)
        assert 0 == gateway.stop()[0]
    assert (422, "webhook.url") == (status, answer["error"]["field"])
