"""A message that is too big for its reader, as messages that are not.

Knows what of a message can be cut or shown in part. Pure. jupyter_server takes frames of 10 MiB
from a gateway; with a bigger one its page waits for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json

PREVIEW_CHARS = 1024
_DISPLAYS = {"display_data", "execute_result", "update_display_data"}
_ROOM = 2**16  # for the header and the rest of a frame


def in_pieces(message: RawMessage, limit_bytes: int) -> Sequence[RawMessage]:
    """Texts are cut, so that nothing is missing; of a display's big values a preview is shown; a
    reply or a prompt keeps what of it is small, since somebody waits for it; of anything else it is
    said that it is not there."""
    if message.bytes + _ROOM <= limit_bytes:
        return [message]
    decoded = message.decoded()
    if message.msg_type == "stream":
        return _texts(decoded, limit_bytes)
    if message.msg_type in _DISPLAYS:
        shown = _with_previews(decoded, limit_bytes)
        if shown is not None and shown.bytes + _ROOM <= limit_bytes:
            return [shown]
    said = RawMessage.of(_said_of(decoded, message.bytes))
    if message.channel is Channel.IOPUB:
        return [said]
    return [said, RawMessage.of(_shortened(decoded, limit_bytes))]


def _texts(message: Message, limit_bytes: int) -> list[RawMessage]:
    """JSON has up to six bytes a character."""
    text = str(message.content.get("text", ""))
    width = max(1, (limit_bytes - _ROOM) // 6)
    return [
        RawMessage.of(
            Message(
                channel=message.channel,
                header=_named(message.header, str(start)) if start else message.header,
                parent=message.parent,
                metadata=message.metadata,
                content={**message.content, "text": text[start : start + width]},
            )
        )
        for start in range(0, len(text), width)
    ]


def _named(header: Header, which: str, msg_type: str | None = None) -> Header:
    """Each piece is a message of its own, and the same ones when they are sent once more."""
    return Header(
        msg_id=MsgId(f"{header.msg_id}-{which}"),
        msg_type=msg_type or header.msg_type,
        session=header.session,
        username=header.username,
        date=header.date,
        version=header.version,
        more=header.more,
    )


def _with_previews(message: Message, limit_bytes: int) -> RawMessage | None:
    """None when it is not its values that are big."""
    data = message.content.get("data")
    bundle: Mapping[str, Json] = data if isinstance(data, dict) else {}
    most = (limit_bytes - _ROOM) // (6 * max(1, len(bundle)))
    kept = {mime: value for mime, value in bundle.items() if _chars(value) <= most}
    left_out = {mime: value for mime, value in bundle.items() if mime not in kept}
    if not left_out:
        return None
    notices = [
        f"[kernel-gateway: {mime} of {_chars(value)} characters is too big for this reader; "
        f"the records of its run have it. It begins with {_preview(value)!r}]"
        for mime, value in left_out.items()
    ]
    text = "\n".join([*notices, str(kept.get("text/plain", ""))]).strip()
    content: dict[str, Json] = {**message.content, "data": {**kept, "text/plain": text}}
    return RawMessage.of(
        Message(
            channel=message.channel,
            header=message.header,
            parent=message.parent,
            metadata=message.metadata,
            content=content,
        )
    )


def _shortened(message: Message, limit_bytes: int) -> Message:
    """Of the same shape: a big text is cut, a big list or object is empty."""
    most = (limit_bytes - _ROOM) // (6 * max(1, len(message.content)))
    return Message(
        channel=message.channel,
        header=message.header,
        parent=message.parent,
        content={
            name: value if _chars(value) <= most else _short(value)
            for name, value in message.content.items()
        },
    )


def _said_of(message: Message, size: int) -> Message:
    """On stderr of whatever request it belonged to."""
    text = (
        f"[kernel-gateway: a message ({message.msg_type}) of {size} bytes is too big for this "
        "reader and is not shown.]\n"
    )
    return Message(
        channel=Channel.IOPUB,
        header=_named(message.header, "said", "stream"),
        parent=message.parent,
        content={"name": "stderr", "text": text},
    )


def _chars(value: Json) -> int:
    return len(value) if isinstance(value, str) else len(str(value))


def _short(value: Json) -> Json:
    if isinstance(value, list):
        return []
    return {} if isinstance(value, dict) else _preview(value)


def _preview(value: Json) -> str:
    return (value if isinstance(value, str) else str(value))[:PREVIEW_CHARS]
