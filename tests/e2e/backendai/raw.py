"""Calls that the real client would not make, signed by the rules of the contract.

Knows HTTP and the signature, written down here a second time on purpose: neither the client's code
nor ours. Every part of a call can be made wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from tornado.httpclient import HTTPRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.e2e.backendai.client import Account

VERSION = "v7.20230615"
LIMIT_S = 25.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # by lower case names
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> tuple[int, str]:
        """Its status, with the end of the problem's type."""
        assert self.headers["content-type"].startswith("application/problem+json"), self
        return self.status, str(self.json["type"]).rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Raw:
    """A caller with a key pair, a clock and a version of its own."""

    account: Account
    now: datetime | None = None  # else the true one
    version: str = VERSION
    changes: Mapping[str, str | None] = field(default_factory=dict)  # headers; None leaves one out

    def at(self, now: datetime) -> Raw:
        return replace(self, now=now)

    def with_headers(self, changes: Mapping[str, str | None]) -> Raw:
        """What is changed after signing."""
        return replace(self, changes=changes)

    def call(self, method: str, path: str, value: Any = None, **more: Any) -> Answer:
        """`value` is sent as JSON."""
        body = None if value is None else json.dumps(value).encode()
        return self.send(method, path, body, **more)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`body` as it stands."""
        with self._connected() as connection:
            return self._sent(connection, method, path, body, content_type, headers or {})

    def calls_on_one_connection(
        self, method: str, path: str, value: Any, *, times: int
    ) -> list[Answer]:
        """Fewer when one is answered with the word that the connection is closed after it."""
        answers: list[Answer] = []
        body = None if value is None else json.dumps(value).encode()
        with self._connected() as connection:
            while len(answers) < times:
                answers.append(self._sent(connection, method, path, body, "application/json", {}))
                if answers[-1].headers.get("connection") == "close":
                    break
        return answers

    def websocket(self, path: str) -> HTTPRequest:
        """The request that opens one. It has no content type, and is signed as if it had."""
        where = urlsplit(self.account.endpoint)
        headers = self._headers("GET", where.path + path, where.netloc, "application/octet-stream")
        del headers["Content-Type"]
        return HTTPRequest(f"ws://{where.netloc}{where.path}{path}", headers=headers)

    @contextmanager
    def _connected(self) -> Iterator[HTTPConnection]:
        connection = HTTPConnection(urlsplit(self.account.endpoint).netloc, timeout=LIMIT_S)
        connection.connect()
        connection.auto_open = 0  # a connection that was lost is an error, as it is for the client
        try:
            yield connection
        finally:
            connection.close()

    def _sent(
        self,
        connection: HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        content_type: str,
        headers: Mapping[str, str],
    ) -> Answer:
        where = urlsplit(self.account.endpoint)
        target = where.path.rstrip("/") + path
        signed = self._headers(method, target, where.netloc, content_type)
        connection.request(method, target, body, {**signed, **headers})
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, told, answer.read())

    def _headers(self, method: str, target: str, host: str, content_type: str) -> dict[str, str]:
        date = self.now or datetime.now(UTC)
        stamp = date.isoformat()
        bare = content_type.partition(";")[0].strip().lower()
        credential = (
            f"{self.account.access_key}:{self._signature(method, target, host, date, bare)}"
        )
        headers = {
            "Date": stamp,
            "Content-Type": content_type,
            "X-BackendAI-Version": self.version,
            "Authorization": f"BackendAI signMethod=HMAC-SHA256, credential={credential}",
        }
        changed: dict[str, str | None] = {**headers, **self.changes}
        return {name: value for name, value in changed.items() if value is not None}

    def _signature(self, method: str, target: str, host: str, date: datetime, bare: str) -> str:
        text = "\n".join(
            (
                method,
                target,
                date.isoformat(),
                f"host:{host}",
                f"content-type:{bare}",
                f"x-backendai-version:{self.version}",
                hashlib.sha256(b"").hexdigest(),
            )
        )
        key = hmac.digest(
            self.account.secret_key.encode(), date.strftime("%Y%m%d").encode(), "sha256"
        )
        key = hmac.digest(key, host.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()


# -- uploads --------------------------------------------------------------------------------------


def upload(raw: Raw, session: str, *files: tuple[str, bytes]) -> Answer:
    """The names as they are to stand in the multipart body: percent-encoded, or not."""
    border = uuid4().hex
    body = b"".join(_part(border, name, content) for name, content in files)
    return _upload(raw, session, border, body + f"--{border}--\r\n".encode(), {})


def begun_upload(raw: Raw, session: str, size: int) -> Answer:
    """Of one file that is said to be of this size, and of which only the beginning is sent."""
    border = uuid4().hex
    body = _part(border, "big.bin", bytes(2**16))
    return _upload(raw, session, border, body, {"Content-Length": str(size)})


def _part(border: str, name: str, content: bytes) -> bytes:
    head = (
        f"--{border}\r\n"
        f'Content-Disposition: form-data; name="src"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + content + b"\r\n"


def _upload(
    raw: Raw,
    session: str,
    border: str,
    body: bytes,
    headers: Mapping[str, str],
) -> Answer:
    return raw.send(
        "POST",
        f"/session/{session}/upload",
        body,
        content_type=f"multipart/form-data; boundary={border}",
        headers=headers,
    )
