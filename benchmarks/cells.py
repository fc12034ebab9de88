"""A cell as a client asks for it, and as it hears of it: the same for every client here."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CODE, SHOWN = "1+1", "2"

#: The content of all others is not even parsed.
_READ = frozenset({"status", "stream", "execute_result"})


def execute_request(code: str, session: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and content."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": session,
        "username": "",
        "date": "2030-01-01T00:00:00Z",
        "version": "5.4",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": False,
    }
    return header, content


class Cell:
    """What has been heard of one request. It is over when reply **and** idle are there.

    Text on stdout counts whoever its parent is: a kernel may print for a request that nobody made.
    """

    def __init__(self, msg_id: str) -> None:
        self._msg_id = msg_id
        self.shown: str | None = None
        self.printed = 0  # characters
        self.messages = 0  # on stdout
        self._replied = False
        self._idle = False

    @property
    def over(self) -> bool:
        return self._replied and self._idle

    def hear(self, header: bytes, parent: bytes, content: bytes) -> None:
        """The parts as ZeroMQ and v1 have them."""
        kind = json.loads(header)["msg_type"]
        read = json.loads(content) if kind in _READ else {}
        # xeus-python has null for the parent of what nobody asked for.
        self.hear_parsed(kind, json.loads(parent) or {}, read)

    def hear_parsed(self, kind: str, parent: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        if kind == "stream" and content["name"] == "stdout":
            self.printed += len(content["text"])
            self.messages += 1
        if parent.get("msg_id") != self._msg_id:
            return
        if kind == "execute_reply":
            self._replied = True
        elif kind == "status":
            self._idle = content["execution_state"] == "idle"
        elif kind == "execute_result":
            self.shown = content["data"]["text/plain"]


def timed(execute: Callable[[str], Cell]) -> float:
    """Seconds that `CODE` takes; what it shows is looked at, but not within them."""
    start = time.perf_counter()
    shown = execute(CODE).shown
    took = time.perf_counter() - start
    assert shown == SHOWN, shown
    return took
