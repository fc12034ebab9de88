"""However a run ends: it is told once, to everybody, with all that was printed before."""

from __future__ import annotations

import signal
from collections import Counter as Count
from typing import TYPE_CHECKING, Any

from tests.e2e.main_job.gateway import serving
from tests.e2e.runs.caller import Caller, parsed, path_of
from tests.shared.receiver import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Kernel

BEFORE = "print('before', flush=True)\n"
LOOP = "import time\nwhile True: time.sleep(0.01)"


def cells(*codes: str) -> dict[str, Any]:
    kind: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    found = [{**kind, "id": f"c{n}", "source": code} for n, code in enumerate(codes)]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": found}


#: What is executed, and how it ends: outcome, code of the reason, exit code.
ENDS: list[tuple[dict[str, Any], tuple[str, str, int]]] = [
    ({"code": BEFORE}, ("ok", "done", 0)),
    ({"code": f"{BEFORE}1 / 0"}, ("error", "exception", 1)),
    ({"code": f"{BEFORE}import sys; sys.exit(3)"}, ("error", "exit_code", 3)),
    (
        {"code": f"{BEFORE}input()", "options": {"allow_stdin": False}},
        ("error", "no_input", 1),
    ),
    ({"code": BEFORE + LOOP, "labels": {"cancel": "me"}}, ("cancelled", "cancelled", 130)),
    ({"code": BEFORE + LOOP, "limits": {"run": 0.3}}, ("timeout", "run_limit", 124)),
    # A kernel that dies at once may take along what it has printed: it is to wait until it is told.
    (
        {"code": f"{BEFORE}input(); import os; os._exit(7)", "labels": {"answer": "me"}},
        ("lost", "kernel_died", 7),
    ),
    (
        {"mode": "batch", "steps": {"build": "echo before", "exec": "exit 4"}},
        ("error", "exit_code", 4),
    ),
    (
        {"mode": "batch", "steps": {"build": "echo before; false", "exec": "echo never"}},
        ("error", "build_failed", 1),
    ),
    ({"mode": "notebook", "notebook": cells(BEFORE, "1 / 0", "2")}, ("error", "exception", 1)),
    (
        {"mode": "notebook", "notebook": cells(BEFORE, "import sys; sys.exit(0)", "2")},
        ("ok", "exited", 0),
    ),
]


async def test_each_end_is_completed_once_with_its_log_and_its_exit_code(
    kernel: Kernel, caller: Caller
) -> None:
    """All wait in one line; what comes behind a kernel that has died runs on the next one."""
    async with receiving() as receiver:
        webhook = {"url": receiver.url, "events": ["completed"]}
        runs = [await caller.create(kernel=kernel.id, webhook=webhook, **body) for body, _ in ENDS]
        for run, (_, (outcome, code, exit_code)) in zip(runs, ENDS, strict=True):
            uid = run["uid"]
            if "cancel" in run["labels"]:
                await caller.printed(uid, "before\n")
                assert 202 == (await caller.cancel(uid)).status
            if "answer" in run["labels"]:
                await caller.reached(uid, "waiting-input")
                given = await caller.call("POST", path_of(uid, "/input"), {"value": ""})
                assert 200 == given.status
            found = await caller.over(uid)
            ended = (found["outcome"], found["reason"]["code"], found["exit_code"])
            assert (outcome, code, exit_code) == ended, found
            assert "before\n" == await caller.text(uid)
            records = await caller.records(uid)
            assert 1 == Count(item["kind"] for item in records)["completed"]
            events = await caller.events(uid)
            assert "completed" == events[-1].event
            assert 1 == Count(event.event for event in events)["completed"]
            assert outcome == events[-1].data["outcome"] == events[-1].data["run"]["outcome"]
            assert "finished" == found["history"][-1]["state"]
        uids = [run["uid"] for run in runs]
        await receiver.until(lambda: {post.json["uid"] for post in receiver.posts} == {*uids})
    assert Count(uids) == Count(post.json["uid"] for post in receiver.posts)
    assert ["completed"] * len(uids) == [
        record["kind"] for post in receiver.posts for record in post.records
    ]


async def test_sigterm_delivers_the_verdict_to_streams_and_webhooks_before_the_end(
    tmp_path: Path,
) -> None:
    options = ("--Webhooks.allowed_hosts=127.0.0.1", "--drain=0")
    async with receiving() as receiver:
        with serving(tmp_path / "data", *options) as server:
            caller = Caller(server)
            kernel = await caller.kernel()
            process = await kernel.process()
            webhook = {"url": receiver.url, "events": ["completed"]}
            body = {"kernel": kernel.id, "webhook": webhook}
            running = await caller.create(code=f"{BEFORE}{LOOP}", **body)
            queued = await caller.create(code=BEFORE, **body)
            await caller.printed(running["uid"], "before\n")
            async with (
                caller.stream(path_of(running["uid"], "/events"), {}) as stream,
                caller.stream(path_of(queued["uid"], "/events"), {}) as other,
            ):
                server.process.send_signal(signal.SIGTERM)
                told = [parsed(await one.read())[-1] for one in (stream, other)]
            await receiver.until_posts(2)
        assert process.ended_within(0)
    by_uid = {post.json["uid"]: post.records[-1] for post in receiver.posts}
    for run, event in zip((running, queued), told, strict=True):
        assert ("completed", "cancelled") == (event.event, event.data["outcome"])
        told_by_webhook = by_uid[run["uid"]]
        assert ("completed", "cancelled") == (told_by_webhook["kind"], told_by_webhook["outcome"])
    assert 2 == len(receiver.posts)
