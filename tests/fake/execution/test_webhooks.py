"""Deliveries to the receivers of runs: order, pace, failures, and what outlives the gateway."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import tempfile
import weakref
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_gateway.errors import InvalidField, StoreUnavailable
from kernel_gateway.execution.live import Identity, LiveRun
from kernel_gateway.execution.recovery import lost_run
from kernel_gateway.execution.webhooks import BYTES, KEPT, RECORDS, Webhooks
from kernel_gateway.messaging.message import MsgId
from kernel_gateway.runs import records
from kernel_gateway.runs.log import Log, LogLimits
from kernel_gateway.runs.plan import Mode, RunPlan, StepPlan
from kernel_gateway.runs.records import Body, Reason, body_json
from kernel_gateway.runs.run import Run
from kernel_gateway.service import RunId, RunUid, Webhook, WebhookEvent
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.store.store import Store
from kernel_gateway.store.values import DeleteRun
from kernel_gateway.webhooks.http import HttpSender
from kernel_gateway.webhooks.message import signature
from kernel_gateway.webhooks.sender import Answer, SendFailed
from kernel_gateway.webhooks.settings import WebhookSettings
from tests.fake.execution.conftest import HANG_LIMIT_S, ME, ManualClock
from tests.shared.receiver import Receiver, never, receiving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.records import Record
    from kernel_gateway.service import RunInfo
    from kernel_gateway.webhooks.sender import Sender

pytestmark = pytest.mark.usefixtures("no_blocking_call")

SETTINGS = WebhookSettings(allowed_hosts=("127.0.0.1",))
ALL = tuple(WebhookEvent)
DONE = Reason(code="done")


def render(info: RunInfo, record: Record) -> dict[str, Json]:
    """The shape is that of the doors; here it is enough to know the record again."""
    more: dict[str, Json] = {}
    if isinstance(record.body, records.Completed):
        assert info.webhook is not None
        more = {"run": {"id": info.id, "deliveries": len(info.webhook.deliveries)}}
    return {"seq": record.seq, "kind": record.body.kind, **body_json(record.body), **more}


class Told(LiveRun):
    """A run that a test tells what happens to it."""

    def say(self, text: str, stream: str = "stdout") -> None:
        self.append(records.LogText(stream=stream, text=text), 0, self._clock.now())

    def enters(self, state: str) -> None:
        self.append(records.StateChanged(state=state), None, self._clock.now())

    def error(self, name: str = "E") -> None:
        body = records.ErrorRaised(ename=name, evalue="", traceback=())
        self.append(body, 0, self._clock.now())

    def happens(self, body: Body) -> None:
        self.append(body, None, self._clock.now())

    def ends(self, outcome: str = "ok") -> None:
        self.append(records.StateChanged(state="finished"), None, self._clock.now())
        self.append(records.Completed(outcome=outcome, reason=DONE), None, self._clock.now())

    async def until_told(self, seq: int) -> None:
        async with asyncio.timeout(HANG_LIMIT_S):
            while self.told < seq:
                self.hurry()
                await asyncio.sleep(0)


@dataclass
class Desk:
    """Webhooks with a real store and a clock that stands still."""

    store: Store
    sender: Sender
    settings: WebhookSettings = SETTINGS
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        ids = itertools.count(1)
        self.webhooks = Webhooks(
            self.store, self.sender, self.settings, self.clock, lambda: f"d{next(ids)}", render
        )

    def run(
        self,
        url: str,
        events: Iterable[WebhookEvent] = ALL,
        *,
        name: str = "r",
        secret: str | None = None,
    ) -> Told:
        plan = RunPlan(mode=Mode.QUERY, steps=(StepPlan(code="1"),))
        identity = Identity(
            uid=RunUid(f"uid-{name}"),
            run_id=RunId(name),
            owner=ME,
            session="k",
            kernel_id="k",
            kernel_name="python3",
            digest="",
            plan=plan,
            webhook=Webhook(url=url, events=tuple(events), secret=secret),
        )
        now = self.clock.now()
        machine = Run(identity.uid, plan, now, lambda: MsgId("m"))
        run = Told(
            identity,
            machine,
            Log(LogLimits()),
            self.store,
            self.clock,
            tail_chars=2**21,
            retention_s=60.0,
        )
        run.enters("queued")
        self.webhooks.watch(run)
        return run

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(HANG_LIMIT_S):
            while not happened():
                await asyncio.sleep(0)

    async def until_tried(self, run: Told, attempt: int) -> None:
        """So often in vain, the present delivery; and the pause behind it has begun."""
        await self.until(
            lambda: (
                (all_ := self.webhooks.deliveries(run))
                and (attempt, False) == (all_[-1].attempt, all_[-1].status == 200)
            )
        )

    async def until_delivered(self, run: Told) -> None:
        """What was told of it by now."""
        await self.until(
            lambda: (all_ := self.webhooks.deliveries(run)) and run.told == all_[-1].last
        )

    async def idle(self) -> None:
        """Nothing is left to be delivered."""
        await self.until(lambda: not self.webhooks._couriers)

    async def close(self, limit_s: float = HANG_LIMIT_S) -> None:
        await self.webhooks.close(limit_s)


@asynccontextmanager
async def a_desk(store: Store, sender: Sender, **options: Any) -> AsyncIterator[Desk]:
    desk = Desk(store, sender, **options)
    try:
        yield desk
    finally:
        await desk.close(0.0)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    sender = await asyncio.to_thread(HttpSender, SETTINGS)
    yield sender
    sender.close()


@pytest.fixture
async def desk(store: Store, sender: HttpSender) -> AsyncIterator[Desk]:
    async with a_desk(store, sender) as desk:
        yield desk


def kinds(receiver: Receiver) -> list[list[str]]:
    return [[record["kind"] for record in post.records] for post in receiver.posts]


def seqs(receiver: Receiver) -> list[int]:
    return [one["seq"] for post in receiver.posts for one in post.records if "seq" in one]


def text(receiver: Receiver) -> str:
    return "".join(one.get("text", "") for post in receiver.posts for one in post.records)


# -- what is delivered ----------------------------------------------------------------------------


async def test_records_are_delivered_in_order_as_they_are_told(
    desk: Desk, receiver: Receiver
) -> None:
    run = desk.run(receiver.url)
    run.enters("running")
    await receiver.until_posts(1)
    run.error("First")
    await receiver.until_posts(2)
    run.say("printed")
    run.error("Second")
    await receiver.until_posts(3)
    run.ends()
    await desk.idle()
    assert [["state", "state"], ["error"], ["log", "error"], ["completed"]] == kinds(receiver)
    assert [1, 2, 3, 4, 5, 7] == seqs(receiver)  # 6 is the state `finished`


async def test_a_body_names_run_and_delivery(desk: Desk, receiver: Receiver) -> None:
    receiver.reacts(503)
    run = desk.run(receiver.url, [WebhookEvent.COMPLETED], name="mine")
    run.ends()
    await desk.until_tried(run, 1)
    desk.clock.advance(0.5)
    await desk.idle()
    first, second = receiver.posts
    body = {**second.json, "records": [{**second.records[0], "reason": None}]}
    expected = {
        "run_id": "mine",
        "uid": "uid-mine",
        "delivery": "d1",
        "attempt": 2,
        "records": [
            {
                "seq": 3,
                "kind": "completed",
                "outcome": "ok",
                "reason": None,
                "run": {"id": "mine", "deliveries": 1},
            }
        ],
    }
    assert expected == body
    assert ("d1", 1) == (first.json["delivery"], first.json["attempt"])
    assert ("d1", "2") == (
        second.headers["kernel-gateway-delivery"],
        second.headers["kernel-gateway-attempt"],
    )


async def test_the_very_bytes_are_signed(desk: Desk, receiver: Receiver) -> None:
    desk.run(receiver.url, secret="hush").ends()
    await desk.idle()
    assert receiver.posts
    for post in receiver.posts:
        assert signature("hush", post.body) == post.headers["kernel-gateway-signature"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (WebhookEvent.START, {"state"}),
        (WebhookEvent.OUTPUT, {"error"}),
        (WebhookEvent.LOGS, {"log"}),
        (WebhookEvent.INPUT, {"input_request"}),
        (WebhookEvent.COMPLETED, {"completed"}),
    ],
)
async def test_only_what_was_asked_for_is_delivered(
    desk: Desk, receiver: Receiver, event: WebhookEvent, expected: set[str]
) -> None:
    run = desk.run(receiver.url, [event])
    run.say("printed")
    run.error()
    run.happens(records.InputAsked(prompt_id=1, prompt="?", password=False))
    run.ends()
    await desk.idle()
    assert expected == {kind for post in kinds(receiver) for kind in post}


async def test_a_run_of_which_nothing_is_wanted_calls_nobody(
    desk: Desk, receiver: Receiver, store: Store
) -> None:
    desk.run(receiver.url, [WebhookEvent.OUTPUT]).ends()
    await desk.idle()
    assert [] == receiver.posts
    assert [] == await store.pending_webhooks()


@pytest.mark.parametrize("outcome", ["ok", "error", "cancelled", "timeout", "lost"])
async def test_the_end_is_delivered_once_for_every_outcome(
    desk: Desk, receiver: Receiver, outcome: str
) -> None:
    run = desk.run(receiver.url)
    run.say("printed")
    run.ends(outcome)
    await desk.idle()
    (last,) = receiver.posts[-1].records
    assert ("completed", outcome) == (last["kind"], last["outcome"])
    assert 1 == sum(post.count("completed") for post in kinds(receiver))


async def test_what_is_printed_after_the_end_is_not_delivered(
    desk: Desk, receiver: Receiver
) -> None:
    run = desk.run(receiver.url)
    run.ends()
    run.happens(records.LogText(stream="stdout", text="late", late=True))
    await desk.idle()
    assert "" == text(receiver)
    assert ["completed"] == kinds(receiver)[-1]


# -- pace -----------------------------------------------------------------------------------------


async def test_text_is_delivered_at_most_so_often(desk: Desk, receiver: Receiver) -> None:
    run = desk.run(receiver.url, [WebhookEvent.LOGS])
    run.say("a\n")
    await receiver.until_posts(1)
    run.say("b\n")
    await run.until_told(3)
    run.say("c\n", "stderr")
    await run.until_told(4)
    desk.clock.advance(0.49)
    assert 1 == len(receiver.posts)
    desk.clock.advance(0.01)
    await receiver.until_posts(2)
    assert "a\nb\nc\n" == text(receiver)
    assert [["log"], ["log", "log"]] == kinds(receiver)


async def test_the_end_does_not_wait_for_the_pace_of_text(desk: Desk, receiver: Receiver) -> None:
    run = desk.run(receiver.url, [WebhookEvent.LOGS, WebhookEvent.COMPLETED])
    run.say("a\n")
    await receiver.until_posts(1)
    run.say("b\n")
    run.ends()
    await desk.idle()
    assert [["log"], ["log"], ["completed"]] == kinds(receiver)


async def test_one_delivery_has_a_bounded_number_of_records(desk: Desk, receiver: Receiver) -> None:
    release = asyncio.Event()

    async def when_released(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    receiver.reacts(when_released)
    run = desk.run(receiver.url)
    await receiver.until_posts(1)
    for _ in range(RECORDS + 1):
        run.error()
    await run.until_told(RECORDS + 2)
    release.set()
    run.ends()
    await desk.idle()
    assert [1, RECORDS, 1, 1] == [len(post.records) for post in receiver.posts]
    assert sorted(set(seqs(receiver))) == seqs(receiver)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([BYTES // 2, BYTES // 2, 1], [[2], [3, 4]]), ([BYTES + 1, 1], [[2], [3]])],
)
async def test_one_delivery_has_a_bounded_size_and_at_least_one_record(
    desk: Desk, receiver: Receiver, sizes: list[int], expected: list[list[int]]
) -> None:
    run = desk.run(receiver.url, [WebhookEvent.OUTPUT])
    for size in sizes:
        data: dict[str, Json] = {"text/plain": "x" * size}
        run.happens(records.Output(index=0, output_type="display_data", data=data, metadata={}))
    await receiver.until_posts(2)
    run.ends()
    await desk.idle()
    assert expected == [[one["seq"] for one in post.records] for post in receiver.posts]


async def test_one_run_has_one_delivery_at_a_time(desk: Desk, receiver: Receiver) -> None:
    run = desk.run(receiver.url)
    for _ in range(20):
        run.error()
        await run.until_told(run.told + 1)
    run.ends()
    await desk.idle()
    assert 1 == receiver.most_at_once


async def test_a_receiver_that_never_answers_holds_up_nobody_else(
    desk: Desk, receiver: Receiver
) -> None:
    async with receiving() as deaf:
        deaf.reacts(then=never)
        held = [desk.run(deaf.url, name=f"held{number}") for number in range(20)]
        await deaf.until_posts(20)
        run = desk.run(receiver.url, name="other")
        run.ends()
        await receiver.until(lambda: ["completed"] in kinds(receiver))
        assert all(() == desk.webhooks.deliveries(one) for one in held)
        await desk.close(0.0)


async def test_what_else_waits_to_be_stored_with_the_next_record_comes_at_once(
    desk: Desk, receiver: Receiver
) -> None:
    run = desk.run(receiver.url, [WebhookEvent.START])
    await receiver.until_posts(1)
    run.enters("running")
    await receiver.until_posts(2)
    assert [1, 2] == seqs(receiver)


async def test_a_webhook_that_is_not_told_of_it_makes_nothing_be_stored_sooner(
    desk: Desk, receiver: Receiver, store: Store
) -> None:
    run = desk.run(receiver.url, [WebhookEvent.LOGS, WebhookEvent.COMPLETED])
    other = desk.run(receiver.url, name="other")
    await other.until_told(1)
    assert (0, 1) == (run.told, run.log.pending)
    run.ends()
    other.ends()
    await desk.idle()
    assert [] == await store.pending_webhooks()


# -- failures -------------------------------------------------------------------------------------


async def test_a_receiver_that_fails_is_called_again_after_growing_pauses(
    desk: Desk, receiver: Receiver
) -> None:
    receiver.reacts(500, b"", 429)
    run = desk.run(receiver.url, [WebhookEvent.COMPLETED])
    run.ends()
    for attempt, pause_s in enumerate((0.5, 1.0, 2.0), 1):
        await desk.until_tried(run, attempt)
        desk.clock.advance(pause_s - 0.01)
        await asyncio.sleep(0)
        assert attempt == len(receiver.posts)
        desk.clock.advance(0.01)
    await desk.idle()
    assert 4 == len(receiver.posts)
    (delivery,) = desk.webhooks.deliveries(run)
    assert (4, 200, "") == (delivery.attempt, delivery.status, delivery.error)


async def test_a_receiver_says_how_long_the_pause_is(desk: Desk, receiver: Receiver) -> None:
    receiver.reacts(b"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\n\r\n")
    run = desk.run(receiver.url, [WebhookEvent.COMPLETED])
    run.ends()
    await desk.until_tried(run, 1)
    desk.clock.advance(29.9)
    await asyncio.sleep(0)
    assert 1 == len(receiver.posts)
    desk.clock.advance(0.1)
    await receiver.until_posts(2)


async def test_a_receiver_that_fails_every_second_time_misses_and_repeats_nothing(
    desk: Desk, receiver: Receiver
) -> None:
    receiver.reacts_by(itertools.cycle((200, 500)))
    run = desk.run(receiver.url)
    for number in range(10):
        run.error(f"E{number}")
        await run.until_told(run.told + 1)
    run.ends()
    while desk.webhooks._couriers:
        desk.clock.advance(60.0)
        await asyncio.sleep(0)
    taken = [one["seq"] for post in receiver.posts[::2] for one in post.records]
    assert [*range(1, 12), 13] == taken


async def test_a_try_brings_what_the_one_before_it_brought(desk: Desk, receiver: Receiver) -> None:
    receiver.reacts(500)
    run = desk.run(receiver.url)
    await desk.until_tried(run, 1)
    run.error("meanwhile")
    await run.until_told(2)
    desk.clock.advance(0.5)
    await receiver.until_posts(3)
    assert [["state"], ["state"], ["error"]] == kinds(receiver)


async def test_what_lies_behind_much_that_is_not_wanted_is_found_again_for_another_try(
    desk: Desk, receiver: Receiver
) -> None:
    receiver.reacts(500)
    run = desk.run(receiver.url, [WebhookEvent.OUTPUT])
    for number in range(30):
        run.say("x" * 2**16, "stdout" if number % 2 else "stderr")
    run.error()
    await desk.until_tried(run, 1)
    run.ends()
    await run.until_told(34)
    desk.clock.advance(0.5)
    await desk.idle()
    assert [["error"], ["error"]] == kinds(receiver)


@pytest.mark.parametrize("status", [302, 400, 404, 410, 413])
async def test_a_refusal_is_final_and_the_next_delivery_says_what_is_missing(
    desk: Desk, receiver: Receiver, status: int
) -> None:
    receiver.reacts(status, status)
    run = desk.run(receiver.url, [WebhookEvent.OUTPUT, WebhookEvent.COMPLETED])
    for name in ("a", "b", "c"):
        run.error(name)
        await run.until_told(run.told + 1)
        await desk.until_delivered(run)
    run.ends()
    await desk.idle()
    assert [["error"], ["gap", "error"], ["gap", "error"], ["completed"]] == kinds(receiver)
    gaps = [post.records[0] for post in receiver.posts[1:3]]
    assert [(2, 2), (2, 3)] == [(one["from"], one["to"]) for one in gaps]
    assert [status, status, 200, 200] == [one.status for one in desk.webhooks.deliveries(run)]


async def tried_in_vain(desk: Desk, run: Told) -> None:
    """The present delivery; its last try is on its way."""
    for attempt in range(1, SETTINGS.tries):
        await desk.until_tried(run, attempt)
        desk.clock.advance(60.0)


async def test_a_delivery_is_given_up_after_so_many_tries_and_the_next_one_has_its_own(
    desk: Desk, receiver: Receiver
) -> None:
    receiver.reacts(*itertools.repeat(500, SETTINGS.tries))
    run = desk.run(receiver.url, [WebhookEvent.OUTPUT, WebhookEvent.COMPLETED])
    run.error()
    await tried_in_vain(desk, run)
    await desk.until_tried(run, SETTINGS.tries)
    run.error()
    await receiver.until_posts(SETTINGS.tries + 1)
    assert ["gap", "error"] == kinds(receiver)[-1]
    await run.until_told(3)
    await desk.until_delivered(run)
    receiver.reacts(*itertools.repeat(500, SETTINGS.tries - 1))
    run.ends()
    await tried_in_vain(desk, run)
    await desk.idle()
    assert [["completed"]] * SETTINGS.tries == kinds(receiver)[SETTINGS.tries + 1 :]
    assert [500, 200, 200] == [one.status for one in desk.webhooks.deliveries(run)]


async def test_a_receiver_that_stays_down_is_told_the_end_without_all_that_was_before(
    desk: Desk, receiver: Receiver, store: Store
) -> None:
    receiver.reacts(then=503)
    run = desk.run(receiver.url)
    await desk.until_tried(run, 1)
    for _ in range(5 * RECORDS):
        run.error()
    run.ends()
    await run.until_told(5 * RECORDS + 3)
    while desk.webhooks._couriers:
        desk.clock.advance(60.0)
        await asyncio.sleep(0)
    assert 2 * SETTINGS.tries == len(receiver.posts)
    assert [["gap", "completed"]] * SETTINGS.tries == kinds(receiver)[SETTINGS.tries :]
    assert [] == await store.pending_webhooks()  # it is given up for good


async def test_an_address_that_may_not_be_called_is_tried_once(store: Store) -> None:
    sender = await asyncio.to_thread(HttpSender, WebhookSettings())
    async with a_desk(store, sender) as desk:
        run = desk.run("http://127.0.0.1:1/", [WebhookEvent.COMPLETED])
        run.ends()
        await desk.idle()
        (delivery,) = desk.webhooks.deliveries(run)
    sender.close()
    assert (1, None) == (delivery.attempt, delivery.status)
    assert "the host 127.0.0.1 may not be called" == delivery.error


async def test_the_newest_deliveries_are_kept(desk: Desk, receiver: Receiver, store: Store) -> None:
    run = desk.run(receiver.url)
    for _ in range(KEPT + 5):
        run.error()
        await run.until_told(run.told + 1)
        await desk.until_delivered(run)
    run.ends()
    await desk.idle()
    deliveries = desk.webhooks.deliveries(run)
    assert KEPT == len(deliveries)
    last = deliveries[-1]
    assert (KEPT + 8, 1, 200) == (last.last, last.attempt, last.status)
    (stored,) = await store.find_runs(ME, "r")
    assert deliveries == stored.deliveries


async def test_a_url_that_may_not_be_called_is_refused_with_its_field(desk: Desk) -> None:
    desk.webhooks.check(Webhook(url="http://127.0.0.1/"))
    with pytest.raises(InvalidField) as raised:
        desk.webhooks.check(Webhook(url="http://10.0.0.1/"))
    assert {"webhook.url": "the host 10.0.0.1 may not be called"} == raised.value.fields


# -- removal, memory, trouble with the store ------------------------------------------------------


async def test_a_run_that_is_removed_is_no_longer_delivered(
    desk: Desk, receiver: Receiver, store: Store
) -> None:
    receiver.reacts(then=500)
    run = desk.run(receiver.url, [WebhookEvent.COMPLETED])
    run.ends()
    await desk.until_tried(run, 1)
    await store.write(DeleteRun(run.identity.uid))
    desk.clock.advance(0.5)
    await desk.idle()
    assert 1 == len(receiver.posts)


async def test_a_run_that_could_not_be_stored_is_left_to_the_next_gateway(
    desk: Desk, receiver: Receiver, store: Store
) -> None:
    run = desk.run(receiver.url, [WebhookEvent.COMPLETED])
    await run.until_told(1)
    run.refused(StoreUnavailable("a mistake of ours"))
    await desk.idle()
    assert [] == receiver.posts
    assert 1 == len(await store.pending_webhooks())


async def test_a_run_that_is_over_is_not_kept_in_memory_for_a_receiver_that_is_down(
    desk: Desk, receiver: Receiver
) -> None:
    receiver.reacts(500)
    run: Told | None = desk.run(receiver.url)
    assert run is not None
    run.say("x")
    run.ends()
    await desk.until_tried(run, 1)
    gone = weakref.ref(run)
    run = None
    gc.collect()
    assert gone() is None
    desk.clock.advance(0.5)
    await receiver.until(lambda: ["completed"] == kinds(receiver)[-1])


async def test_a_store_that_cannot_be_read_is_asked_again(
    desk: Desk, receiver: Receiver, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.reacts(500)
    run = desk.run(receiver.url, [WebhookEvent.COMPLETED])
    run.ends()
    await desk.until_tried(run, 1)
    failed = asyncio.Event()

    async def records_(*_: Any, **__: Any) -> list[Record]:
        monkeypatch.undo()
        failed.set()
        raise StoreUnavailable("The store cannot be read at present.")

    monkeypatch.setattr(store, "records", records_)
    desk.clock.advance(0.5)
    await failed.wait()
    await asyncio.sleep(0)
    desk.clock.advance(1.0)
    await desk.idle()
    assert 2 == len(receiver.posts)


async def test_a_store_that_cannot_be_read_does_not_hold_the_closing(
    desk: Desk, receiver: Receiver, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.reacts(500)
    run = desk.run(receiver.url, [WebhookEvent.COMPLETED])
    run.ends()
    await desk.until_tried(run, 1)

    async def records_(*_: Any, **__: Any) -> list[Record]:
        raise StoreUnavailable("The store cannot be read at present.")

    monkeypatch.setattr(store, "records", records_)
    await desk.close()
    assert 1 == len(receiver.posts)


# -- the end of a gateway, and the next one -------------------------------------------------------


async def test_the_closing_waits_for_no_pause_and_delivers_the_end(
    desk: Desk, receiver: Receiver, store: Store
) -> None:
    receiver.reacts(503)
    run = desk.run(receiver.url)
    run.say("printed")
    await desk.until_tried(run, 1)
    run.ends("cancelled")
    await run.until_told(4)
    await desk.close()
    assert [["state", "log"]] * 2 + [["completed"]] == kinds(receiver)
    assert [] == await store.pending_webhooks()


async def test_the_closing_tries_once_more_and_leaves_the_rest_to_the_next_gateway(
    desk: Desk, receiver: Receiver, store: Store
) -> None:
    receiver.reacts(then=503)
    run = desk.run(receiver.url)
    await desk.until_tried(run, 1)
    run.ends()
    await run.until_told(3)
    await desk.close()
    assert 2 == len(receiver.posts)
    receiver.reacts()
    async with a_desk(store, desk.sender) as other:
        await other.webhooks.resume()
        await other.idle()
    assert [["state"]] * 3 + [["completed"]] == kinds(receiver)
    assert [] == await store.pending_webhooks()


async def test_a_try_that_fails_while_the_gateway_closes_is_repeated_once_and_at_once(
    desk: Desk, receiver: Receiver
) -> None:
    release = asyncio.Event()

    async def fails_when_released(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(b"HTTP/1.1 500 Oh\r\n\r\n")

    receiver.reacts(fails_when_released)
    run = desk.run(receiver.url, [WebhookEvent.COMPLETED])
    run.ends()
    await receiver.until_posts(1)
    async with asyncio.TaskGroup() as group:
        group.create_task(desk.close())
        await asyncio.sleep(0)
        release.set()
    assert 2 == len(receiver.posts)
    assert 200 == desk.webhooks.deliveries(run)[-1].status


async def test_a_receiver_that_never_answers_holds_the_closing_no_longer_than_the_limit(
    desk: Desk, receiver: Receiver, store: Store
) -> None:
    receiver.reacts(never)
    run = desk.run(receiver.url)
    run.ends()
    await receiver.until_posts(1)
    await run.until_told(3)
    await desk.close(0.01)
    (pending,) = await store.pending_webhooks()
    assert (0, run.identity.uid) == (pending.told, pending.run.uid)


async def test_the_next_gateway_goes_on_where_this_one_was_killed(
    sender: HttpSender, receiver: Receiver, store: Store
) -> None:
    async with a_desk(store, sender) as desk:
        run = desk.run(receiver.url)
        run.say("before")
        await receiver.until_posts(1)
        await desk.until(lambda: desk.webhooks.deliveries(run))
        receiver.reacts(never)
        run.error("on its way")
        await receiver.until_posts(2)
    receiver.reacts()
    (unfinished,) = await store.unfinished()
    await store.write(*await lost_run(store, unfinished, desk.clock.now(), retention_s=60.0))
    async with a_desk(store, sender) as other:
        await other.webhooks.resume()
        await other.idle()
    assert [["state", "log"], ["error"], ["error"], ["completed"]] == kinds(receiver)
    assert "lost" == receiver.posts[-1].records[0]["outcome"]


async def test_the_next_gateway_says_what_this_one_gave_up(
    desk: Desk, receiver: Receiver, store: Store
) -> None:
    receiver.reacts(200, 404, 404, never)
    run = desk.run(receiver.url, [WebhookEvent.OUTPUT, WebhookEvent.COMPLETED])
    for number in range(3):
        run.error(f"E{number}")
        await run.until_told(run.told + 1)
        await desk.until_delivered(run)
    run.ends()
    await receiver.until_posts(4)
    await desk.close(0.0)
    async with a_desk(store, desk.sender) as other:
        await other.webhooks.resume()
        await other.idle()
    first, last = receiver.posts[-1].records
    assert ("gap", 3, 5) == (first["kind"], first["from"], first["to"])
    assert "completed" == last["kind"]


# -- any order of failures ------------------------------------------------------------------------

FAILURES = ("ok", "lost answer", "refused", "500", "429", "down", "restart")


class Script:
    """A sender whose receiver takes each call, or not, as it is written."""

    def __init__(self, script: list[str], happens: Callable[[], None]) -> None:
        self.script = script
        self.happens = happens
        self.taken: list[dict[str, Any]] = []
        self.is_restarted = False

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.happens()
        word = self.script.pop(0) if self.script else "ok"
        if word == "restart":
            self.is_restarted = True
            await asyncio.get_running_loop().create_future()
        if word in {"ok", "lost answer"}:
            self.taken += json.loads(body)["records"]
        if word in {"lost answer", "down"}:
            raise SendFailed("no answer within 10 s")
        return Answer(status={"ok": 200, "refused": 404}.get(word) or int(word))


async def delivered(script: list[str], bodies: list[str], tries: int) -> list[dict[str, Any]]:
    """What a receiver was told of a run to which these things happen while it is told."""
    with tempfile.TemporaryDirectory() as folder:
        store = await Store.open(StoreSettings(folder=Path(folder), durability="normal"))
        left = [*bodies, "end"]

        def happens() -> None:
            for _ in range(min(2, len(left))):
                word = left.pop(0)
                if word == "end":
                    run.ends()
                elif word == "log":
                    run.say("x")
                else:
                    run.error()

        sender = Script(script, happens)
        desk = Desk(store, sender, WebhookSettings(tries=tries))
        run = desk.run("http://a.example/")
        async with asyncio.timeout(HANG_LIMIT_S):
            while desk.webhooks._couriers:
                if sender.is_restarted and run.over:
                    sender.is_restarted = False
                    await desk.close(0.0)
                    desk = Desk(store, sender, desk.settings, desk.clock)
                    await desk.webhooks.resume()
                elif sender.is_restarted:
                    happens()
                desk.clock.advance(60.0)
                await asyncio.sleep(0)
        await store.close()
        return sender.taken


def all_wanted(taken: list[dict[str, Any]]) -> list[int]:
    """Of a run that was told to its end: all but its state `finished`."""
    last = taken[-1]["seq"]
    return [seq for seq in range(1, last + 1) if seq != last - 1]


@given(
    script=st.lists(st.sampled_from([w for w in FAILURES if w != "refused"]), max_size=12),
    bodies=st.lists(st.sampled_from(["log", "error"]), max_size=20),
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_fails_each_record_is_told_at_least_once_and_in_order(
    script: list[str], bodies: list[str]
) -> None:
    taken = asyncio.run(delivered(list(script), list(bodies), tries=1000))
    assert "completed" == taken[-1]["kind"]
    assert {"gap"}.isdisjoint(one["kind"] for one in taken)
    first_times = list(dict.fromkeys(one["seq"] for one in taken))
    assert all_wanted(taken) == first_times


@given(
    script=st.lists(st.sampled_from(FAILURES), max_size=12),
    bodies=st.lists(st.sampled_from(["log", "error"]), max_size=20),
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_is_given_up_lies_in_a_gap_that_is_told(
    script: list[str], bodies: list[str]
) -> None:
    taken = asyncio.run(delivered(list(script), list(bodies), tries=2))
    told: list[int] = []
    for one in taken:
        news = range(one["from"], one["to"] + 1) if one["kind"] == "gap" else [one["seq"]]
        told += news
    if taken and taken[-1]["kind"] == "completed":
        assert set(all_wanted(taken)) <= set(told)
    found = [one["seq"] for one in taken if "seq" in one]
    assert sorted(set(found)) == list(dict.fromkeys(found))
