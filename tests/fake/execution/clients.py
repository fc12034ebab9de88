"""Clients of a kernel's channels, as they are behind a WebSocket, and words for what they hear."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage
from tests.fake.execution.conftest import HANG_LIMIT_S, ME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import ChannelsLink, Parting
    from tests.fake.execution.conftest import Bench


class Client:
    """Implements `service.ChannelsClient`. An eager one takes all that there is, at once."""

    link: ChannelsLink

    def __init__(self, session: str = "s", *, eager: bool = True) -> None:
        self.session = session
        self.eager = eager
        self.told: list[RawMessage] = []
        self.taken = 0  # number of the last message that was taken
        self.news = 0
        self.parted: list[Parting] = []
        self.sent = 0
        self.is_there = True

    def on_news(self) -> None:
        self.news += 1
        if self.eager:
            self.take_all()

    def on_parted(self, why: Parting) -> None:
        self.parted.append(why)

    def take(self, most_bytes: int = 2**20) -> Sequence[RawMessage]:
        helping = self.link.take(most_bytes)
        self.told += helping.messages
        self.taken = helping.last
        return helping.messages

    def take_all(self) -> None:
        while self.take():
            pass

    def leave(self) -> None:
        self.is_there = False
        self.link.detach()

    def acknowledge(self) -> None:
        """All that it has taken."""
        self.link.acknowledge(self.taken)

    # -- asking ------------------------------------------------------------------------------------

    def send(
        self,
        msg_type: str,
        content: dict[str, Json] | None = None,
        *,
        msg_id: str | None = None,
        channel: Channel = Channel.SHELL,
        parent: Header | None = None,
        session: str | None = None,
        **more: Json,
    ) -> Header:
        """`more`: fields of the header."""
        self.sent += 1
        header = Header(
            msg_id=MsgId(f"{self.session}-{self.sent}" if msg_id is None else msg_id),
            msg_type=msg_type,
            session=self.session if session is None else session,
            more=more,
        )
        message = Message(channel=channel, header=header, parent=parent, content=content or {})
        self.link.pass_on(RawMessage.of(message))
        return header

    def cell(self, code: str, msg_id: str | None = None, **content: Json) -> Header:
        full: dict[str, Json] = {
            "code": code,
            "silent": False,
            "store_history": True,
            "allow_stdin": True,
            "stop_on_error": True,
            **content,
        }
        return self.send("execute_request", full, msg_id=msg_id)

    def answer(self, value: Json, prompt: Header | None) -> None:
        """Of a prompt."""
        content: dict[str, Json] = {"value": value}
        self.send("input_reply", content, channel=Channel.STDIN, parent=prompt)

    # -- hearing -----------------------------------------------------------------------------------

    @property
    def words(self) -> list[str]:
        return [word_of(message) for message in self.told]

    @property
    def states(self) -> list[str]:
        """Of the kernel itself: those that no request has caused."""
        return [word_of(message) for message in self.told if message.parent is None]

    def of(self, request: Header) -> list[str]:
        """What came because of it."""
        return [word_of(message) for message in self.about(request)]

    def about(self, request: Header) -> list[RawMessage]:
        return [message for message in self.told if is_about(message, request)]

    def prompts(self, request: Header) -> list[Header]:
        told = self.about(request)
        return [message.header for message in told if message.msg_type == "input_request"]

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(HANG_LIMIT_S):
            while not happened():
                await asyncio.sleep(0)

    async def hears(self, word: str, request: Header | None = None) -> None:
        """It was told so, about the request if one is named."""
        await self.until(lambda: word in (self.of(request) if request else self.words))

    async def prompt(self, request: Header, number: int = 1) -> Header:
        """The header of the so manieth prompt of the request."""
        await self.until(lambda: len(self.prompts(request)) >= number)
        return self.prompts(request)[number - 1]

    async def done(self, *requests: Header) -> None:
        """Each has its reply and its idle."""
        await self.until(lambda: all(_is_done(self.of(request)) for request in requests))


def _is_done(words: list[str]) -> bool:
    return "idle" in words and any(word.startswith("reply ") for word in words)


def is_about(message: RawMessage, request: Header) -> bool:
    parent = message.parent
    wanted = (request.session, request.msg_id)
    return parent is not None and wanted == (parent.session, parent.msg_id)


def word_of(message: RawMessage) -> str:
    """`busy`, `stdout a`, `reply ok`; its type where nothing more is of interest."""
    content = message.content
    if message.msg_type == "status":
        return str(content["execution_state"])
    if message.msg_type == "stream":
        return f"{content['name']} {str(content['text']).rstrip()}"
    if message.msg_type.endswith("_reply"):
        return f"reply {content.get('status', 'ok')}"
    return message.msg_type


def joined(
    bench: Bench,
    kernel_id: str,
    session: str = "s",
    *,
    eager: bool = True,
    behind_lab: bool = False,
) -> Client:
    """A client that is connected to a kernel of a bench."""
    client = Client(session, eager=eager)
    client.link = bench.service.channels(
        ME, kernel_id, client, session_id=session, behind_lab=behind_lab
    )
    return client
