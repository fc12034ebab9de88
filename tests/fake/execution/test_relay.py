"""What each client of a kernel's channels is told: in which order, and after an absence."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_gateway.errors import MalformedMessage, TooManyClients
from kernel_gateway.execution import relay as relay_module
from kernel_gateway.execution.relay import Relay
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.messaging import spool
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.messaging.raw import RawMessage
from kernel_gateway.service import KernelState, Parting
from tests.fake.execution.clients import Client
from tests.fake.execution.conftest import ManualClock

if TYPE_CHECKING:
    from kernel_gateway.execution.relay import Key
    from kernel_gateway.messaging.strict_json import Json


class Desk:
    """A session that only remembers what it was given."""

    def __init__(self) -> None:
        self.is_full = False
        self.requests: list[Header] = []
        self.inputs: list[tuple[Key, str]] = []
        self.uids: dict[str, str] = {}
        self.touched = 0

    def touch(self) -> None:
        self.touched += 1

    def take_request(self, message: RawMessage, header: Header) -> None:
        self.requests.append(header)

    def take_input(self, message: RawMessage, asked: Key, value: str) -> None:
        self.inputs.append((asked, value))

    def run_of(self, parent: Header) -> str | None:
        return self.uids.get(parent.msg_id)


class Office:
    """A relay, the desk it works for, and a kernel that says what a test wants."""

    def __init__(self, **limits: float) -> None:
        self.desk = Desk()
        self.clock = ManualClock()
        self._ids = itertools.count(1)
        self.relay = Relay(
            self.desk,
            EngineSettings(**limits),  # type: ignore[arg-type]
            clock=self.clock,
            new_id=lambda: f"id-{next(self._ids)}",
        )

    def client(
        self,
        session: str | None = "s",
        state: KernelState = KernelState.IDLE,
        *,
        eager: bool = True,
        behind_lab: bool = False,
    ) -> Client:
        client = Client(session or "", eager=eager)
        client.link = self.relay.attach(client, session, state, behind_lab=behind_lab)
        return client

    def says(
        self,
        msg_type: str,
        content: dict[str, Json] | None = None,
        *,
        to: Header | None = None,
        channel: Channel = Channel.IOPUB,
    ) -> RawMessage:
        header = Header(msg_id=MsgId(f"k-{next(self._ids)}"), msg_type=msg_type, session="kernel")
        message = RawMessage.of(
            Message(channel=channel, header=header, parent=to, content=content or {})
        )
        self.relay.hear(message)
        return message

    def prints(self, text: str, to: Header | None = None) -> None:
        self.says("stream", {"name": "stdout", "text": text}, to=to)

    def replies(self, to: Header) -> None:
        self.says("execute_reply", {"status": "ok"}, to=to, channel=Channel.SHELL)

    def prompts(self, to: Header) -> Header:
        return self.says("input_request", {"prompt": "?"}, to=to, channel=Channel.STDIN).header


async def told() -> None:
    """What is due by now is told."""
    await asyncio.sleep(0)


# -- who is told what -----------------------------------------------------------------------------


async def test_a_new_client_is_told_how_the_kernel_stands_and_what_comes() -> None:
    office = Office()
    first = office.client("a")
    office.prints("before")
    later = office.client("b", KernelState.BUSY)
    office.prints("after")
    await told()
    assert ["idle", "stdout before", "stdout after"] == first.words
    assert ["busy", "stdout after"] == later.words


@pytest.mark.parametrize(
    ("state", "behind_lab", "told_of"),
    [
        (KernelState.AUTORESTARTING, False, "autorestarting"),
        (KernelState.AUTORESTARTING, True, "autorestarting"),
        (KernelState.RESTARTING, False, "restarting"),
        (KernelState.RESTARTING, True, "starting"),
        (KernelState.DEAD, True, "dead"),
    ],
)
async def test_a_new_client_is_told_one_state_in_words_that_it_takes_rightly(
    state: KernelState, behind_lab: bool, told_of: str
) -> None:
    client = Office().client(state=state, behind_lab=behind_lab)
    await told()
    assert [told_of] == client.words


async def test_what_comes_over_iopub_goes_to_all_and_a_reply_to_who_asked() -> None:
    office = Office()
    ada, bob = office.client("ada"), office.client("bob")
    request = ada.send("inspect_request")
    office.says("status", {"execution_state": "busy"}, to=request)
    office.says("inspect_reply", to=request, channel=Channel.SHELL)
    await told()
    assert ["idle", "busy", "reply ok"] == ada.words
    assert ["idle", "busy"] == bob.words


async def test_two_clients_may_choose_one_id() -> None:
    office = Office()
    ada, bob = office.client("ada"), office.client("bob")
    hers = ada.cell("x", "1")
    his = bob.cell("x", "1")
    prompt = office.prompts(his)
    office.replies(hers)
    await told()
    assert ["idle", "reply ok"] == ada.words
    assert ["idle", "input_request"] == bob.words
    ada.answer("hers", prompt)
    bob.answer("his", prompt)
    assert [(("bob", "1"), "his")] == office.desk.inputs


async def test_a_session_may_ask_under_another_name_than_its_own() -> None:
    office = Office()
    client = office.client(None)
    request = client.send("inspect_request", session="whatever it likes")
    office.says("inspect_reply", to=request, channel=Channel.SHELL)
    await told()
    assert ["idle", "reply ok"] == client.words
    assert client.link.session_id.startswith("id-")


async def test_a_reply_that_nobody_asked_for_goes_to_nobody() -> None:
    office = Office()
    client = office.client()
    office.replies(Header(msg_id=MsgId("x"), msg_type="execute_request", session="s"))
    office.says("execute_reply", channel=Channel.SHELL)
    await told()
    assert ["idle"] == client.words


async def test_a_kernel_without_clients_is_not_listened_to() -> None:
    office = Office()
    office.prints("to nobody")
    client = office.client()
    await told()
    assert ["idle"] == client.words
    assert "<Relay 1 of 1 sessions connected>" == repr(office.relay)


async def test_what_strict_json_has_not_is_replaced_and_what_cannot_be_read_is_left_out() -> None:
    office = Office()
    client = office.client()
    header = b'{"msg_type":"stream","msg_id":"x","session":"k"}'
    for content in (b'{"name":"stdout","text":NaN}', b'{"broken": NaN'):
        parts = (header, b"{}", b"{}", content)
        office.relay.hear(RawMessage.read(Channel.IOPUB, parts, ()))
    await told()
    assert ["idle", "stdout None"] == client.words


async def test_all_that_one_drain_brings_is_told_at_once_and_nothing_when_there_is_none() -> None:
    office = Office()
    client = office.client()
    await told()
    assert 1 == client.news
    for n in range(10):
        office.prints(str(n))
    await told()
    await told()
    assert 2 == client.news
    assert 11 == len(client.words)


async def test_who_has_not_taken_is_told_again_with_what_is_new() -> None:
    office = Office()
    lazy, eager = office.client("lazy", eager=False), office.client("eager")
    for n in range(3):
        office.prints(str(n))
        await told()
    assert (3, 3) == (lazy.news, eager.news)
    lazy.take_all()
    assert lazy.words == eager.words


async def test_a_message_for_one_is_told_to_no_other() -> None:
    office = Office()
    ada, bob = office.client("ada"), office.client("bob")
    request = ada.cell("x")
    office.replies(request)
    await told()
    assert ["idle"] == bob.words
    assert ["idle", "reply ok"] == ada.words


# -- asking ---------------------------------------------------------------------------------------


async def test_what_a_client_sends_over_iopub_reaches_nobody() -> None:
    office = Office()
    client = office.client()
    client.send("stream", {"name": "stdout", "text": "x"}, channel=Channel.IOPUB)
    await told()
    assert ([], ["idle"]) == (office.desk.requests, client.words)


async def test_a_request_goes_to_the_desk_as_it_came() -> None:
    office = Office()
    client = office.client()
    for channel in (Channel.SHELL, Channel.CONTROL):
        header = client.send("what_is_not_known", channel=channel, subshell_id="sub")
        assert header == office.desk.requests[-1]


async def test_a_header_that_cannot_be_read_is_told_to_its_sender() -> None:
    client = Office().client()
    message = RawMessage.read(
        Channel.SHELL, (b'{"msg_type":"x","msg_id":1}', b"{}", b"{}", b"{}"), ()
    )
    with pytest.raises(MalformedMessage):
        client.link.pass_on(message)


async def test_who_fills_the_kernels_line_has_to_go_and_whoever_asks_something_else_may_stay() -> (
    None
):
    office = Office()
    ada, bob = office.client("ada"), office.client("bob")
    office.desk.is_full = True
    bob.send("kernel_info_request")
    cell = ada.cell("one too many")
    assert ([Parting.TOO_MUCH], []) == (ada.parted, bob.parted)
    assert cell in office.desk.requests
    office.replies(cell)
    again = office.client("ada")  # its place is kept
    await told()
    assert "reply ok" in again.words


async def test_who_asks_first_is_forgotten_when_very_many_have_asked_but_not_before_the_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "ASKED", 3)
    office = Office()
    client = office.client()
    long = client.cell("sleep")
    for _ in range(5):  # beside it, in a subshell
        request = client.send("complete_request")
        office.says("complete_reply", to=request, channel=Channel.SHELL)
    office.replies(long)
    await told()
    assert ["reply ok"] == client.of(long)
    unanswered = [client.send("comm_info_request") for _ in range(4)]
    for request in unanswered:
        office.says("comm_info_reply", to=request, channel=Channel.SHELL)
    await told()
    assert [0, 1, 1, 1] == [len(client.of(request)) for request in unanswered]


async def test_comm_messages_need_no_answer_and_take_no_place() -> None:
    office = Office()
    client = office.client()
    for msg_type in ("comm_open", "comm_msg", "comm_close"):
        header = client.send(msg_type)
        office.says("whatever", to=header, channel=Channel.SHELL)
    await told()
    assert 3 == len(office.desk.requests)
    assert ["idle"] == client.words


# -- prompts --------------------------------------------------------------------------------------


async def test_a_prompt_is_answered_by_who_was_prompted_and_once() -> None:
    office = Office()
    ada, bob = office.client("ada"), office.client("bob")
    cell = ada.cell("input")
    prompt = office.prompts(cell)
    bob.answer("not his", prompt)
    ada.answer("hers", prompt)
    ada.answer("once more", prompt)
    assert [(("ada", cell.msg_id), "hers")] == office.desk.inputs


@pytest.mark.parametrize("names", ["nothing", "the prompt", "the request"])
async def test_a_client_says_which_prompt_it_answers_in_one_of_three_ways(names: str) -> None:
    office = Office()
    client = office.client()
    cell = client.cell("input")
    prompt = office.prompts(cell)
    client.answer("x", {"nothing": None, "the prompt": prompt, "the request": cell}[names])
    assert [(("s", cell.msg_id), "x")] == office.desk.inputs


async def test_an_answer_to_an_earlier_prompt_is_none_to_a_later_one() -> None:
    office = Office()
    client = office.client()
    cell = client.cell("input\ninput")
    first = office.prompts(cell)
    second = office.prompts(cell)  # somebody else has answered the first
    client.answer("late", first)
    assert [] == office.desk.inputs
    client.answer("in time", second)
    assert [(("s", cell.msg_id), "in time")] == office.desk.inputs


async def test_of_two_open_prompts_one_must_be_named() -> None:
    office = Office()
    client = office.client()
    cells = client.cell("input"), client.cell("input", subshell_id="x")
    prompts = [office.prompts(cell) for cell in cells]
    client.answer("whose", None)
    assert [] == office.desk.inputs
    client.answer("b", prompts[1])
    client.answer("a", None)  # it is the only one that is left
    assert [("b"), ("a")] == [value for _, value in office.desk.inputs]


@pytest.mark.parametrize("value", [None, 5, ["x"]])
async def test_an_answer_that_is_no_text_is_none(value: Json) -> None:
    office = Office()
    client = office.client()
    prompt = office.prompts(client.cell("input"))
    client.answer(value, prompt)
    client.send("what", {"value": "x"}, channel=Channel.STDIN, parent=prompt)
    assert [] == office.desk.inputs
    client.answer("x", prompt)
    assert 1 == len(office.desk.inputs)


async def test_a_prompt_is_over_with_its_request() -> None:
    office = Office()
    client = office.client()
    cell = client.cell("input")
    prompt = office.prompts(cell)
    office.replies(cell)
    client.answer("late", prompt)
    client.answer("late", None)
    assert [] == office.desk.inputs


async def test_a_prompt_waits_for_its_client_to_come_back() -> None:
    office = Office()
    client = office.client()
    cell = client.cell("input")
    client.link.detach()
    prompt = office.prompts(cell)
    again = office.client()
    await told()
    assert ["idle", "input_request"] == again.words
    again.answer("here", prompt)
    assert 1 == len(office.desk.inputs)


# -- coming back ----------------------------------------------------------------------------------


async def test_who_comes_back_is_told_all_behind_what_was_acknowledged() -> None:
    office = Office()
    client = office.client()
    office.prints("1")
    await told()
    client.acknowledge()
    office.prints("2")
    await told()
    client.link.detach()
    office.prints("3")
    again = office.client()
    office.prints("4")
    await told()
    assert ["idle", "stdout 1", "stdout 2"] == client.words
    assert ["stdout 2", "stdout 3", "stdout 4"] == again.words


async def test_who_comes_back_is_told_it_beside_others_who_stayed() -> None:
    office = Office()
    stays, goes = office.client("stays"), office.client("goes")
    await told()
    goes.acknowledge()
    stays.acknowledge()
    cell = goes.cell("x")
    goes.link.detach()
    office.prints("1")
    office.replies(cell)
    await told()
    stays.acknowledge()
    assert ["idle", "stdout 1"] == stays.words
    again = office.client("goes")
    await told()
    assert ["stdout 1", "reply ok"] == again.words
    assert ["idle", "stdout 1"] == stays.words


async def test_an_acknowledgement_of_what_was_not_taken_or_long_ago_changes_nothing() -> None:
    office = Office()
    client = office.client()
    office.prints("1")
    await told()
    client.link.acknowledge(10**9)
    client.acknowledge()
    client.link.acknowledge(0)
    office.prints("2")
    client.link.detach()
    again = office.client()
    await told()
    assert ["stdout 2"] == again.words


async def test_a_second_connection_of_a_session_takes_over_and_the_first_is_parted() -> None:
    office = Office()
    first = office.client()
    office.prints("1")  # it is due when the first is parted, and told
    second = office.client()
    assert ["idle", "stdout 1"] == first.words
    assert [Parting.REPLACED] == first.parted
    await told()
    assert ["idle", "stdout 1"] == second.words
    assert (1, []) == (office.relay.connections, second.parted)


async def test_a_link_that_is_over_does_nothing() -> None:
    office = Office()
    first = office.client()
    await told()
    first.acknowledge()
    second = office.client(eager=False)
    office.prints("x")
    await told()
    assert () == tuple(first.take())
    assert (1, 2) == (first.taken, first.news)
    first.link.acknowledge(10)
    first.send("inspect_request")
    first.link.detach()
    first.link.detach()
    assert ([], 1) == (office.desk.requests, office.relay.connections)
    second.take_all()
    assert ["stdout x"] == second.words


async def test_a_place_is_kept_for_a_while() -> None:
    office = Office(absence_s=60.0)
    client = office.client()
    cell = client.cell("x")
    client.link.detach()
    office.clock.advance(59.0)
    back = office.client(state=KernelState.BUSY)
    await told()
    assert ["idle"] == back.words  # the state of then, for it was never acknowledged
    back.link.detach()
    office.clock.advance(59.0)
    office.prints("kept")
    office.clock.advance(1.0)
    assert "<Relay 0 of 0 sessions connected>" == repr(office.relay)
    new = office.client(state=KernelState.BUSY)
    office.replies(cell)  # whoever had asked is nobody any more
    await told()
    assert ["busy"] == new.words


async def test_of_those_who_have_gone_the_last_ones_are_kept() -> None:
    office = Office(absent_clients=2)
    clients = {name: office.client(name) for name in "abcd"}
    await told()
    for name in "dbca":  # as they leave, not as they came
        clients[name].acknowledge()
        clients[name].link.detach()
    office.prints("x")
    back = {name: office.client(name, KernelState.BUSY) for name in "abcd"}
    await told()
    assert {"a": ["stdout x"], "b": ["busy"], "c": ["stdout x"], "d": ["busy"]} == {
        name: client.words for name, client in back.items()
    }


async def test_who_leaves_was_there_until_then() -> None:
    office = Office()
    client = office.client()
    assert 0 == office.desk.touched
    client.link.detach()
    client.link.detach()
    assert 1 == office.desk.touched


async def test_no_place_is_kept_where_none_is_to_be() -> None:
    office = Office(absent_clients=0)
    client = office.client()
    client.link.detach()
    client.link.detach()
    assert "<Relay 0 of 0 sessions connected>" == repr(office.relay)


async def test_there_is_an_end_of_clients_but_not_for_those_who_are_there() -> None:
    office = Office(max_clients=2)
    ada, _ = office.client("ada"), office.client("bob")
    with pytest.raises(TooManyClients, match="2 clients"):
        office.client("carl")
    office.client("ada")
    assert [Parting.REPLACED] == ada.parted
    assert 2 == office.relay.connections


# -- too slow -------------------------------------------------------------------------------------


def text_of(client: Client) -> str:
    texts = [message.content for message in client.told if message.msg_type == "stream"]
    return "".join(str(text["text"]) for text in texts if text["name"] == "stdout")


def notices(client: Client) -> list[str]:
    told = [message for message in client.told if message.msg_type == "stream"]
    return [str(message.content["text"]) for message in told if message.content["name"] == "stderr"]


async def test_what_was_dropped_is_told_with_its_count_where_it_is_missing() -> None:
    office = Office(spool_bytes=50_000)
    client = office.client(eager=False)
    cell = client.cell("x")
    office.desk.uids[cell.msg_id] = "the-uid"
    sent = 0
    for n in range(300):
        # displays, as they cannot be joined
        data: dict[str, Json] = {"data": {"text/plain": f"{n:04}" * 10}, "metadata": {}}
        sent += office.says("display_data", data, to=cell).bytes
    office.replies(cell)
    client.take_all()
    displays = [message for message in client.told if message.msg_type == "display_data"]
    lost = 300 - len(displays)
    lost_bytes = sent - sum(message.bytes for message in displays)
    assert 200 < lost < 300
    (notice,) = notices(client)
    assert (
        f"[kernel-gateway: {lost} messages ({lost_bytes} bytes) of output were dropped here, "
        "because this client was away or too slow. The log of the run the-uid has all of it.]\n"
    ) == notice
    (told_of,) = [message for message in client.told if message.msg_type == "stream"]
    assert cell == told_of.parent
    assert ["reply ok"] == [word for word in client.of(cell) if word.startswith("reply")]
    assert client.words.index("idle") < client.words.index("reply ok")


async def test_each_request_that_lost_something_has_a_notice_and_one_without_a_run_names_none() -> (
    None
):
    office = Office(spool_bytes=20_000)
    client = office.client(eager=False)
    cells = [client.cell("x"), client.cell("y")]
    for _ in range(50):
        for cell in cells:
            office.says("display_data", {"data": {"text/plain": "x"}}, to=cell)
        office.says("display_data", {"data": {"text/plain": "x"}})  # of nobody
    client.take_all()
    said = [message for message in client.told if message.msg_type == "stream"]
    assert [*cells, None] == [message.parent for message in said]
    assert all("GET" not in notice for notice in notices(client))
    counts = [int(notice.split()[1]) for notice in notices(client)]
    displays = sum(message.msg_type == "display_data" for message in client.told)
    assert 150 == displays + sum(counts)


async def test_texts_are_joined_before_any_is_dropped() -> None:
    office = Office(spool_bytes=100_000)
    client = office.client(eager=False)
    cell = client.cell("x")
    for n in range(2000):
        office.prints(f"{n}\n", cell)
    client.take_all()
    assert "".join(f"{n}\n" for n in range(2000)) == text_of(client)
    assert [] == notices(client)
    assert len(client.told) < 500


async def test_who_was_away_is_told_of_what_was_dropped_and_who_was_there_is_not() -> None:
    office = Office(spool_bytes=20_000)
    away, there = office.client("away"), office.client("there")
    await told()
    away.link.detach()
    for _ in range(100):
        office.says("display_data", {"data": {"text/plain": "x"}})
        await told()
        there.acknowledge()
    assert (101, []) == (len(there.told), notices(there))
    back = office.client("away")
    await told()
    displays = sum(message.msg_type == "display_data" for message in back.told)
    (notice,) = notices(back)
    assert f" {100 - displays} messages " in notice


async def test_status_replies_errors_and_prompts_are_never_dropped() -> None:
    office = Office(spool_bytes=20_000)
    client = office.client(eager=False)
    cells = [client.cell("x") for _ in range(100)]
    for cell in cells:
        office.says("status", {"execution_state": "busy"}, to=cell)
        office.prompts(cell)
        office.says("error", {"ename": "E", "evalue": "", "traceback": []}, to=cell)
        office.replies(cell)
        office.says("status", {"execution_state": "idle"}, to=cell)
    client.take_all()
    for cell in cells:
        assert ["busy", "input_request", "error", "reply ok", "idle"] == client.of(cell)


async def test_who_never_reads_what_may_not_be_dropped_has_to_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spool, "KEPT_BYTES", 70_000)
    office = Office(spool_bytes=20_000)
    slow, other = office.client("slow", eager=False), office.client("other")
    for _ in range(200):
        office.says("status", {"execution_state": "busy"})
        await told()
        other.acknowledge()
    assert ([Parting.TOO_SLOW], []) == (slow.parted, other.parted)
    assert "<Relay 1 of 1 sessions connected>" == repr(office.relay)
    new = office.client("slow", KernelState.BUSY)
    await told()
    assert ["busy"] == new.words


# -- from us --------------------------------------------------------------------------------------


@pytest.mark.parametrize("most_bytes", [1, 2**20])
async def test_lab_is_told_once_to_connect_anew(most_bytes: int) -> None:
    office = Office()
    lab = office.client("lab", behind_lab=True)
    office.relay.tell_state(KernelState.AUTORESTARTING)
    await told()
    assert ["idle", "autorestarting", "restarting"] == lab.words
    office.prints("more")
    lab.link.detach()
    again = office.client("lab", KernelState.STARTING, behind_lab=True, eager=False)
    while again.take(most_bytes):
        pass
    assert ["idle", "autorestarting", "stdout more"] == again.words
    office.relay.tell_state(KernelState.AUTORESTARTING)
    again.link.detach()
    last = office.client("lab", KernelState.STARTING, behind_lab=True)
    await told()
    assert "restarting" == last.words[-1], "it has not been told of this one yet"


async def test_a_state_is_told_to_all_in_the_words_that_they_understand() -> None:
    office = Office()
    lab, other = office.client("lab", behind_lab=True), office.client("other")
    absent = office.client("absent")
    absent.link.detach()
    for state in (KernelState.RESTARTING, KernelState.AUTORESTARTING, KernelState.DEAD):
        office.relay.tell_state(state)
    await told()
    assert ["idle", "starting", "autorestarting", "restarting", "dead"] == lab.words
    assert ["idle", "restarting", "autorestarting", "restarting", "dead"] == other.words
    absent = office.client("absent", KernelState.DEAD)
    await told()
    assert other.words == absent.words


def died(*, evalue: str = "killed") -> dict[str, Json]:
    return {"status": "error", "ename": "KernelDied", "evalue": evalue, "traceback": [evalue]}


async def test_what_a_kernel_cannot_answer_any_more_is_answered_to_who_asked() -> None:
    office = Office()
    ada, bob = office.client("ada"), office.client("bob")
    cell = ada.cell("die")
    prompt = office.prompts(cell)
    request = next(iter([RawMessage.of(Message(channel=Channel.SHELL, header=cell))]))
    office.relay.end_request(request, died(), shown=True)
    await told()
    assert ["input_request", "error", "reply error", "idle"] == ada.of(cell)
    assert ["error", "idle"] == bob.of(cell)
    reply = next(message for message in ada.told if message.msg_type == "execute_reply")
    assert (Channel.SHELL, died()) == (reply.channel, reply.content)
    ada.answer("too late", prompt)
    assert [] == office.desk.inputs


async def test_what_was_ended_by_somebody_who_wanted_it_is_no_error_to_show() -> None:
    office = Office()
    ada, bob = office.client("ada"), office.client("bob")
    cell = ada.cell("x")
    request = RawMessage.of(Message(channel=Channel.SHELL, header=cell))
    office.relay.end_request(request, {"status": "aborted"}, shown=False)
    await told()
    assert (["reply aborted", "idle"], ["idle"]) == (ada.of(cell), bob.of(cell))


async def test_what_was_answered_is_not_answered_once_more() -> None:
    office = Office()
    client = office.client()
    cell = client.cell("x")
    office.replies(cell)
    request = RawMessage.of(Message(channel=Channel.SHELL, header=cell))
    office.relay.end_request(request, {"status": "aborted"}, shown=False)
    await told()
    assert ["reply ok", "idle"] == client.of(cell)


async def test_what_nobody_knows_to_have_asked_is_ended_for_all_to_see() -> None:
    office = Office()
    client = office.client()
    header = Header(msg_id=MsgId("x"), msg_type="execute_request", session="gone")
    request = RawMessage.of(Message(channel=Channel.SHELL, header=header))
    office.relay.end_request(request, {"status": "aborted"}, shown=False)
    await told()
    assert ["idle"] == client.of(header)


async def test_when_the_kernel_is_gone_for_good_each_is_told_the_last_and_parted() -> None:
    office = Office()
    client, absent = office.client("there"), office.client("absent")
    absent.link.detach()
    office.relay.tell_state(KernelState.DEAD)
    office.relay.close(Parting.DELETED)
    assert (["idle", "dead"], [Parting.DELETED]) == (client.words, client.parted)
    assert [] == absent.parted
    assert "<Relay 0 of 0 sessions connected>" == repr(office.relay)
    await told()
    assert ["idle", "dead"] == client.words


# -- in any order ---------------------------------------------------------------------------------

MOVES = st.sampled_from(["print", "reply", "take", "acknowledge", "leave", "come", "turn"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(MOVES, st.integers(0, 1)), max_size=60))
def test_who_comes_and_goes_hears_all_of_it_in_order_and_nothing_of_others(
    moves: list[tuple[str, int]],
) -> None:
    asyncio.run(_come_and_go(moves))


async def _come_and_go(moves: list[tuple[str, int]]) -> None:
    office = Office()
    names = ("ada", "bob")
    clients: list[Client | None] = [office.client(name, eager=False) for name in names]
    heard: list[list[RawMessage]] = [[], []]
    expected: list[list[str]] = [["idle"], ["idle"]]
    numbers = itertools.count()
    asked: list[Header] = []
    for one in clients:
        assert one is not None
        asked.append(one.cell("x", "same"))

    def leave(which: int) -> None:
        client, clients[which] = clients[which], None
        if client is not None:
            heard[which] += client.told
            client.link.detach()

    for move, which in moves:
        client = clients[which]
        if move == "print":
            text = str(next(numbers))
            office.says("display_data", {"data": {"text/plain": text}})
            for list_ in expected:
                list_.append(text)
        elif move == "reply":
            text = str(next(numbers))
            office.says("execute_reply", {"status": text}, to=asked[which], channel=Channel.SHELL)
            expected[which].append(text)
        elif move == "leave":
            leave(which)
        elif move == "come":
            clients[which] = clients[which] or office.client(names[which], eager=False)
        elif move == "turn":
            await told()
        elif client is not None:
            client.take(200) if move == "take" else client.acknowledge()
    for which in (0, 1):
        leave(which)
        last = office.client(names[which], eager=False)
        last.take_all()
        heard[which] += last.told
        assert expected[which] == _first_time(heard[which])


def _first_time(messages: list[RawMessage]) -> list[str]:
    """What they say, each message once."""
    said = {message.msg_id: _said(message) for message in messages}
    return list(said.values())


def _said(message: RawMessage) -> str:
    content = message.content
    data = content.get("data")
    if isinstance(data, dict):
        return str(data["text/plain"])
    return str(content.get("execution_state") or content.get("status"))


async def test_who_is_away_and_cannot_be_helped_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spool, "KEPT_BYTES", 70_000)
    office = Office(spool_bytes=20_000)
    office.client("away").leave()
    other = office.client("other")
    for _ in range(200):
        office.says("status", {"execution_state": "busy"})
        await told()
        other.acknowledge()
    assert "<Relay 1 of 1 sessions connected>" == repr(office.relay)


async def test_a_client_that_was_given_no_id_to_come_back_with_leaves_no_place() -> None:
    office = Office()
    office.client(None).leave()
    assert "<Relay 0 of 0 sessions connected>" == repr(office.relay)
