"""What clients get of one bounded list: everything in order, or they are told of the loss."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_gateway.messaging import spool as spool_module
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.messaging.spool import (
    JOIN_ABOVE,
    JOINED_CHARS,
    KEPT_BYTES,
    LOST_PARENTS,
    OVERHEAD_BYTES,
    Lost,
    Reader,
    Spool,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.messaging.spool import Taken

ROOMY = 10**9
ALL = 10**9  # bytes of one take
NEVER_LOST = ("status", "execute_reply", "error", "input_request")


def message(
    number: int,
    text: str = "",
    *,
    msg_type: str = "stream",
    parent: str = "p",
    name: str = "stdout",
    channel: Channel = Channel.IOPUB,
    metadata: dict[str, int] | None = None,
    buffers: tuple[bytes, ...] = (),
    **more: str,
) -> RawMessage:
    return RawMessage.of(
        Message(
            channel=channel,
            header=Header(msg_id=MsgId(f"m{number}"), msg_type=msg_type, session="k"),
            parent=parent_of(parent),
            metadata=metadata or {},
            content={"name": name, "text": text, **more},
            buffers=buffers,
        )
    )


def parent_of(name: str) -> Header:
    return Header(msg_id=MsgId(name), msg_type="execute_request", session="c")


def key_of(name: str) -> bytes:
    """Under which losses of its output are told."""
    return message(0, parent=name).parts[1]


def texts(taken: Taken) -> list[str]:
    return [str(one.content["text"]) for one in taken.messages]


def ids(taken: Taken) -> list[str]:
    return [one.msg_id for one in taken.messages]


def size(*messages: RawMessage) -> int:
    return sum(one.bytes + OVERHEAD_BYTES for one in messages)


def filled(limit: int, count: int, **fields: str) -> tuple[Spool, Reader]:
    """With one reader, who has taken nothing of as many prints."""
    spool = Spool(limit)
    reader = spool.reader()
    for number in range(1, count + 1):
        spool.append(message(number, f"{number};", **fields))  # type: ignore[arg-type]
    return spool, reader


# -- taking ---------------------------------------------------------------------------------------


def test_a_reader_begins_with_what_comes_next() -> None:
    spool, _ = filled(ROOMY, 2)
    late = spool.reader()
    assert not spool.has_news(late)
    assert ([], 2, {}) == (ids(taken := spool.take(late, ALL)), taken.last, taken.lost)
    spool.append(message(3, "x"))
    assert spool.has_news(late)
    assert ["m3"] == ids(spool.take(late, ALL))


def test_what_was_taken_is_not_taken_again() -> None:
    spool, reader = filled(ROOMY, 3)
    taken = spool.take(reader, ALL)
    assert (["m1", "m2", "m3"], 3) == (ids(taken), taken.last)
    assert not spool.has_news(reader)
    assert ([], 3) == (ids(taken := spool.take(reader, ALL)), taken.last)


def test_a_reader_takes_about_as_much_as_it_asks_for_and_one_message_at_least() -> None:
    spool, reader = filled(ROOMY, 4)
    assert ["m1"] == ids(spool.take(reader, 0))
    assert ["m2", "m3"] == ids(spool.take(reader, 2 * size(message(1, "1;"))))
    assert ["m4"] == ids(spool.take(reader, ALL))


def test_a_message_for_one_reader_is_passed_over_by_the_others() -> None:
    spool = Spool(ROOMY)
    one, other = spool.reader(), spool.reader()
    spool.append(message(1, msg_type="execute_reply", channel=Channel.SHELL), one)
    spool.append(message(2, "x"))
    spool.append(message(3, msg_type="input_request", channel=Channel.STDIN), other)
    assert (["m1", "m2"], 3) == (ids(taken := spool.take(one, ALL)), taken.last)
    assert ["m2", "m3"] == ids(spool.take(other, ALL))
    spool.append(message(4, msg_type="execute_reply"), other)
    assert ([], 4) == (ids(taken := spool.take(one, ALL)), taken.last)


def test_what_is_said_while_nobody_is_there_takes_no_room() -> None:
    spool = Spool(ROOMY)
    spool.append(message(1, "x"))
    assert "<Spool 0 messages 0 bytes>" == repr(spool)
    reader = spool.reader()
    spool.append(message(2, "y"))
    assert (["m2"], 2) == (ids(taken := spool.take(reader, ALL)), taken.last)


# -- acknowledging --------------------------------------------------------------------------------


def test_what_was_not_acknowledged_is_taken_again_after_a_rewind() -> None:
    spool, reader = filled(ROOMY, 3)
    spool.take(reader, ALL)
    spool.acknowledge(reader, 1)
    spool.rewind(reader)
    assert spool.has_news(reader)
    assert ["m2", "m3"] == ids(spool.take(reader, ALL))
    spool.acknowledge(reader, 3)
    spool.rewind(reader)
    assert [] == ids(spool.take(reader, ALL))


def test_what_all_have_acknowledged_is_let_go() -> None:
    spool, one = filled(ROOMY, 3)
    other = spool.reader()
    spool.append(message(4, "x"))
    spool.take(one, ALL)
    spool.acknowledge(one, 4)
    assert f"<Spool 1 messages {size(message(4, 'x'))} bytes>" == repr(spool)
    spool.take(other, ALL)
    spool.acknowledge(other, 4)
    assert "<Spool 0 messages 0 bytes>" == repr(spool)


def test_whoever_is_forgotten_holds_nothing_back() -> None:
    spool, reader = filled(ROOMY, 3)
    other = spool.reader()
    spool.forget(reader)
    assert "<Spool 0 messages 0 bytes>" == repr(spool)
    spool.append(message(4, "x"))
    spool.forget(other)
    assert "<Spool 0 messages 0 bytes>" == repr(spool)


def test_a_number_that_was_not_taken_yet_or_is_acknowledged_already_changes_nothing() -> None:
    spool, reader = filled(ROOMY, 3)
    spool.take(reader, 0)
    spool.take(reader, 0)
    for number in (3, 99, 0, -1):
        spool.acknowledge(reader, number)
        assert 0 == reader.acknowledged
    spool.acknowledge(reader, 2)
    spool.acknowledge(reader, 1)
    assert 2 == reader.acknowledged
    spool.rewind(reader)
    spool.acknowledge(reader, 3)
    assert ["m3"] == ids(spool.take(reader, ALL))


# -- joining --------------------------------------------------------------------------------------

FULL = size(*[message(number, f"{number};") for number in range(10, 20)])


def test_a_full_list_joins_neighbouring_texts_with_the_header_of_the_first() -> None:
    spool, reader = filled(FULL, 12)
    taken = spool.take(reader, ALL)
    assert (["m1", "m12"], 12) == (ids(taken), taken.last), "the last came when there was room"
    assert "".join(f"{number};" for number in range(1, 13)) == "".join(texts(taken))
    assert {} == taken.lost
    first = taken.messages[0]
    assert (Channel.IOPUB, "stream", parent_of("p")) == (
        first.channel,
        first.msg_type,
        first.parent,
    )
    assert message(1).parts[:3] == first.parts[:3]


@pytest.mark.parametrize(
    "other",
    [
        {"name": "stderr"},
        {"parent": "q"},
        {"metadata": {"a": 1}},
        {"msg_type": "display_data"},
        {"channel": Channel.SHELL},
        {"buffers": (b"x",)},
        {"beside": "x"},
    ],
)
def test_texts_that_differ_in_more_than_the_text_are_not_joined(other: dict[str, str]) -> None:
    spool = Spool(FULL)
    reader = spool.reader()
    pair = [message(1, "a;"), message(2, "b;", **other)]  # type: ignore[arg-type]
    for one in pair:
        spool.append(one)
    for number in range(3, 12):
        spool.append(message(number, "c;", parent="z"))
    assert [*pair] == list(spool.take(reader, ALL).messages)[:2]


@pytest.mark.parametrize("content", [b"[", b'{"name":"stdout","text":5}', b'{"name":"stdout"}'])
def test_a_stream_that_is_none_is_left_as_it_is(content: bytes) -> None:
    header, parent, metadata, _ = message(1).parts
    odd = RawMessage.read(Channel.IOPUB, (header, parent, metadata, content), ())
    spool = Spool(FULL)
    reader = spool.reader()
    for one in (message(0, "a;"), odd, message(2, "b;"), message(3, "c;")):
        spool.append(one)
    for number in range(4, 12):
        spool.append(message(number, "c;", parent="z"))
    taken = spool.take(reader, ALL)
    assert ["m0", "m1", "m2", "m4"] == ids(taken)[:4]
    assert odd is taken.messages[1]
    assert "b;c;" == taken.messages[2].content["text"]


def test_texts_for_one_reader_are_not_joined_with_those_for_all() -> None:
    spool = Spool(FULL)
    one, other = spool.reader(), spool.reader()
    spool.append(message(1, "a"))
    spool.append(message(2, "b"), one)
    spool.append(message(3, "c"), one)
    for number in range(4, 12):
        spool.append(message(number, "d"))
    assert ["a", "bc", "d" * 8] == texts(spool.take(one, ALL))
    assert ["a", "d" * 8] == texts(spool.take(other, ALL))


def test_a_joined_text_does_not_grow_for_ever() -> None:
    spool = Spool(ROOMY)
    reader = spool.reader()
    for number in range(JOIN_ABOVE + 1):
        spool.append(message(number, "x" * 1000))
    told = texts(spool.take(reader, ALL))
    assert "x" * 1000 * (JOIN_ABOVE + 1) == "".join(told)
    assert 4 == len(told)
    assert all(len(text) <= JOINED_CHARS + 1000 for text in told)


def test_a_text_that_is_big_by_itself_is_left_as_it_is() -> None:
    spool, reader = filled(ROOMY, JOIN_ABOVE)
    for number, text in enumerate(("b" * JOINED_CHARS, "c", "d", "e" * JOINED_CHARS)):
        spool.append(message(number, text))
    assert ["m1", "m0", "m1", "m3"] == ids(spool.take(reader, ALL))


def test_what_a_reader_has_taken_and_not_acknowledged_is_told_again_as_it_was() -> None:
    """A client that has got a part of it before the line was cut knows that part by its ID."""
    spool, slow = filled(FULL, 1)
    reader = spool.reader()
    for number in range(2, 8):
        spool.append(message(number, f"{number};"))
    told = [spool.take(reader, 0) for _ in range(4)]
    spool.acknowledge(reader, 3)
    for number in range(8, 12):
        spool.append(message(number, f"{number};"))
    spool.rewind(reader)
    again = spool.take(reader, ALL)
    assert ["m4", "m5", "m6"] == ids(again)
    assert ["m4", "m5"] == [one for taken in told for one in ids(taken)][2:]
    assert ["1;2;3;", "4;", "5;", "6;7;8;9;10;11;"] == texts(spool.take(slow, ALL))


def test_what_was_acknowledged_meanwhile_is_joined_for_the_others() -> None:
    spool = Spool(FULL)
    reader, slow = spool.reader(), spool.reader()
    for number in range(1, 4):
        spool.append(message(number, f"{number};"))
    spool.take(reader, ALL)
    for number in range(4, 12):
        spool.append(message(number, f"{number};"))
    assert "<Spool 4 messages" in repr(spool), "three are on their way, and stay as they are"
    spool.acknowledge(reader, 3)
    for number in range(12, 19):
        spool.append(message(number, f"{number};"))
    taken = spool.take(slow, ALL)
    assert (["m1", "m4", "m18"], 18) == (ids(taken), taken.last)
    assert "".join(f"{number};" for number in range(1, 19)) == "".join(texts(taken))
    assert {} == taken.lost


def test_whoever_is_far_behind_takes_joined_texts_though_there_is_room() -> None:
    spool, reader = filled(ROOMY, JOIN_ABOVE)
    assert JOIN_ABOVE == len(spool.take(reader, ALL).messages)
    spool.rewind(reader)
    spool.append(message(0, "x"))
    assert JOIN_ABOVE + 1 == len(spool.take(reader, ALL).messages), "it was told so before"
    spool, reader = filled(ROOMY, JOIN_ABOVE + 1)
    (all_of_it,) = texts(spool.take(reader, ALL))
    assert "".join(f"{number};" for number in range(1, JOIN_ABOVE + 2)) == all_of_it


# -- losing ---------------------------------------------------------------------------------------


def shown(number: int, parent: str = "p") -> RawMessage:
    return message(number, "x", msg_type="display_data", parent=parent)


TEN_SHOWN = size(*[shown(number) for number in range(10)])


def test_what_leaves_a_full_list_is_counted_for_whoever_had_not_come_to_it() -> None:
    spool = Spool(TEN_SHOWN)
    quick, slow = spool.reader(), spool.reader()
    for number in range(10):
        spool.append(shown(number, "pq"[number % 2]))
    spool.take(quick, ALL)
    spool.append(shown(9))
    taken = spool.take(slow, ALL)
    left = 11 - len(taken.messages)
    assert 6 == left
    assert {
        key_of("p"): Lost(messages=3, bytes=3 * shown(0).bytes),
        key_of("q"): Lost(messages=3, bytes=3 * shown(0).bytes),
    } == taken.lost
    assert {} == spool.take(slow, ALL).lost, "it was told"
    assert {} == spool.take(quick, ALL).lost


def test_the_newest_stays_however_big_it_is() -> None:
    spool = Spool(TEN_SHOWN)
    reader = spool.reader()
    for number in range(3):
        spool.append(shown(number))
    spool.append(message(4, "x" * 20_000))
    taken = spool.take(reader, ALL)
    assert (["x" * 20_000], 3) == (texts(taken), taken.lost[key_of("p")].messages)


def test_joined_messages_that_are_lost_are_counted_as_the_kernel_had_sent_them() -> None:
    spool = Spool(FULL)
    reader = spool.reader()
    for number in range(200):
        spool.append(message(number, "x" * 20))
        spool.append(message(number, "x" * 20))
        spool.append(shown(number, "q"))
    taken = spool.take(reader, ALL)
    got = sum(len(text) for text in texts(taken) if text != "x")
    assert 400 - got // 20 == taken.lost[key_of("p")].messages


@pytest.mark.parametrize("msg_type", [*NEVER_LOST, "shutdown_reply", "something_new"])
def test_whoever_would_wait_for_ever_for_it_gets_it(msg_type: str) -> None:
    spool = Spool(TEN_SHOWN)
    reader, other = spool.reader(), spool.reader()
    spool.append(message(0, msg_type=msg_type), reader)
    spool.append(message(1, msg_type=msg_type))
    for number in range(2, 30):
        spool.append(shown(number))
    assert ["m0", "m1"] == ids(spool.take(reader, ALL))[:2]
    assert ["m1"] == ids(spool.take(other, 0))
    spool.rewind(reader)
    spool.rewind(other)
    taken = spool.take(reader, 0)
    assert (["m0"], 1) == (ids(taken), taken.last)
    spool.acknowledge(reader, 1)
    assert 1 == len(reader.kept)
    spool.rewind(reader)
    assert "m1" == ids(spool.take(reader, ALL))[0]
    assert ["m1"] == ids(spool.take(other, 0)), "what the one has acknowledged the other has not"


def test_what_was_taken_and_left_is_lost_if_it_did_not_arrive() -> None:
    spool = Spool(TEN_SHOWN)
    reader = spool.reader()
    for number in range(10):
        spool.append(shown(number))
    spool.take(reader, ALL)
    spool.append(shown(10))
    assert {} == spool.take(reader, ALL).lost
    spool.rewind(reader)
    taken = spool.take(reader, ALL)
    lost = 11 - len(taken.messages)
    assert {key_of("p"): Lost(messages=lost, bytes=lost * shown(0).bytes)} == taken.lost


def test_what_was_taken_and_left_is_not_lost_if_it_has_arrived() -> None:
    spool = Spool(TEN_SHOWN)
    reader = spool.reader()
    for number in range(10):
        spool.append(shown(number))
    last = spool.take(reader, ALL).last
    spool.append(shown(10))
    spool.acknowledge(reader, last)
    spool.rewind(reader)
    assert (["m10"], {}) == (ids(taken := spool.take(reader, ALL)), taken.lost)


def test_a_part_of_what_left_that_was_acknowledged_keeps_all_of_it_unsure() -> None:
    spool = Spool(TEN_SHOWN)
    reader = spool.reader()
    for number in range(10):
        spool.append(shown(number))
    spool.take(reader, ALL)
    spool.append(shown(10))
    spool.acknowledge(reader, 2)
    spool.rewind(reader)
    assert spool.take(reader, ALL).lost[key_of("p")].messages >= 4


def test_a_loss_is_told_again_unless_it_is_known_to_have_arrived() -> None:
    spool = Spool(TEN_SHOWN)
    reader = spool.reader()
    for number in range(11):
        spool.append(shown(number))
    first = spool.take(reader, 0)
    assert first.lost
    spool.rewind(reader)
    again = spool.take(reader, 0)
    assert (first.lost, ids(first), first.last) == (again.lost, ids(again), again.last)
    spool.acknowledge(reader, again.last)
    spool.rewind(reader)
    assert {} == spool.take(reader, ALL).lost


def test_a_reader_for_whom_too_much_has_to_be_kept_is_beyond_help() -> None:
    spool = Spool(0)
    reader, other = spool.reader(), spool.reader()
    status = message(0, msg_type="status")
    for _ in range(KEPT_BYTES // (status.bytes + OVERHEAD_BYTES)):
        spool.append(status, reader)
    assert not reader.is_beyond_help
    spool.append(status)
    assert not reader.is_beyond_help, "the newest is in the list"
    spool.append(status)
    assert reader.is_beyond_help
    assert not other.is_beyond_help
    spool.take(reader, 2**40)
    spool.acknowledge(reader, reader.taken)
    assert 0 == reader.kept_bytes


def test_losses_of_very_many_requests_are_told_together() -> None:
    spool = Spool(0)
    reader = spool.reader()
    for number in range(LOST_PARENTS + 11):
        spool.append(message(number, parent=str(number)))
    lost = spool.take(reader, 2**40).lost
    assert LOST_PARENTS + 1 == len(lost)
    assert 10 == lost[b"{}"].messages
    assert LOST_PARENTS + 10 == sum(one.messages for one in lost.values())


# -- in any order ---------------------------------------------------------------------------------

OUTPUT = ("stream", "stream", "stream", "display_data", "comm_msg")
TOKEN = re.compile("<([0-9]+)>")


@dataclass(eq=False)
class Client:
    """Takes, and gets what it has taken until its line is cut; drops what it has had by its ID."""

    reader: Reader
    begin: int  # number of the last message before it
    due: dict[int, RawMessage] = field(default_factory=dict)
    line: list[RawMessage | dict[bytes, Lost]] = field(default_factory=list)
    takes: list[tuple[int, int]] = field(default_factory=list)  # number of the last, length of line
    sure: int = 0  # how much of the line has arrived for certain
    rewound: bool = False
    has: set[int] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    lost: dict[bytes, int] = field(default_factory=dict)

    def cut(self, arrived: int) -> None:
        """Only so much of the line has arrived."""
        before = frozenset(self.seen)
        for item in self.line[:arrived]:
            if isinstance(item, RawMessage):
                self._get(item, repeats=before)
            else:
                for parent, lost in item.items():
                    self.lost[parent] = self.lost.get(parent, 0) + lost.messages
        self.line, self.takes, self.sure, self.rewound = [], [], 0, True

    def _get(self, one: RawMessage, repeats: frozenset[str]) -> None:
        numbers = set(numbers_of(one))
        if one.msg_id in repeats:
            assert numbers <= self.has, "a repeat has nothing new"
        self.seen.add(one.msg_id)
        self.has |= numbers

    @property
    def missing(self) -> dict[bytes, int]:
        """Of its output, by parent."""
        counts: dict[bytes, int] = {}
        for number, one in self.due.items():
            if number not in self.has:
                assert one.msg_type in OUTPUT, f"a {one.msg_type} was lost"
                counts[one.parts[1]] = counts.get(one.parts[1], 0) + 1
        return counts


def numbers_of(one: RawMessage) -> list[int]:
    return [int(number) for number in TOKEN.findall(str(one.content["text"]))]


@dataclass
class Play:
    spool: Spool
    limit: int
    biggest: int = 0
    last: int = 0
    clients: list[Client] = field(default_factory=list)
    gone: list[Client] = field(default_factory=list)

    def append(self, number: int) -> None:
        self.last += 1
        msg_type = (*OUTPUT, *NEVER_LOST)[number % 9]
        filler = ("", "é😀\n", "x" * 30, "y" * 700)[number // 9 % 4]
        one = message(
            self.last,
            f"<{self.last}>{filler}",
            msg_type=msg_type,
            parent="ppq"[number // 36 % 3],
            name=("stdout", "stdout", "stderr")[number // 108 % 3],
        )
        choice = number // 324 % 6
        client = self.clients[choice] if choice < len(self.clients) and number % 2 else None
        self.spool.append(one, client.reader if client else None)
        for to in [client] if client else self.clients:
            to.due[self.last] = one
        self.biggest = max(self.biggest, one.bytes + OVERHEAD_BYTES)

    def come(self, number: int) -> None:
        if len(self.clients) < 4:
            self.clients.append(Client(self.spool.reader(), self.last))

    def take(self, number: int) -> None:
        if client := self._one(number):
            self._take(client, (0, 700, 2000, ALL)[number // 8 % 4])

    def _take(self, client: Client, most_bytes: int) -> None:
        before = client.reader.taken
        taken = self.spool.take(client.reader, most_bytes)
        assert taken.last == client.reader.taken >= before
        assert taken.messages or not self.spool.has_news(client.reader)
        numbers = [number for one in taken.messages for number in numbers_of(one)]
        assert all(a < b for a, b in pairwise([before, *numbers])), "in order, and once"
        assert numbers == [] or numbers[-1] <= taken.last
        for one in taken.messages:
            self._look_at(one, client)
        if taken.lost:
            client.line.append(dict(taken.lost))
        client.line += taken.messages
        client.takes.append((taken.last, len(client.line)))

    def _look_at(self, one: RawMessage, client: Client) -> None:
        first, *more = [client.due[number] for number in numbers_of(one)]
        if not more:
            assert first is one
            return
        assert first.parts[:3] == one.parts[:3], "the header of the first"
        contents = [part.content for part in (first, *more)]
        assert {(first.parts[1], first.content["name"])} == {
            (part.parts[1], part.content["name"]) for part in (first, *more)
        }
        joined = {"name": contents[0]["name"], "text": "".join(str(c["text"]) for c in contents)}
        assert joined == one.content

    def acknowledge(self, number: int) -> None:
        client = self._one(number)
        if client and client.takes:
            last, arrived = client.takes[number // 8 % len(client.takes)]
            self.spool.acknowledge(client.reader, last)
            client.sure = max(client.sure, arrived)

    def cut(self, number: int) -> None:
        if client := self._one(number):
            unsure = len(client.line) - client.sure
            client.cut(client.sure + (number // 8 % (unsure + 1)))
            self.spool.rewind(client.reader)

    def go(self, number: int) -> None:
        if number % 3 == 0 and (client := self._one(number // 3)):
            self.spool.forget(client.reader)
            self.clients.remove(client)

    def _one(self, number: int) -> Client | None:
        return self.clients[number % 8 % len(self.clients)] if self.clients else None

    def look(self) -> None:
        entries = self.spool._entries
        assert all(a.number < b.number for a, b in pairwise(entries))
        sizes = [entry.message.bytes + OVERHEAD_BYTES for entry in entries]
        assert sizes == [entry.size for entry in entries]
        assert sum(sizes) == self.spool._bytes
        assert sum(sizes) <= self.limit + self.biggest
        assert self.clients or not entries

    def judge(self) -> None:
        """All take what is left, and get it."""
        for client in self.clients:
            rewound = client.rewound
            while self.spool.has_news(client.reader) or client.reader.lost:
                self._take(client, 2000)
            client.cut(len(client.line))
            for parent, count in client.missing.items():
                assert client.lost.get(parent, 0) >= count, "a loss is told"
            if not rewound:
                assert client.lost == client.missing, "exactly"


MOVES = (
    *(Play.append,) * 8,
    *(Play.take,) * 4,
    *(Play.acknowledge,) * 2,
    Play.cut,
    Play.come,
    Play.go,
)


MANY_MOVES = st.lists(st.integers(0, 2**20), min_size=20, max_size=120)


def play(limit: int, moves: Sequence[int]) -> Play:
    game = Play(Spool(limit), limit)
    game.come(0)
    game.come(0)
    for number in moves:
        MOVES[number % len(MOVES)](game, number // len(MOVES))
        game.look()
    return game


@pytest.mark.parametrize("join_above", [5, JOIN_ABOVE])
@settings(max_examples=200)
@given(limit=st.sampled_from([2000, 5000, 12_000, ROOMY]), moves=MANY_MOVES)
def test_each_gets_all_that_is_for_it_in_order_or_is_told_of_the_loss(
    join_above: int, limit: int, moves: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "JOIN_ABOVE", join_above)
        patch.setattr(spool_module, "JOINED_CHARS", 100)
        game = play(limit, moves)
        game.judge()
    if limit == ROOMY:
        for client in game.clients:
            assert ({}, {}) == (client.lost, client.missing), "nothing is lost for no reason"


def test_contents_of_joined_texts_are_strict_json() -> None:
    spool = Spool(FULL)
    reader = spool.reader()
    header, parent, metadata, _ = message(1).parts
    for text in ("\\ud83d", "\\ude00", *"abcdefghi"):
        content = b'{"name":"stdout","text":"' + text.encode() + b'"}'
        spool.append(RawMessage.read(Channel.IOPUB, (header, parent, metadata, content), ()))
    (joined,) = spool.take(reader, ALL).messages
    assert json.loads(joined.parts[3].decode()) == joined.content
    assert joined is joined.strict()
