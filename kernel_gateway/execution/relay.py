"""Between one session's kernel and the clients of its channels, over all generations of the kernel.

Knows who has asked what, and what each client was told (`messaging/spool.py`). Must not know runs,
processes or sockets: what a request means beside being passed on is the session's (`Desk`).

The rules: all that comes over iopub goes to all; a reply or a prompt goes to whoever asked, found
by session and ID of the request, since two clients may choose one ID. A client that goes keeps its
place for a while, under the ID of its session.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

from kernel_gateway.errors import MalformedMessage, TooManyClients
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.spool import Reader, Spool
from kernel_gateway.service import ChannelsClient, Helping, KernelState, Parting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernel_gateway.execution.clock import Clock, Handle
    from kernel_gateway.execution.settings import EngineSettings
    from kernel_gateway.messaging.spool import Lost
    from kernel_gateway.messaging.strict_json import Json

log = logging.getLogger("kernel_gateway.execution")

#: Session and ID of a request: what comes of it has them in its parent header.
Key: TypeAlias = tuple[str, str]

#: Requests of which it is known who has asked; some kinds are never answered, so the oldest go.
ASKED = 10_000
_IOPUB = Channel.IOPUB  # asked of each message, and a member is ten times as far from its class
_USERNAME = "kernel-gateway"
_UNANSWERED = frozenset({"comm_open", "comm_msg", "comm_close", "input_reply"})


class Desk(Protocol):
    """The session that a relay works for."""

    @property
    def is_full(self) -> bool:
        """No more cells of clients, please."""

    def take_request(self, message: RawMessage, header: Header) -> None:
        """A client's; for shell or control."""

    def take_input(self, message: RawMessage, asked: Key, value: str) -> None:
        """A client's answer to the prompt of its own request."""

    def touch(self) -> None:
        """Something happened."""

    def run_of(self, parent: Header) -> str | None:
        """The uid of the run that was made of this request, where all its output is kept."""


@dataclass(eq=False, slots=True)
class _Seat:
    """A client's session: it stays for a while when the client has gone."""

    session_id: str
    reader: Reader
    behind_lab: bool
    client: ChannelsClient | None = None
    is_anonymous: bool = False  # its client does not know the ID
    forget: Handle | None = None  # while nobody is there
    #: Of its requests, one of each: prompt ID -> request.
    prompts: dict[str, Key] = field(default_factory=dict)
    #: The last `restarting` that was said to it, by its ID: whether it was taken.
    orders: dict[str, bool] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Asked:
    """A request of which it is known who has asked."""

    seat: _Seat
    answered: bool = False


