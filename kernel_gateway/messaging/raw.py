"""A message whose parts nobody has decoded: what a relay passes on as it came.

Knows the four JSON parts, what of them a relay has to know (the type, the parent), and how to make
them strict. Must not know framings (`wire.py`, `websocket.py`), nor what a message means to anybody
(`facts.py`).

Decoding is most of the cost of a relay, and almost all that it relays concerns nobody in here. So a
part is decoded when somebody asks for it, and the two that everybody asks for are found by a look
at the bytes: the type by a pattern, the parent in a cache, since all that belongs to one request
has the same parent, to the byte.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

from kernel_gateway.errors import MalformedMessage
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.strict_json import clean_text, decode_object, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json

#: Header, parent header, metadata, content: each a JSON object.
Parts = tuple[bytes, bytes, bytes, bytes]

_EMPTY = b"{}"
_N, _I, _BACKSLASH = b"NI\\"
_MSG_TYPE = re.compile(rb'"msg_type"\s*:\s*"([^"\\]+)"')
#: The usual ones, so that no text is made of each.
_TYPES = {
    name.encode(): name
    for name in (
        "status",
        "stream",
        "display_data",
        "update_display_data",
        "execute_result",
        "execute_input",
        "execute_reply",
        "comm_msg",
    )
}
_MSG_ID = re.compile(rb'"msg_id"\s*:\s*"([^"\\]*)"')


class RawMessage(NamedTuple):
    channel: Channel
    msg_type: str
    parent: Header | None  # the request that caused it; None when nothing did
    parts: Parts
    buffers: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, message: Message) -> RawMessage:
        parts = (
            encode(message.header.as_json()),
            encode(message.parent.as_json()) if message.parent else _EMPTY,
            encode(message.metadata),
            encode(message.content),
        )
        return cls(message.channel, message.msg_type, message.parent, parts, message.buffers)

    @classmethod
    def read(cls, channel: Channel, parts: Parts, buffers: tuple[bytes, ...]) -> RawMessage:
        """Raises `MalformedMessage` when there is no type, or no parent that can be read.

        The type is the first that stands in the header, also where something lies in it that has
        one, too: a kernel deceives only itself by that. What a client sends is read exactly.
        """
        header, parent_part, _, _ = parts
        found = _MSG_TYPE.search(header)
        msg_type = (found and _TYPES.get(found[1])) or _other_type(header)
        parent = (_small_parent if len(parent_part) <= _SMALL_BYTES else _parsed_parent)(
            parent_part
        )
        # 0.15 us less than to call the class, which is a function around this one.
        return tuple.__new__(cls, (channel, msg_type, parent, parts, buffers))

    @property
    def parent_id(self) -> MsgId | None:
        return self.parent.msg_id if self.parent else None

    @property
    def msg_id(self) -> str:
        """Of its own; empty when it cannot be read."""
        found = _MSG_ID.search(self.parts[0])
        if found and found[1].isascii():
            return found[1].decode()
        try:
            return self.header.msg_id
        except MalformedMessage:
            return ""

    @property
    def header(self) -> Header:
        return Header.of(decode_object(self.parts[0]))

    @property
    def metadata(self) -> Mapping[str, Json]:
        return decode_object(self.parts[2])

    @property
    def content(self) -> Mapping[str, Json]:
        return decode_object(self.parts[3])

    @property
    def bytes(self) -> int:
        """A measure of the memory it takes."""
        header, parent, metadata, content = self.parts
        size = len(header) + len(parent) + len(metadata) + len(content)
        return size + sum(map(len, self.buffers)) if self.buffers else size

    def decoded(self) -> Message:
        """Raises `MalformedMessage`."""
        return Message(
            channel=self.channel,
            header=self.header,
            parent=self.parent,
            metadata=self.metadata,
            content=self.content,
            buffers=self.buffers,
        )

    def strict(self) -> RawMessage:
        """The same in JSON that any parser accepts; itself, if that is what it is already.

        Raises `MalformedMessage` when a part shows that it is not strict, and is no JSON at all.
        """
        header, parent, metadata, content = self.parts
        if (
            (metadata == _EMPTY or _is_strict(metadata))
            and (_is_strict_parent if len(parent) <= _SMALL_BYTES else _is_strict)(parent)
            and _is_strict(header)
            and _is_strict(content)
        ):
            return self
        strict = _strict(header), _strict(parent), _strict(metadata), _strict(content)
        return self._replace(parts=strict)


def _other_type(header: bytes) -> str:
    found = _MSG_TYPE.search(header)
    if found is None:
        return Header.of(decode_object(header)).msg_type
    return clean_text(found[1].decode(errors="replace"))


def _is_strict(part: bytes) -> bool:
    """False where the bytes show what strict JSON does not have, or only might.

    First one byte of it is looked for: that takes a tenth of the time of a word.
    """
    return not (
        (_N in part and b"NaN" in part)
        or (_I in part and b"Infinity" in part)
        or (_BACKSLASH in part and (b"\\ud" in part or b"\\uD" in part))
        or not (part.isascii() or _is_utf8(part))
        or part[:1] != b"{"  # a byte order mark, or UTF-16 ...
        or part[1:2] == b"\0"  # ... which may have none, and is ASCII to look at
    )


def _strict(part: bytes) -> bytes:
    if _is_strict(part):
        return part
    try:
        value = decode_object(part)
    except MalformedMessage:
        value = decode_object(part.decode(errors="replace"))
    return encode(value)


def _is_utf8(part: bytes) -> bool:
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parsed_parent(part: bytes) -> Header | None:
    parent = decode_object(part)
    return Header.of(parent) if parent else None


_SMALL_BYTES = 1000  # a bigger one is not one of ours, and is not kept
_small_parent = functools.lru_cache(maxsize=256)(_parsed_parent)
_is_strict_parent = functools.lru_cache(maxsize=256)(_is_strict)
