"""One browser's socket in Jupyter's server, connected to the channels of a kernel in a gateway.

    --ServerApp.kernel_websocket_connection_class=kernel_gateway_lab.connection.GatewayV1Connection

Hands frames on as they are, both ways. Keeps a line to the gateway for as long as the browser's
socket is open: a line that was cut is opened again, the gateway then sends once more what it cannot
know to have arrived, and what has arrived is dropped here. What the browser sends meanwhile waits.

Knows tornado and the classes of jupyter_server that it takes part in; what is in a frame only
`frames` knows. Everything here runs on the one loop of the server.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jupyter_server.gateway.connections import (  # type: ignore[import-not-found]
    GatewayWebSocketConnection,
)
from jupyter_server.gateway.gateway_client import (  # type: ignore[import-not-found]
    GatewayClient,
)
from jupyter_server.utils import url_path_join  # type: ignore[import-not-found]
from tornado.escape import url_escape
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import url_concat
from tornado.websocket import WebSocketClosedError, WebSocketError, websocket_connect
from traitlets import Float, Int, Unicode

from kernel_gateway_lab.frames import PROTOCOL, Outbox, Repeats, notice

if TYPE_CHECKING:
    from tornado.websocket import WebSocketClientConnection

    from kernel_gateway_lab.frames import Frame

MIB = 2**20

#: So many messages of late are known by their IDs, which takes some 10 MiB at the most. The gateway
#: asks every 30 seconds what has arrived; a kernel was measured to send some 2,000 in a second.
REMEMBERED = 100_000

#: Answers to the upgrade that another try changes nothing about: all of 4xx but these.
_PASSING = frozenset({408, 425, 429})

#: Codes by which the gateway closes what it will not open again: the kernel was deleted; another
#: connection of this session has taken over, and would be thrown out by ours in turn.
_PARTED = frozenset({1000, 4409})

#: Codes by which the gateway refuses a message: no message at all, too long. The same message would
#: have it close the next line, too.
_REFUSED = frozenset({1007, 1009})

#: A browser that sees its socket close asks what became of the kernel, and connects again.
_CLOSED = 1011  # RFC 6455: the server cannot do what it was asked to


class GatewayV1Connection(GatewayWebSocketConnection):  # type: ignore[misc] # it is Any to mypy
    """For `ServerApp.kernel_websocket_connection_class`, with `GatewayClient.url` set."""

    # The parent's is "", which has the browser speak the protocol without a name.
    kernel_ws_protocol = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Protocol to speak with browser and gateway. Default: "
        f"{PROTOCOL} with all who offer it; empty: the one without a name, of text frames.",
    )
    max_message_bytes = Int(
        1024 * MIB,
        min=MIB,
        config=True,
        help="The longest message, either way. A gateway has a limit of its own for what it takes.",
    )
    max_held_messages = Int(
        10_000,
        min=1,
        config=True,
        help="Messages of the browser that wait for the gateway; one more is refused, with a text "
        "where its output would be.",
    )
    max_held_bytes = Int(
        64 * MIB,
        min=1,
        config=True,
        help="The same in bytes; and so much may wait for the browser before we read on.",
    )
    ping_interval_s = Float(
        30.0,
        min=0.0,
        config=True,
        help="Seconds between two pings to the gateway; a line that gives no answer until the next "
        "is taken for cut. 0: none.",
    )

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._outbox = Outbox(self.max_held_messages, self.max_held_bytes)
        self._repeats = Repeats(REMEMBERED)
        self._unread = 0  # bytes that wait for the browser
        self._line: WebSocketClientConnection | None = None  # while there is one
        self._keeping: asyncio.Task[None] | None = None
        # tornado asks for it when it makes the browser's socket, just after this.
        settings = self.websocket_handler.settings
        settings.setdefault("websocket_max_message_size", self.max_message_bytes)

    # -- what jupyter_server's handler of the browser's socket calls

    async def connect(self) -> None:
        self.websocket_handler.set_nodelay(True)
        self._keeping = asyncio.create_task(self._keep_connected())
        self._keeping.add_done_callback(self._kept)

    def disconnect(self) -> None:
        self.disconnected = True
        if self._keeping is not None:
            self._keeping.cancel()

    def handle_incoming_message(self, message: Frame) -> None:
        """From the browser."""
        if not self._outbox.put(message):
            held = f"{len(self._outbox)} messages wait already for a gateway that cannot be reached"
            self._refuse(message, f"{held}. Try again when it is there.")
        elif self._line is not None:
            self._send_on(self._line)

    # -- the line to the gateway

    async def _keep_connected(self) -> None:
        while True:
            try:
                line = await self._opened()
            except _FinalError as error:
                self.log.error("Kernel %s: %s", self.kernel_id, error)
                self.websocket_handler.close(_CLOSED, "no connection to the kernel")
                return
            except (OSError, HTTPClientError, WebSocketError) as error:
                self.log.warning("No line to the gateway: %s", error)
            else:
                await self._use(line)
                if line.close_code in _PARTED:
                    self.websocket_handler.close(line.close_code, line.close_reason)
                    return
            await asyncio.sleep(self._pause_s())

    def _kept(self, keeping: asyncio.Task[None]) -> None:
        """A mistake of ours must not look like a kernel that is silent."""
        if not keeping.cancelled() and (error := keeping.exception()) is not None:
            self.log.error("Kernel %s: its connection failed.", self.kernel_id, exc_info=error)
            self.websocket_handler.close(_CLOSED, "no connection to the kernel")

    async def _opened(self) -> WebSocketClientConnection:
        """Raises `_FinalError` where another try is in vain."""
        named = self.websocket_handler.selected_subprotocol == PROTOCOL
        connecting = websocket_connect(
            HTTPRequest(self._url(), **GatewayClient.instance().load_connection_args()),
            subprotocols=[PROTOCOL] if named else None,
            max_message_size=self.max_message_bytes,
            ping_interval=self.ping_interval_s,
        )
        opening = asyncio.ensure_future(connecting)
        try:
            # tornado goes on connecting when nobody waits for it any more.
            line = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise
        except HTTPClientError as error:
            if 400 <= error.code < 500 and error.code not in _PASSING:
                raise _FinalError(f"the gateway refuses its channels: {error}") from None
            raise
        if named and line.selected_subprotocol != PROTOCOL:
            line.close()
            raise _FinalError(
                f"the gateway does not speak {PROTOCOL}. Leave out ServerApp."
                "kernel_websocket_connection_class, which is for Kernel Gateway, or look for a "
                "proxy on the way that drops the header Sec-WebSocket-Protocol."
            )
        assert line.protocol is not None
        line.protocol.set_nodelay(True)
        return line

    def _url(self) -> str:
        client = GatewayClient.instance()
        path = (client.kernels_endpoint, url_escape(self.kernel_id), "channels")
        url: str = url_path_join(client.ws_url or "", *path)
        # The reader: it takes `restarting` for a death, for instance, and the gateway knows.
        return url_concat(url, {"session_id": self.session_id, "reader": "jupyterlab"})

    async def _use(self, line: WebSocketClientConnection) -> None:
        """Until it is cut."""
        self.log.info("Kernel %s: connected to the gateway.", self.kernel_id)
        self.retry = 0
        self._line = line
        try:
            self._send_on(line)
            while (frame := await line.read_message()) is not None:
                if not self._repeats.has(frame):
                    await self._to_browser(frame)
        except BaseException:
            line.close()
            while await line.read_message() is not None:
                pass  # tornado comes to the end only behind what was read
            raise
        finally:
            self._line = None
        line.close()
        why = f"{line.close_code} {line.close_reason or ''}".strip()
        self.log.warning("Kernel %s: the line to the gateway was cut (%s).", self.kernel_id, why)
        if line.close_code in _REFUSED:
            for frame in self._outbox.give_up_begun():
                self._refuse(frame, f"the gateway has closed the connection ({why}).")
        self._outbox.line_cut()
        self._repeats.line_cut()

    def _pause_s(self) -> float:
        """Twice as long after each try in vain, within the bounds of jupyter_server's options."""
        client = GatewayClient.instance()
        doubled: float = client.gateway_retry_interval * 2 ** min(self.retry, 16)
        self.retry += 1
        # Not all browsers of a server at the same moment.
        jitter = random.uniform(0.1, 1.0)
        pause: float = min(doubled, client.gateway_retry_interval_max) + jitter
        return pause

    # -- frames

    def _send_on(self, line: WebSocketClientConnection) -> None:
        """All that waits. They come to their end in this order, each when it was taken whole."""
        for frame in self._outbox.begin():
            try:
                writing = line.write_message(frame, binary=isinstance(frame, bytes))
            except WebSocketClosedError:
                return  # the line is cut, and they wait for the next
            writing.add_done_callback(self._sent)

    def _sent(self, writing: asyncio.Future[None]) -> None:
        if not writing.cancelled() and writing.exception() is None:
            self._outbox.done()

    async def _to_browser(self, frame: Frame) -> None:
        """Waits only when much waits: while we wait the gateway's pings are not answered."""
        try:
            writing = self.websocket_handler.write_message(frame, binary=isinstance(frame, bytes))
        except WebSocketClosedError:
            return  # the handler is about to tell us
        self._unread += len(frame)

        def written(done: asyncio.Future[None]) -> None:
            self._unread -= len(frame)
            if not done.cancelled():
                done.exception()  # it has been looked at: the browser has gone

        writing.add_done_callback(written)
        if self._unread > self.max_held_bytes:
            await asyncio.wait([writing])

    def _refuse(self, frame: Frame, why: str) -> None:
        self.log.error("Kernel %s: a message of the browser is not sent: %s", self.kernel_id, why)
        told = notice(
            f"Not sent: {why}\n",
            frame,
            msg_id=uuid.uuid4().hex,
            session=self.session_id,
            now=datetime.now(UTC),
        )
        if told is not None:
            self.websocket_handler.write_message(told, binary=True)


class _FinalError(Exception):
    """The browser's socket is to be closed."""


def _close(opening: asyncio.Future[WebSocketClientConnection]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
