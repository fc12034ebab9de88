"""How runs behave beside each other, and when callers come, call twice and go."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.main_job.gateway import HANG_LIMIT_S, Client, Counter, Gate, serving
from tests.e2e.runs.caller import Caller, notebook, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.main_job.gateway import Kernel, Server

BOUND = 3
REPLACED = "\N{REPLACEMENT CHARACTER}"
#: Past IPython, which would mend it: straight to the socket, signed as the kernel signs.
RAW = """
import json
from ipykernel.kernelapp import IPKernelApp

MIME = b"application/vnd.kernel-gateway.metric+json"
kernel = IPKernelApp.instance().kernel
parent = kernel.get_parent()

def send(kind, content):
    session = kernel.session
    head = session.msg_header(kind)
    parts = [json.dumps(one, default=str).encode() for one in (head, parent["header"], {})]
    parts.append(content)
    kernel.iopub_thread.send_multipart([b"x", b"<IDS|MSG>", session.sign(parts), *parts])
"""
NOBODY = {"Authorization": "token of-nobody"}


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Its kernels have short queues."""
    folder = tmp_path_factory.mktemp("small")
    with serving(folder / "data", f"--Runs.queue_bound={BOUND}") as server:
        yield server


# -- beside each other ----------------------------------------------------------------------------


async def test_twenty_overlapping_runs_end_in_the_order_of_their_creation(
    caller: Caller, shared: Kernel, tmp_path: Path
) -> None:
    gate, counter = Gate(tmp_path), Counter(tmp_path)
    first = await caller.create(kernel=shared.id, code=gate.code)
    opening = await gate.held()
    runs = [await caller.create(kernel=shared.id, code=counter.code(str(n))) for n in range(20)]
    assert list(range(20)) == [run["queue_position"] for run in runs]
    gate.pass_(opening)
    over = [await caller.over(run["uid"]) for run in (first, *runs)]
    assert {"ok"} == {run["outcome"] for run in over}
    ends = [run["finished_at"] for run in over]
    assert sorted(ends) == ends
    assert [str(n) for n in range(20)] == counter.marks


