"""An answer as frames of a WebSocket, none of which is too big for the client.

Its WebSocket closes on a message of 4 MiB, with no word to its user. Knows answers and their JSON;
must not know sockets. Text is spread over frames; one other item that is too big for any of them
gives way to a line that says so.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from kernel_gateway.messaging.strict_json import Json, encode
from kernel_gateway.service import Answer, ConsoleItem, Status
from kernel_gateway.web import render
from kernel_gateway.web.backendai.render import options_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_FRAME_BYTES = 4 * 2**20 - 1
_ENVELOPE_BYTES = 512  # a frame without its console, with room to spare
PIECE_CHARS = 65_536  # of text that is spread; at most 6 bytes each as JSON
LOGGER = "kernel-gateway"
_STREAMS = {"stdout", "stderr"}


def frames(answer: Answer, at: float, *, limit_bytes: int = MAX_FRAME_BYTES) -> Iterator[bytes]:
    """All but the last say `continued`. `at` is the wall clock, for what gives way.

    `limit_bytes` is at least a piece of text and the rest of a frame.
    """
    whole = _frame(answer, answer.console)
    if len(whole) <= limit_bytes:
        yield whole
        return
    *first, last = _shares(answer.console, at, limit_bytes - _ENVELOPE_BYTES)
    for share in first:
        yield encode(frame_json(Status.CONTINUED, render.console_json(share)))
    yield _frame(answer, last)


def _frame(answer: Answer, console: Sequence[ConsoleItem]) -> bytes:
    return encode(
        frame_json(
            answer.status,
            render.console_json(console),
            exit_code=answer.exit_code,
            options=options_json(answer),
        )
    )


def frame_json(
    status: str,
    console: list[Json],
    *,
    exit_code: int | None = None,
    options: Json = None,
) -> dict[str, Json]:
    return {
        "status": status,
        "console": console,
        "exitCode": exit_code,
        "options": options,
        "files": [],
    }


def _shares(console: Sequence[ConsoleItem], at: float, room_bytes: int) -> list[list[ConsoleItem]]:
    """The items in their order, in as many lists as they need."""
    shares: list[list[ConsoleItem]] = [[]]
    left = room_bytes
    for item in console:
        for piece in _pieces(item, at, room_bytes):
            size = _size(piece)
            if size > left:
                shares.append([])
                left = room_bytes
            _add(shares[-1], piece)
            left -= size
    return shares


def _pieces(item: ConsoleItem, at: float, room_bytes: int) -> Iterator[ConsoleItem]:
    if item.type in _STREAMS:
        text = str(item.value)
        for start in range(0, len(text), PIECE_CHARS):
            yield ConsoleItem(item.type, text[start : start + PIECE_CHARS])
    elif _size(item) <= room_bytes:
        yield item
    else:
        yield _gives_way(item, at)


def _add(share: list[ConsoleItem], piece: ConsoleItem) -> None:
    """Neighbours of one stream are one item again."""
    last = share[-1] if share else None
    if last is not None and last.type == piece.type and piece.type in _STREAMS:
        share[-1] = ConsoleItem(piece.type, f"{last.value}{piece.value}")
    else:
        share.append(piece)


def _size(item: ConsoleItem) -> int:
    return len(encode(render.console_json([item])))


def _gives_way(item: ConsoleItem, at: float) -> ConsoleItem:
    what = item.value[0] if item.type == "media" else item.type
    text = f"A {what} value of {_size(item)} bytes is too big for this connection and left out."
    when = dt.datetime.fromtimestamp(at, dt.UTC).isoformat()
    return ConsoleItem("log", ("warning", when, LOGGER, text))