class Relay:
    """`<Relay 2 of 3 sessions connected>`."""

    def __init__(
        self,
        desk: Desk,
        settings: EngineSettings,
        *,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._desk = desk
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._session = new_id()  # in the header of what we say ourselves
        self._spool = Spool(settings.spool_bytes)
        self._seats: OrderedDict[str, _Seat] = OrderedDict()  # who left longest ago comes first
        self._cells: dict[Key, _Asked] = {}  # whose reply is due, however long it takes
        self._asked: OrderedDict[Key, _Asked] = OrderedDict()  # the others
        self._news_due = False

    def __repr__(self) -> str:
        return f"<Relay {self.connections} of {len(self._seats)} sessions connected>"

    @property
    def connections(self) -> int:
        return sum(seat.client is not None for seat in self._seats.values())

    # -- clients come and go -----------------------------------------------------------------------

    def attach(
        self,
        client: ChannelsClient,
        session_id: str | None,
        state: KernelState,
        *,
        behind_lab: bool,
    ) -> Link:
        """Raises `TooManyClients`."""
        seat = self._seats.get(session_id) if session_id else None
        if seat is None:
            seat = self._new_seat(session_id or self._new_id(), state, behind_lab=behind_lab)
            seat.is_anonymous = not session_id
        else:
            self._take_over(seat)
        seat.client = client
        seat.behind_lab = behind_lab
        self._seats.move_to_end(seat.session_id)
        self._news()
        return Link(self, seat, client)

    def _new_seat(self, session_id: str, state: KernelState, *, behind_lab: bool) -> _Seat:
        """Nothing is replayed to it: it is told how the kernel stands, and what comes."""
        if self.connections >= self._settings.max_clients:
            raise TooManyClients(f"{self.connections} clients are connected to this kernel.")
        seat = self._seats[session_id] = _Seat(session_id, self._spool.reader(), behind_lab)
        self._say_status(seat, _words(state, behind_lab=behind_lab)[0])
        return seat

    def _take_over(self, seat: _Seat) -> None:
        """Somebody comes back, perhaps before we know that he had gone."""
        if seat.forget is not None:
            seat.forget.cancel()
            seat.forget = None
        self._part(seat, Parting.REPLACED)
        self._spool.rewind(seat.reader)

    def detach(self, seat: _Seat) -> None:
        """Its place is kept for a while, if it knows what to ask for when it comes back."""
        seat.client = None
        self._desk.touch()
        if seat.session_id not in self._seats:
            return
        if seat.is_anonymous:
            self._forget(seat)
            return
        seat.forget = self._clock.call_later(self._settings.absence_s, lambda: self._forget(seat))
        self._seats.move_to_end(seat.session_id)
        self._forget_old()

    def _forget_old(self) -> None:
        absent = [seat for seat in self._seats.values() if seat.client is None and seat.forget]
        for seat in absent[: max(0, len(absent) - self._settings.absent_clients)]:
            self._forget(seat)

    def _forget(self, seat: _Seat) -> None:
        if seat.forget is not None:
            seat.forget.cancel()
        self._seats.pop(seat.session_id, None)
        self._spool.forget(seat.reader)
        for requests in (self._cells, self._asked):
            for key in [key for key, asked in requests.items() if asked.seat is seat]:
                del requests[key]

    def close(self, why: Parting) -> None:
        """The kernel is gone for good, and its clients are told so."""
        for seat in list(self._seats.values()):
            self._part(seat, why)
            self._forget(seat)

    def _part(self, seat: _Seat, why: Parting) -> None:
        client = seat.client
        if client is not None:
            client.on_news()  # what it was told last
            seat.client = None
            client.on_parted(why)

    # -- from the kernel ---------------------------------------------------------------------------

    def hear(self, message: RawMessage) -> None:
        if not self._seats:
            return
        if message.channel is _IOPUB:
            self._put(message, None)
        elif message.parent is not None:
            key = message.parent.session, message.parent.msg_id
            asked = self._request(key)
            if asked is not None:
                self._answer(asked, key, message)

    def _request(self, key: Key) -> _Asked | None:
        return self._cells.get(key) or self._asked.get(key)

    def _answer(self, request: _Asked, key: Key, message: RawMessage) -> None:
        seat = request.seat
        seat.prompts = {prompt: asked for prompt, asked in seat.prompts.items() if asked != key}
        if message.channel is Channel.STDIN:
            seat.prompts[message.msg_id] = key
        else:
            request.answered = True
            self._cells.pop(key, None)
            self._asked[key] = request
            self._asked.move_to_end(key, last=False)  # it is not needed any more, most probably
            self._forget_asked()
        self._put(message, seat)

    def _put(self, message: RawMessage, seat: _Seat | None) -> None:
        try:
            strict = message.strict()
        except MalformedMessage as fault:
            log.warning("a %s of a kernel is not passed on: %s", message.msg_type, fault)
            return
        self._spool.append(strict, seat.reader if seat else None)
        if _is_waited_for(message):
            self._tell_news()  # what we do with it ourselves can wait
        else:
            self._news()

    def _news(self) -> None:
        """All that one drain of the kernel's sockets brings is told at once."""
        if not self._news_due:
            self._news_due = True
            asyncio.get_running_loop().call_soon(self._news_over)

    def _news_over(self) -> None:
        self._news_due = False
        self._tell_news()

    def _tell_news(self) -> None:
        for seat in list(self._seats.values()):
            if seat.reader.is_beyond_help:
                self._part(seat, Parting.TOO_SLOW)
                self._forget(seat)
            elif seat.client is not None and self._spool.has_news(seat.reader):
                seat.client.on_news()

    # -- from us -----------------------------------------------------------------------------------

    def tell_state(self, state: KernelState) -> None:
        """In the words of Jupyter's clients, to each that is there or will come back."""
        for seat in self._seats.values():
            for word in _words(state, behind_lab=seat.behind_lab):
                self._say_status(seat, word)
        self._news()

    def end_request(self, request: RawMessage, reply: Mapping[str, Json], *, shown: bool) -> None:
        """What the kernel cannot answer any more, we do: no client waits in vain."""
        parent = request.header
        key = parent.session, parent.msg_id
        if shown:
            self._put(self._made(Channel.IOPUB, "error", reply, parent), None)
        asked = self._request(key)
        if asked is not None and not asked.answered:
            self._answer(asked, key, self._made(request.channel, "execute_reply", reply, parent))
        idle: dict[str, Json] = {"execution_state": "idle"}
        self._put(self._made(Channel.IOPUB, "status", idle, parent), None)

    def _say_status(self, seat: _Seat, state: str) -> None:
        message = self._made(Channel.IOPUB, "status", {"execution_state": state}, None)
        if seat.behind_lab and state == KernelState.RESTARTING:
            seat.orders = {message.msg_id: False}
        self._spool.append(message, seat.reader)

    def _made(
        self,
        channel: Channel,
        msg_type: str,
        content: Mapping[str, Json],
        parent: Header | None,
    ) -> RawMessage:
        date = datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")
        header = Header(
            msg_id=MsgId(self._new_id()),
            msg_type=msg_type,
            session=self._session,
            username=_USERNAME,
            date=date,
        )
        return RawMessage.of(
            Message(channel=channel, header=header, parent=parent, content=content)
        )

    def take(self, seat: _Seat, most_bytes: int) -> Helping:
        taken = self._spool.take(seat.reader, most_bytes)
        messages = taken.messages
        if seat.orders:
            messages = [message for message in messages if not _is_order_again(seat, message)]
            if taken.messages and not messages and not taken.lost:
                return self.take(seat, most_bytes)  # nothing would mean that there is no more
        if not taken.lost:
            return Helping(messages, taken.last)
        notices = [self._notice(parent, lost) for parent, lost in taken.lost.items()]
        return Helping([*notices, *messages], taken.last)

    def acknowledge(self, seat: _Seat, number: int) -> None:
        self._spool.acknowledge(seat.reader, number)

    def _notice(self, parent_json: bytes, lost: Lost) -> RawMessage:
        """Of what one request has lost, as its own output: so it is seen where it is missing."""
        message = RawMessage.read(Channel.IOPUB, (_STREAM, parent_json, b"{}", b"{}"), ())
        uid = self._desk.run_of(message.parent) if message.parent else None
        where = f" The log of the run {uid} has all of it." if uid else ""
        text = (
            f"[kernel-gateway: {lost.messages} messages ({lost.bytes} bytes) of output were "
            f"dropped here, because this client was away or too slow.{where}]\n"
        )
        content: dict[str, Json] = {"name": "stderr", "text": text}
        return self._made(Channel.IOPUB, "stream", content, message.parent)

    # -- from a client -----------------------------------------------------------------------------

    def pass_on(self, seat: _Seat, message: RawMessage) -> None:
        """Raises `MalformedMessage`."""
        if message.channel is Channel.IOPUB:
            log.debug("a %s for iopub is ignored: nobody can ask there", message.msg_type)
        elif message.channel is Channel.STDIN:
            self._take_input(seat, message, message.decoded())
        else:
            header = message.header
            if message.msg_type not in _UNANSWERED:
                self._expect(seat, (header.session, header.msg_id), message)
            self._desk.take_request(message, header)
            if is_cell(message) and self._desk.is_full:
                self._turn_out(seat)

    def _turn_out(self, seat: _Seat) -> None:
        self._part(seat, Parting.TOO_MUCH)
        self.detach(seat)

    def _expect(self, seat: _Seat, key: Key, message: RawMessage) -> None:
        if is_cell(message):
            self._cells[key] = _Asked(seat)
            return
        self._asked[key] = _Asked(seat)
        self._asked.move_to_end(key)
        self._forget_asked()

    def _forget_asked(self) -> None:
        if len(self._asked) > ASKED:
            self._asked.popitem(last=False)

    def _take_input(self, seat: _Seat, message: RawMessage, reply: Message) -> None:
        """Only from whoever was prompted, and once: the kernel itself would take anybody's."""
        value = reply.content.get("value")
        prompt = _prompt_of(reply, seat.prompts)
        if prompt is None or message.msg_type != "input_reply" or not isinstance(value, str):
            log.debug("a %s that nothing waits for is dropped", message.msg_type)
        else:
            self._desk.take_input(message, seat.prompts.pop(prompt), value)


class Link:
    """Implements `service.ChannelsLink`. Of no effect once its client was parted."""

    def __init__(self, relay: Relay, seat: _Seat, client: ChannelsClient) -> None:
        self.session_id = seat.session_id
        self._relay = relay
        self._seat = seat
        self._client = client

    @property
    def _is_current(self) -> bool:
        return self._seat.client is self._client

    def take(self, most_bytes: int) -> Helping:
        if not self._is_current:
            return Helping((), self._seat.reader.taken)
        return self._relay.take(self._seat, most_bytes)

    def acknowledge(self, number: int) -> None:
        if self._is_current:
            self._relay.acknowledge(self._seat, number)

    def pass_on(self, message: RawMessage) -> None:
        if self._is_current:
            self._relay.pass_on(self._seat, message)

    def detach(self) -> None:
        if self._is_current:
            self._relay.detach(self._seat)


_IDLE = b'"idle"'
_STREAM = b'{"msg_type":"stream"}'


def is_cell(message: RawMessage) -> bool:
    return message.msg_type == "execute_request" and message.channel is Channel.SHELL


def _prompt_of(reply: Message, prompts: Mapping[str, Key]) -> str | None:
    """Which of the open ones it answers. There are clients that do not say which, or name the
    request; one that was answered already is named by mistake."""
    named = reply.parent_id
    if named in prompts:
        return named
    meant = [prompt for prompt, (_, msg_id) in prompts.items() if named in {None, "", msg_id}]
    return meant[0] if len(meant) == 1 else None


def _is_waited_for(message: RawMessage) -> bool:
    """A prompt can be answered only when the kernel's run has heard of it, too."""
    if message.channel is _IOPUB:
        return message.msg_type == "status" and _IDLE in message.parts[3]
    return message.channel is not Channel.STDIN


def _is_order_again(seat: _Seat, message: RawMessage) -> bool:
    """JupyterLab connects anew as soon as it hears `restarting`, before it has acknowledged that: a
    second time it would say once more that the kernel has died, and connect anew again."""
    if message.msg_type != "status" or message.msg_id not in seat.orders:
        return False
    was_taken = seat.orders[message.msg_id]
    seat.orders[message.msg_id] = True
    return was_taken


def _words(state: KernelState, *, behind_lab: bool) -> tuple[str, ...]:
    """JupyterLab takes `restarting` for a death: it says that the kernel appears to have died,
    forgets its requests and connects anew. That is right when it has died, and wrong when its user
    has asked for the restart; then Lab has done all this already."""
    if state is KernelState.AUTORESTARTING:
        return (state.value, KernelState.RESTARTING.value)
    if state is KernelState.RESTARTING and behind_lab:
        return (KernelState.STARTING.value,)
    return (state.value,)
