"""Messages on ZeroMQ: `[identities..., <IDS|MSG>, signature, header, parent, metadata, content]`,
signed with HMAC-SHA256 over the four JSON frames ("Messaging in Jupyter", "The wire protocol").

Knows bytes; must not know sockets. A second hand at what jupyter_client.session and the gateway's
messaging do: the one costs 100 ms at import, the other is not to be imported here.
"""

from __future__ import annotations

import hmac
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROTOCOL_VERSION = "5.5"

Content: TypeAlias = "Mapping[str, Any]"

_DELIMITER = b"<IDS|MSG>"
_JSON_FRAMES = 4


class Unreadable(Exception):
    """Not a message, or not from somebody who has the key. Drop it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came in. The header is kept as it came: answers carry it as their parent."""

    identities: tuple[bytes, ...]  # the way back
    header: Content
    parent: Content
    metadata: Content
    content: Content

    @property
    def msg_type(self) -> str:
        return str(self.header["msg_type"])

    @property
    def parent_id(self) -> object:
        return self.parent.get("msg_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message of ours, ready for a socket."""

    msg_id: str
    frames: list[bytes]


class Wire:
    """Reads and writes the messages of one kernel."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._session = os.urandom(16).hex()
        self._numbers = count(1)

    def read(self, frames: Sequence[bytes]) -> Request:
        """Check the signature, then parse. Raises `Unreadable`."""
        if _DELIMITER not in frames:
            raise Unreadable("no delimiter")
        start = frames.index(_DELIMITER) + 1
        signed = frames[start + 1 : start + 1 + _JSON_FRAMES]
        if len(signed) < _JSON_FRAMES or not hmac.compare_digest(frames[start], self._sign(signed)):
            raise Unreadable("no signature of this kernel's key")
        header, parent, metadata, content = map(_object, signed)
        if not isinstance(header.get("msg_type"), str):
            raise Unreadable("no type")
        return Request(
            identities=tuple(frames[: start - 1]),
            header=header,
            parent=parent,
            metadata=metadata,
            content=content,
        )

    def write(
        self,
        msg_type: str,
        content: Content,
        *,
        parent: Content | None = None,
        identities: Sequence[bytes] = (),
    ) -> Outgoing:
        """`identities`: whom it is for, on iopub its topic. `parent`: the header it answers."""
        msg_id = f"{self._session}_{next(self._numbers)}"
        signed = [*map(_encoded, (self._header(msg_id, msg_type), parent or {}, {}, content))]
        frames = [*identities, _DELIMITER, self._sign(signed), *signed]
        return Outgoing(msg_id=msg_id, frames=frames)

    def _header(self, msg_id: str, msg_type: str) -> Content:
        return {
            "msg_id": msg_id,
            "msg_type": msg_type,
            "session": self._session,
            "username": "kernel",
            "date": datetime.now(tz=UTC).isoformat().replace("+00:00", "Z"),
            "version": PROTOCOL_VERSION,
        }

    def _sign(self, frames: Sequence[bytes]) -> bytes:
        return hmac.digest(self._key, b"".join(frames), "sha256").hex().encode()


def _encoded(value: Content) -> bytes:
    # A lone surrogate can come in, as an escape in somebody's JSON, and is in no UTF-8.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _object(frame: bytes) -> dict[str, Any]:
    try:
        value = json.loads(frame)
    except (ValueError, RecursionError) as fault:
        raise Unreadable("no JSON") from fault
    if not isinstance(value, dict):
        raise Unreadable("no object")
    return value