async def test_a_queue_that_is_full_says_when_to_come_back(
    small_server: Server, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    caller = Caller(small_server)
    kernel = await caller.kernel()
    running = await caller.create(kernel=kernel.id, code=gate.code)
    opening = await gate.held()
    waiting = [await caller.create(kernel=kernel.id, code="1") for _ in range(BOUND)]
    refused = await caller.post(kernel=kernel.id, code="1", runId="again")
    assert (429, "queue_full") == (refused.status, refused.error["code"])
    assert int(refused.headers["Retry-After"]) > 0
    gate.pass_(opening)
    for run in (running, *waiting):
        assert "ok" == (await caller.over(run["uid"]))["outcome"]
    assert "ok" == (await caller.done(kernel=kernel.id, code="1", runId="again"))["outcome"]
    assert 204 == (await kernel.delete()).status
    await caller.close()


async def test_queries_share_their_kernels_names_and_batches_leave_them_alone(
    caller: Caller, kernel: Kernel
) -> None:
    await caller.done(kernel=kernel.id, code="x, y = 1, 2")
    batch = {"exec": "x=9; export y=9; python3 -c 'x = 9'; echo $x"}
    shell = await caller.done(mode="batch", kernel=kernel.id, steps=batch)
    assert ("ok", "9\n") == (shell["outcome"], await caller.text(shell["uid"]))
    after = await caller.done(kernel=kernel.id, code="print(x, y)")
    assert "1 2\n" == await caller.text(after["uid"])
    assert 3 == after["execution_count"]  # the first one is the fixture's; none is of the batch


async def test_each_notebook_has_a_fresh_kernel_unless_it_names_one(
    caller: Caller, shared: Kernel
) -> None:
    cells = ["x = globals().get('x', 0) + 1", "import os; print(x, os.getpid())"]
    sent = notebook(*cells)
    runs = await asyncio.gather(*(caller.done(mode="notebook", notebook=sent) for _ in "ab"))
    told = [(await caller.text(run["uid"])).split() for run in runs]
    assert ["1", "1"] == [count for count, _ in told]
    assert 2 == len({pid for _, pid in told})
    await caller.done(kernel=shared.id, code="x = 41")
    named = await caller.done(mode="notebook", notebook=sent, kernel=shared.id)
    assert "42" == (await caller.text(named["uid"])).split()[0]
    await caller.done(kernel=shared.id, code="del x")


# -- what code prints from everywhere -------------------------------------------------------------


async def test_output_of_a_child_of_descriptor_1_of_a_thread_and_without_a_newline_arrives(
    caller: Caller, shared: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    code = f"""
import asyncio, os, subprocess, threading
subprocess.run(["echo", "of a child"], check=True)
os.write(1, b"of descriptor 1\\n")
def work():
    print("of a thread")
async def main():
    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.to_thread(thread.join)
await main()
print("no newline", end="")
{gate.code}
"""
    run = await caller.create(kernel=shared.id, code=code)
    pieces = ["of a child\n", "of descriptor 1\n", "of a thread", "no newline"]
    for piece in pieces:
        await caller.printed(run["uid"], piece)
    await gate.open()
    assert "ok" == (await caller.over(run["uid"]))["outcome"]
    # What goes past Python may stand between a text and the newline of its print.
    assert sorted("".join([*pieces, "\n"])) == sorted(await caller.text(run["uid"]))


async def test_output_after_the_end_is_kept_as_late_and_reopens_nothing(
    caller: Caller, shared: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    code = (
        f"import threading\ndef work():\n    {gate.code}\n    print('much later')\n"
        "thread = threading.Thread(target=work); thread.start(); print('at once')"
    )
    run = await caller.done(kernel=shared.id, code=code)
    await gate.open()
    records: list[Any] = []
    async with asyncio.timeout(HANG_LIMIT_S):
        while not records:  # no other run may begin: ipykernel would take the text for its
            path = path_of(run["uid"], f"/records?after={run['log']['next'] - 1}")
            records = (await caller.call("GET", path)).json["items"]
    text = [(one["kind"], one.get("text"), one.get("late")) for one in records]
    assert [("log", "much later\n", True)] == text
    again = await caller.run(run["uid"])
    changed = {name for name in run if run[name] != again[name]}
    assert {"log", "outputs"} == changed
    assert "at once\nmuch later\n" == await caller.text(run["uid"])
    assert "completed" == (await caller.events(run["uid"]))[-1].event
    await caller.done(kernel=shared.id, code="thread.join(); del thread")


async def test_values_that_json_does_not_have_are_told_in_strict_json(
    caller: Caller, shared: Kernel
) -> None:
    code = r"""
from kernel_gateway.scope import current_run
current_run().metric("loss", float("nan"))
send("display_data", b'{"data": {"application/json": [NaN, -Infinity]}, "metadata": {"x": NaN}}')
send("display_data", b'{"data": {"text/plain": "\\ud800"}, "metadata": {}}')
send("stream", b'{"name": "stdout", "text": "\\udfff"}')
metric = b'{"name": "rate", "value": [Infinity], "mode": "replace"}'
send("display_data", b'{"data": {"%s": %s}, "metadata": {}}' % (MIME, metric))
"""
    run = await caller.done(kernel=shared.id, code=RAW + code)
    assert "ok" == run["outcome"]
    for rest in ("", "/records", "/log", "/notebook"):
        answer = await caller.call("GET", path_of(run["uid"], rest))
        assert 200 == answer.status
        _strictly(answer.body)
    async with caller.stream(path_of(run["uid"], "/events"), {}) as stream:
        lines = (await stream.read()).splitlines()
    told = [_strictly(line.removeprefix(b"data: ")) for line in lines if line[:6] == b"data: "]
    assert await caller.records(run["uid"]) == told
    assert {"loss": "NaN", "rate": ["Infinity"]} == run["metrics"]
    displays = [output for output in run["outputs"] if output["output_type"] == "display_data"]
    assert [{"application/json": [None, None]}, {"text/plain": REPLACED}] == [
        display["data"] for display in displays
    ]
    assert REPLACED == await caller.text(run["uid"])


# -- callers that come and go ---------------------------------------------------------------------


async def test_readers_that_leave_end_no_run_but_the_one_that_wants_it_with_the_last(
    caller: Caller, kernel: Kernel, shared: Kernel, tmp_path: Path
) -> None:
    stays, begun, ended = (Gate(tmp_path, name) for name in ("stays", "begun", "ended"))
    code = f"print('begun'); {stays.code}; print('whole')"
    whole = await caller.create(kernel=shared.id, code=code)
    opening = await stays.held()
    for _ in range(3):
        assert [] == await caller.events(whole["uid"], limit=10)
    code = f"try:\n    {begun.code}\n    while True: pass\nfinally:\n    {ended.code}"
    run = await caller.create(kernel=kernel.id, code=code, cancel_on_disconnect=True)
    async with caller.stream(path_of(run["uid"], "/events"), {}):
        assert [] == await caller.events(run["uid"], limit=10)  # one of two has gone
        await begun.open()
        assert "running" == (await caller.run(run["uid"]))["state"]
    ended.pass_(await ended.held())  # nobody reads meanwhile
    over = await caller.over(run["uid"])
    assert ("cancelled", "interrupt") == (over["outcome"], over["reason"]["worked"])
    stays.pass_(opening)
    assert "ok" == (await caller.over(whole["uid"]))["outcome"]
    assert "begun\nwhole\n" == await caller.text(whole["uid"])


@pytest.mark.parametrize(
    "preference",
    [
        "wait=20",
        'respond-async, WAIT = "20"',
        'note="a, wait=0"; x=1, wait=20;y',
        "wait=20, wait=0",
    ],
)
async def test_who_prefers_to_wait_is_answered_with_the_end(
    caller: Caller, shared: Kernel, preference: str
) -> None:
    body = {"mode": "query", "kernel": shared.id, "code": "6 * 7"}
    answer = await caller.call("POST", "/api/runs", body, headers={"Prefer": preference})
    assert (201, "wait=20") == (answer.status, answer.headers["Preference-Applied"])
    assert ("finished", "ok") == (answer.json["state"], answer.json["outcome"])
    assert "42" == answer.json["outputs"][0]["data"]["text/plain"]


async def test_who_does_not_or_not_long_is_answered_before_it(
    caller: Caller, shared: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    await caller.create(kernel=shared.id, code=gate.code)
    body = {"mode": "query", "kernel": shared.id, "code": "1"}
    for preference, applied in (
        ("wait=0", "wait=0"),
        ("wait=soon", None),
        ("return=minimal", None),
    ):
        answer = await caller.call("POST", "/api/runs", body, headers={"Prefer": preference})
        assert (201, "queued") == (answer.status, answer.json["state"])
        assert applied == answer.headers.get("Preference-Applied")
        assert answer.headers["Location"] == answer.json["links"]["self"]
    await gate.open()


async def test_a_run_can_be_read_when_its_kernel_is_gone(caller: Caller, kernel: Kernel) -> None:
    created = await caller.create(
        kernel=kernel.id, code="print('kept'); 6 * 7", runId="kept", labels={"kept": "yes"}
    )
    run = await caller.over(created["uid"])
    assert 204 == (await kernel.delete()).status
    assert run == await caller.run("kept")
    listed = await caller.call("GET", "/api/runs?label=kept=yes&state=finished")
    assert [created["uid"]] == [one["uid"] for one in listed.json["items"]]
    assert "kept\n" == await caller.text(run["uid"])
    records = await caller.records(run["uid"])
    assert list(range(1, run["log"]["next"])) == [one["seq"] for one in records]
    told = [(event.id, event.data) for event in await caller.events(run["uid"])]
    assert told == [(one["seq"], one) for one in records]


async def test_a_cancel_in_flight_can_be_repeated(
    caller: Caller, shared: Kernel, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    run = await caller.create(kernel=shared.id, code=f"{gate.code}\nwhile True: pass")
    await gate.open()
    answers = await asyncio.gather(*(caller.cancel(run["uid"]) for _ in range(5)))
    assert {200, 202} >= {answer.status for answer in answers}
    over = await caller.over(run["uid"])
    assert ("cancelled", "interrupt") == (over["outcome"], over["reason"]["worked"])
    assert ["queued", "running", "cancelling", "finished"] == [
        one["state"] for one in over["history"]
    ]


# -- who may call, and what -----------------------------------------------------------------------


async def test_nobody_can_shut_it_down_over_http(server: Server) -> None:
    client = Client(server)
    for path in ("/api/shutdown", "/shutdown"):
        assert 401 == (await client.call("POST", path, {}, headers=NOBODY)).status
        assert 404 == (await client.call("POST", path, {})).status
    assert 200 == (await client.call("GET", "/healthz")).status
    client.close()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"code": "1", "priority": 1}, "priority"),
        ({"code": "1", "options": {"fast": True}}, "options.fast"),
        ({"code": "1", "limits": {"memory": 1}}, "limits.memory"),
        ({"code": "1", "kernel": {"name": "python3", "size": 1}}, "kernel.size"),
        ({"code": "1", "webhook": {"url": "http://127.0.0.1/", "retries": 1}}, "webhook.retries"),
        ({"mode": "batch", "steps": {"exec": "true", "deploy": "true"}}, "steps.deploy"),
        ({"mode": "notebook", "notebook": {}, "code": "1"}, "code"),
    ],
    ids=str,
)
async def test_a_field_that_nobody_knows_is_refused_by_its_name(
    caller: Caller, body: dict[str, Any], field: str
) -> None:
    refused = await caller.post(**body)
    assert (422, "invalid_field") == (refused.status, refused.error["code"])
    assert field in refused.error["fields"]


async def test_only_the_loopback_can_call_and_only_with_the_token(server: Server) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    client = Client(server)
    for verb, path in [("GET", "/api/runs"), ("POST", "/api/runs"), ("GET", "/api/kernels")]:
        value: Any = {} if verb == "POST" else None
        refused = await client.call(verb, path, value, headers=NOBODY)
        assert (401, "unauthorized") == (refused.status, refused.error["code"])
    client.close()
    assert {"0100007F"} == _listened_on(server)


def _strictly(data: bytes) -> Any:
    value: Any = json.loads(data, parse_constant=pytest.fail)
    json.dumps(value, ensure_ascii=False).encode()  # with no lone surrogate in it
    return value


def _listened_on(server: Server) -> set[str]:
    """The addresses, as Linux writes them: 127.0.0.1 from its end."""
    listening = "0A"
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, port = local.partition(":")
            if state == listening and int(port, 16) == server.port:
                found.add(address)
    return found
