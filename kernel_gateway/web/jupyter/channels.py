"""`/api/kernels/{id}/channels`: the channels of a kernel over a WebSocket, in both framings.

Knows frames, and what a connection needs to be trusted and to stay alive. Must not know what a
message means: each is taken from the service as its parts and framed as it is.

All that is there is written at once, and nothing further before it has left: what a slow client has
not taken waits in the service, which bounds it. A ping now and then carries the number of the last
message sent; the pong that answers it acknowledges them.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

from kernel_gateway.errors import GatewayError, MalformedMessage, TooManyClients
from kernel_gateway.messaging.websocket import (
    V1_PROTOCOL,
    from_legacy,
    from_v1,
    to_legacy,
    to_v1,
)
from kernel_gateway.process_limits import descriptors
from kernel_gateway.service import Parting
from kernel_gateway.web.auth import TOKEN_PROTOCOL, check_upgrade
from kernel_gateway.web.handler import JupyterHandler
from kernel_gateway.web.jupyter.pieces import in_pieces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from kernel_gateway.messaging.raw import RawMessage
    from kernel_gateway.service import ChannelsLink, KernelInfoView

log = logging.getLogger(__name__)

WRITE_BYTES = 2**20  # about so much is framed and written at once
ACKNOWLEDGE_S = 0.1  # between two pings that ask whether what was sent has arrived
LINGER_S = 3.0  # for which a client that sends too much may go on, to be told so
_REASON_BYTES = 120  # of a close frame there are 123
_READER = "reader"
_LAB = "jupyterlab"

_PLAIN_CLOSE, _TOO_BIG, _BAD_DATA, _GONE, _COME_BACK = 1000, 1009, 1007, 4409, 1013
_CODES = {
    Parting.DELETED: _PLAIN_CLOSE,
    Parting.REPLACED: _GONE,
    Parting.TOO_MUCH: _COME_BACK,
    Parting.TOO_SLOW: _COME_BACK,
}

_TEXT, _BINARY, _PING = 0x81, 0x82, 0x89  # a whole frame each
_SHORT, _LONG = struct.Struct("!BBH"), struct.Struct("!BBQ")


class Channels(JupyterHandler, WebSocketHandler):
    """Implements `service.ChannelsClient`. `on_get` lasts as long as the connection."""

    _link: ChannelsLink | None = None
    _ping_due: asyncio.TimerHandle | None = None
    _watch: asyncio.TimerHandle | None = None
    _asked_at: float | None = None  # when the ping went out that was not answered yet
    _last_asked = 0.0
    _progress = (0, 0)  # when we looked last
    _writing = False
    _sent = 0  # number of the last message that was written
    _acknowledged = 0

    async def on_get(self, kernel_id: str) -> None:
        self._kernel = await self.service.kernel(self.owner, kernel_id)
        check_upgrade(self.request)
        self._check_descriptors()
        self.door.origins.check(self.request)
        self._session_id = self.get_query_argument("session_id", "") or None
        self._is_lab = self._reads_for_lab(self._kernel)
        try:
            await WebSocketHandler.get(self, kernel_id)  # until the connection is closed
            if self.get_status() == HTTPStatus.SWITCHING_PROTOCOLS:
                await self._linger()
        finally:
            self._end()

    def _check_descriptors(self) -> None:
        """While it can be told in an answer. What is refused keeps no descriptor either."""
        if (now := descriptors()).are_short:
            self._connection._disconnect_on_finish = True  # Tornado asks clients alone
            raise TooManyClients(f"The gateway has {now}, and some are kept back: come back later.")

    def _reads_for_lab(self, kernel: KernelInfoView) -> bool:
        """JupyterLab is at the other end, behind a jupyter_server."""
        if self.get_query_argument(_READER, "") == _LAB:
            return True
        return kernel.for_jupyter_server and V1_PROTOCOL not in self._offered()

    def _offered(self) -> list[str]:
        names = self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        return [name.strip() for name in names]

    # -- the socket ------------------------------------------------------------------------------

    def check_origin(self, origin: str) -> bool:
        return True  # looked at before

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Whatever is chosen must have been offered; a browser that has offered some wants one."""
        if V1_PROTOCOL in subprotocols:
            return V1_PROTOCOL
        return next((name for name in subprotocols if name.startswith(TOKEN_PROTOCOL)), None)

    @property
    def ping_interval(self) -> None:
        return None  # our own pings carry a number

    @property
    def max_message_size(self) -> int:
        return self.door.settings.channels.max_message_bytes

    def get_websocket_protocol(self) -> _Protocol | None:
        protocol = super().get_websocket_protocol()
        if not isinstance(protocol, WebSocketProtocol13):
            return None
        self._protocol = _Protocol(self, False, protocol.params)
        return self._protocol

    def open(self, *path: str, **named: str) -> Awaitable[None] | None:
        self.set_nodelay(True)
        self._is_v1 = self.selected_subprotocol == V1_PROTOCOL
        settings = self.door.settings.channels
        self._limit = settings.frame_limit(is_jupyter_server=self._is_lab and not self._is_v1)
        try:
            self._link = self.service.channels(
                self.owner,
                self._kernel.id,
                self,
                session_id=self._session_id,
                behind_lab=self._is_lab,
            )
        except GatewayError as fault:
            self._close(_COME_BACK, fault.message)
            return None
        if settings.ping_s:
            self._watch_later()
        return None

    def on_message(self, message: str | bytes) -> None:
        if self._link is None:
            return
        try:
            self._link.pass_on(self._read(message))
        except MalformedMessage as fault:
            log.info("a client of kernel %s is closed: %s", self._kernel.id, fault)
            self._close(_BAD_DATA, fault.message)

    def _read(self, frame: str | bytes) -> RawMessage:
        if not self._is_v1:
            return from_legacy(frame)
        if isinstance(frame, str):
            raise MalformedMessage("a text frame, where all are binary by the subprotocol")
        return from_v1(frame)

    def on_close(self) -> None:
        self._end()

    def _end(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.detach()
        for timer in (self._ping_due, self._watch):
            if timer is not None:
                timer.cancel()
        self._ping_due = self._watch = None

    def on_parted(self, why: Parting) -> None:
        self._close(_CODES[why], why.value)

    def _close(self, code: int, reason: str) -> None:
        self._end()
        self.close(code, reason.encode()[:_REASON_BYTES].decode(errors="ignore"))

    async def _linger(self) -> None:
        """A connection that is closed on unread data loses the close frame on its way."""
        if not self._protocol.is_overrun:
            return
        try:
            with suppress(StreamClosedError, TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while True:
                        await self._protocol.stream.read_bytes(2**16, partial=True)
        finally:
            self._protocol.stream.close()

    # -- to the client ---------------------------------------------------------------------------

    def on_news(self) -> None:
        if not self._writing:
            self._write()

    def _write(self) -> None:
        """All that is there, in pieces; each when the one before has left."""
        while self._link is not None and not self._writing:
            helping = self._link.take(WRITE_BYTES)
            if not helping.messages:
                self._sent = helping.last
                return
            self._writing = True
            try:
                left = self._protocol.stream.write(self._framed(helping.messages))
            except StreamClosedError:
                return  # `on_close` is about to be called
            self._sent = helping.last
            self._ask_soon()
            if left.done():
                self._writing = False
            else:
                left.add_done_callback(self._written)

    def _written(self, left: asyncio.Future[None]) -> None:
        if not left.cancelled() and left.exception() is None:
            self._writing = False
            self._write()

    def _framed(self, messages: Sequence[RawMessage]) -> bytes:
        pieces: list[bytes] = []
        for message in messages:
            try:
                self._frame_all(message, pieces)
            except MalformedMessage as fault:  # a kernel can say anything
                log.warning("a %s of a kernel cannot be shown: %s", message.msg_type, fault)
        return b"".join(pieces)

    def _frame_all(self, message: RawMessage, pieces: list[bytes]) -> None:
        if self._limit is not None and message.bytes > self._limit // _WORST_GROWTH:
            for part in in_pieces(message, self._limit):
                self._frame(part, pieces)
        else:
            self._frame(message, pieces)

    def _frame(self, message: RawMessage, pieces: list[bytes]) -> None:
        if self._is_v1:
            parts, size = to_v1(message)
            pieces.append(_header(_BINARY, size))
            pieces += parts
        else:
            data, is_text = to_legacy(message)
            pieces.append(_header(_TEXT if is_text else _BINARY, len(data)))
            pieces.append(data)

    # -- pings -----------------------------------------------------------------------------------

    def _ask_soon(self) -> None:
        """At once, if we have not asked for a while: what is acknowledged is not sent again to a
        client that is cut off, or that comes back because of what it was told."""
        if self._ping_due is None and self._asked_at is None:
            wait_s = self._last_asked + ACKNOWLEDGE_S - _loop().time()
            if wait_s <= 0:
                self._ask()
            else:
                self._ping_due = _loop().call_later(wait_s, self._ask)

    def _ask(self) -> None:
        self._ping_due = None
        if self._asked_at is not None or self._link is None:
            return
        number = str(self._sent).encode()
        with suppress(StreamClosedError):
            self._protocol.stream.write(_header(_PING, len(number)) + number)
            self._asked_at = self._last_asked = _loop().time()

    def on_pong(self, data: bytes) -> None:
        self._asked_at = None
        if self._link is not None and data.isdigit() and len(data) < 20:
            self._acknowledged = int(data)
            self._link.acknowledge(self._acknowledged)
            if self._acknowledged < self._sent:
                self._ask_soon()

    def _watch_later(self) -> None:
        self._progress = self._protocol.progress
        self._watch = _loop().call_later(self.door.settings.channels.ping_s / 2, self._look)

    def _look(self) -> None:
        """Twice for each ping. A peer that is gone is found by its silence: it answers no ping, and
        takes nothing. One on a slow line does not answer either, before it has what comes first."""
        ping_s = self.door.settings.channels.ping_s
        if self._asked_at is None:
            if _loop().time() - self._last_asked > 0.9 * ping_s:
                self._ask()
        elif self._protocol.progress == self._progress:
            log.info("a client of kernel %s does not answer and is closed", self._kernel.id)
            self._protocol.stream.close()
            return
        self._watch_later()


class _Protocol(WebSocketProtocol13):
    """Of a message that is too big the client is told before its connection is closed."""

    is_overrun = False

    @property
    def progress(self) -> tuple[int, int]:
        """Bytes that went out and came in; of Tornado's own counts, which have no public names."""
        stream: Any = self.stream
        return stream._total_write_done_index, self._wire_bytes_in + stream._read_buffer_size

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        self.is_overrun = self.is_overrun or code == _TOO_BIG
        super().close(code, reason)

    def _abort(self) -> None:
        """Called more than once on the way down."""
        if self.is_overrun:
            self.client_terminated = True  # no frame is read any more: `_linger` reads on, and ends
        else:
            super()._abort()


#: Bytes that become several in the other framing: the legacy one has the ID and the type twice.
_WORST_GROWTH = 2


def _header(first: int, size: int) -> bytes:
    """Of a frame that is not masked: a server's are not."""
    if size < 126:
        return bytes((first, size))
    if size < 2**16:
        return _SHORT.pack(first, 126, size)
    return _LONG.pack(first, 127, size)


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


ROUTES = [(r"/api/kernels/([^/]+)/channels", Channels)]
