"""A plain client of the channels, in both framings: all kinds of messages, big ones, odd ones."""

from __future__ import annotations

import asyncio
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests.e2e.jupyter.channels import Channels, framed, lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.jupyter.conftest import Connect
    from tests.e2e.main_job.gateway import Client, Gate, Kernel

MIB = 2**20


async def test_every_kind_of_request_has_its_reply(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    await channels.run("answer = 42")
    info = await channels.ask("shell", "kernel_info_request")
    assert "python" == info.reply["language_info"]["name"]
    assert ["busy", "idle"] == info.states
    completed = await channels.ask("shell", "complete_request", code="answ", cursor_pos=4)
    assert ["answer"] == completed.reply["matches"]
    told = await channels.ask(
        "shell", "inspect_request", code="answer", cursor_pos=3, detail_level=0
    )
    assert told.reply["found"]
    asked = {"hist_access_type": "tail", "n": 1, "output": False, "raw": True}
    assert "ok" == (await channels.ask("shell", "history_request", **asked)).reply["status"]
    whole = await channels.ask("shell", "is_complete_request", code="for x in y:")
    assert "incomplete" == whole.reply["status"]
    assert {} == (await channels.ask("shell", "comm_info_request")).reply["comms"]
    on_control = await channels.ask("control", "kernel_info_request")
    assert "control" == on_control.of("kernel_info_reply")[0].channel


async def test_a_cell_is_told_in_the_words_of_its_kernel(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.run(
        "import sys\n"
        "print('to stdout', flush=True)\n"
        "print('to stderr', file=sys.stderr, flush=True)\n"
        "display({'text/html': '<b>shown</b>'}, raw=True)\n"
        "6 * 7"
    )
    assert "to stdout\n" == cell.text()
    assert "to stderr\n" == cell.text("stderr")
    assert ["<b>shown</b>"] == [one.content["data"]["text/html"] for one in cell.of("display_data")]
    assert ["42"] == [one.content["data"]["text/plain"] for one in cell.of("execute_result")]
    assert "ok" == cell.reply["status"]
    assert ["busy", "idle"] == cell.states
    assert {channels.session} == {one.parent["session"] for one in cell}
    failed = await channels.run("1 / 0")
    (error,) = failed.of("error")
    assert "ZeroDivisionError" == error.content["ename"] == failed.reply["ename"]
    assert error.content["traceback"]


async def test_a_silent_cell_is_passed_on_as_it_is(shared: Kernel, connect: Connect) -> None:
    channels = await connect(shared)
    before = (await channels.run("")).reply["execution_count"]
    cell = await channels.run("print('said')", how={"silent": True, "store_history": False})
    assert [] == cell.of("execute_input", "execute_result")
    assert "said\n" == cell.text()
    assert before == cell.reply["execution_count"]


async def test_kinds_that_nobody_knows_are_passed_on(shared: Kernel, connect: Connect) -> None:
    channels = await connect(shared)
    asked = await channels.send("shell", "a_request_of_tomorrow", {"some": "thing"})
    assert "ok" == (await channels.run("pass")).reply["status"]
    assert [] == [one for one in channels.of(asked) if one.type.endswith("_reply")]


# -- sizes ----------------------------------------------------------------------------------------

ECHO = """
from comm import create_comm, get_comm_manager

def opened(comm, opening):
    def back(message):
        comm.send({'sizes': [len(one) for one in message['buffers']]}, buffers=message['buffers'])
    comm.on_msg(back)

get_comm_manager().register_target('echo', opened)
"""


async def test_buffers_of_a_comm_come_back_to_the_byte(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    await channels.run(ECHO)
    name = os.urandom(8).hex()
    await channels.send("shell", "comm_open", {"comm_id": name, "target_name": "echo", "data": {}})
    buffers = (os.urandom(16 * MIB), b"", os.urandom(3), b"\xff\x00" * 500)
    sent = await channels.send("shell", "comm_msg", {"comm_id": name, "data": {}}, buffers=buffers)
    back = await channels.until(lambda one: one.type == "comm_msg" and one.parent_id == sent)
    assert {"sizes": [16 * MIB, 0, 3, 1000]} == back.content["data"]
    assert [sha256(one).digest() for one in buffers] == [
        sha256(one).digest() for one in back.buffers
    ]
    await channels.idle(sent)
    await channels.send("shell", "comm_close", {"comm_id": name, "data": {}})
    assert {} == (await channels.ask("shell", "comm_info_request")).reply["comms"]


async def test_sixteen_mebibytes_of_text_arrive_whole(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.run(f"print('0123456789abcdef' * {MIB})")
    assert 16 * MIB + 1 == len(cell.text())
    assert cell.text() == "0123456789abcdef" * MIB + "\n"


async def test_a_cell_of_twelve_mebibytes_is_executed(
    client: Client, connect: Connect, framing: str
) -> None:
    """By a kernel that does not take seconds to parse it, as an IPython does."""
    kernel = await client.start_kernel(name="length")
    channels = await connect(kernel, framing=framing)
    assert str(12 * MIB) == (await channels.run("x" * 12 * MIB)).text()
    await kernel.delete()


async def test_jupyter_server_is_sent_no_frame_above_ten_mebibytes(
    client: Client, connect: Connect
) -> None:
    """It would close the page's connection. Text comes in parts, of a display there is a note."""
    kernel = await client.start_kernel(env={"KERNEL_LAUNCH_TIMEOUT": "40"})
    channels = await connect(kernel, framing="legacy")
    cell = await channels.run(
        f"print('0123456789abcdef' * {MIB})\ndisplay({{'text/html': 'x' * {12 * MIB}}}, raw=True)"
    )
    assert cell.text() == "0123456789abcdef" * MIB + "\n"
    (shown,) = cell.of("display_data")
    assert "too big for this reader" in shown.content["data"]["text/plain"]
    sizes = [len(framed(one, "legacy")) for one in cell]
    assert max(sizes) < 10 * MIB
    await kernel.delete()


async def test_frames_may_come_in_pieces(shared: Kernel, connect: Connect, framing: str) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.run("print('ä' * 10)", pieces=7)
    assert "ä" * 10 + "\n" == cell.text()


# -- who is told what -----------------------------------------------------------------------------


async def test_one_id_twice_is_executed_twice(
    kernel: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(kernel, framing=framing)
    await channels.run("count = 0")
    for _ in range(2):
        await channels.execute("count += 1\nprint(count)", msg_id="the-same")
    await channels.run("pass")
    cell = channels.of("the-same")
    assert "1\n2\n" == cell.text()
    assert ["ok", "ok"] == [one.content["status"] for one in cell.of("execute_reply")]


async def test_clients_that_choose_one_id_get_each_their_own_reply(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    ada = await connect(shared, framing=framing)
    alan = await connect(shared, framing=framing)
    for channels, code in ((ada, "'of ada'"), (alan, "'of alan'")):
        await channels.execute("", msg_id="1", how={"user_expressions": {"name": code}})
    for channels, name in ((ada, "'of ada'"), (alan, "'of alan'")):
        await channels.until(lambda one: one.type == "execute_reply")
        await channels.run("pass")
        replies = [one for one in channels.heard.of("execute_reply") if one.parent_id == "1"]
        assert [channels.session] == [one.parent["session"] for one in replies]
        (reply,) = replies
        assert name == reply.content["user_expressions"]["name"]["data"]["text/plain"]


async def test_a_client_hears_the_cells_of_others_but_not_their_replies(
    shared: Kernel, connect: Connect
) -> None:
    ada, alan = await connect(shared), await connect(shared)
    sent = await ada.execute("print('said')")
    await ada.over(sent)
    await alan.idle(sent)
    await alan.run("pass")
    assert "said\n" == alan.of(sent).text()
    assert [] == alan.of(sent).of("execute_reply")


async def test_a_client_without_a_name_is_served(shared: Kernel, connect: Connect) -> None:
    channels = await connect(shared, is_named=False)
    assert "2\n" == (await channels.run("print(1 + 1)")).text()


async def test_what_is_sent_before_the_kernel_is_ready_is_delivered(
    client: Client, connect: Connect, framing: str
) -> None:
    kernel = await client.start_kernel()
    channels = await connect(kernel, framing=framing)
    first = await channels.send("shell", "kernel_info_request")
    cells = [await channels.execute(f"print('line {number}')") for number in range(20)]
    for cell in cells:
        await channels.over(cell)
    assert "python" == (await channels.over(first)).reply["language_info"]["name"]
    assert lines(range(20)) == channels.of(*cells).text()
    assert cells == [one.parent_id for one in channels.of(*cells).of("execute_reply")]
    await kernel.delete()


async def test_the_state_of_a_kernel_is_what_is_told_first(
    client: Client, connect: Connect
) -> None:
    kernel = await client.start_kernel()
    channels = await connect(kernel)
    assert ("starting", {}) == ((one := await channels.next()).state, one.parent)
    await channels.status("idle")
    later = await connect(kernel)
    assert ("idle", {}) == ((one := await later.next()).state, one.parent)
    await kernel.delete()


async def test_connections_are_counted(shared: Kernel, connect: Connect) -> None:
    async def count() -> int:
        model = (await shared.call("GET")).json
        connections: int = model["connections"]
        return connections

    before = await count()
    channels = await connect(shared)
    assert before + 1 == await count()
    await channels.socket.close()
    await _comes_to(count, before)


async def _comes_to(value: Callable[[], Any], expected: Any) -> None:
    async with asyncio.timeout(25):
        while await value() != expected:
            pass


async def test_a_message_that_comes_twice_to_the_byte_is_executed_once(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    """The kernel takes the second for a replay of the first. Nobody waits for it."""
    channels = await connect(shared, framing=framing)
    for _ in range(2):
        await channels.execute("print('once')", msg_id=f"repeated-{framing}", date="2026-01-01")
    await channels.run("pass")
    cell = channels.of(f"repeated-{framing}")
    assert "once\n" == cell.text()
    runs = (await shared.client.call("GET", f"/api/runs?kernel={shared.id}&state=running")).json
    assert [] == runs["items"]


# -- prompts --------------------------------------------------------------------------------------


async def test_a_prompt_is_answered_by_whoever_it_was_sent_to(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    ada = await connect(shared, framing=framing)
    alan = await connect(shared, framing=framing)
    cell = await ada.execute("print('Hello', input('Who? '))")
    prompt = await ada.prompt(cell)
    assert {"prompt": "Who? ", "password": False} == prompt.content
    assert "stdin" == prompt.channel
    await alan.answer(prompt, "Alan")  # which is none of his business
    # Behind it on his line; and on control, as the kernel stands at its prompt.
    await alan.ask("control", "kernel_info_request")
    await ada.answer(prompt, "Ada")
    assert "Hello Ada\n" == (await ada.over(cell)).text()
    assert [] == alan.heard.of("input_request")


async def test_an_answer_counts_once(shared: Kernel, connect: Connect, framing: str) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.execute("print(input('one? '), input('two? '))")
    first = await channels.prompt(cell)
    await channels.answer(first, "1")
    await channels.answer(first, "1 again")
    second = await channels.until(
        lambda one: one.type == "input_request" and one.content["prompt"] == "two? "
    )
    await channels.ask("control", "kernel_info_request")
    await channels.answer(second, "2")
    assert "1 2\n" == (await channels.over(cell)).text()


async def test_a_client_that_forbids_prompts_has_none(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    cell = await channels.run("input()", how={"allow_stdin": False})
    assert "StdinNotImplementedError" == cell.reply["ename"]
    assert [] == channels.heard.of("input_request")


async def test_a_prompt_whose_client_has_gone_can_be_interrupted(
    kernel: Kernel, connect: Connect
) -> None:
    channels = await connect(kernel)
    cell = await channels.execute("input('Who? ')")
    await channels.prompt(cell)
    await channels.socket.cut()
    other = await connect(kernel)
    assert 204 == (await kernel.interrupt()).status
    await other.idle(cell)
    assert "2\n" == (await other.run("print(1 + 1)")).text()


async def test_an_answer_to_a_prompt_of_yesterday_is_dropped(
    shared: Kernel, connect: Connect
) -> None:
    channels: Channels = await connect(shared)
    cell = await channels.execute("print(input())")
    prompt = await channels.prompt(cell)
    await channels.answer(prompt, "of today")
    await channels.over(cell)
    await channels.answer(prompt, "late")
    again = await channels.execute("print(input())")
    await channels.answer(await channels.prompt(again), "fresh")
    assert "fresh\n" == (await channels.over(again)).text()


async def test_a_cell_that_stands_still_lets_others_be_answered_on_control(
    shared: Kernel, connect: Connect, gate: Callable[[str], Gate]
) -> None:
    held = gate("cell")
    channels = await connect(shared)
    cell = await channels.execute(held.code)
    opening = await held.held()
    info = await channels.ask("control", "kernel_info_request")
    assert "ok" == info.reply["status"]
    held.pass_(opening)
    assert "ok" == (await channels.over(cell)).reply["status"]
