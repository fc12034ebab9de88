"""A client that comes back gets what it has missed: in order, each thing at least once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.jupyter.cable import Cable
from tests.e2e.jupyter.channels import Channels, lines
from tests.e2e.jupyter.conftest import Connect
from tests.e2e.main_job.gateway import calling, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.jupyter.channels import Told
    from tests.e2e.main_job.gateway import Client, Gate, Kernel

COUNT = 2000


def prints(first: int, last: int) -> str:
    return f"for i in range({first}, {last}): print('line', i, flush=True)\n"


def exactly_once(*parts: Told) -> str:
    """What it has read of all its connections, without what came again: the program of a client
    that keeps the IDs of messages."""
    whole = parts[0]
    for part in parts[1:]:
        whole = type(whole)([*whole, *part])
    return whole.once.text()


@pytest.mark.parametrize(
    ("framing", "way", "company"),
    [
        ("legacy", "cut", "alone"),
        ("v1", "cut", "beside another client"),
        ("v1", "frozen", "alone"),
        ("legacy", "frozen", "beside another client"),
    ],
)
async def test_output_of_a_cell_is_complete_over_a_line_that_breaks(
    kernel: Kernel,
    connect: Connect,
    cable: Cable,
    gate: Callable[[str], Gate],
    framing: str,
    way: str,
    company: str,
) -> None:
    """While it prints, and while it goes on printing without its client."""
    away, over = gate("away"), gate("over")
    others = [await connect(kernel)] if company != "alone" else []
    first = await connect(kernel, framing=framing, through=cable)
    code = prints(0, COUNT) + f"{away.code}\n" + prints(COUNT, 2 * COUNT) + over.code
    cell = await first.execute(code)
    await first.until(lambda one: one.type == "stream" and "line 100\n" in one.content["text"])
    await (cable.cut() if way == "cut" else cable.freeze())
    await away.open()
    opening = await over.held()
    second = await connect(kernel, framing=framing, through=cable, session=first.session)
    over.pass_(opening)
    await second.over(cell)
    assert lines(range(2 * COUNT)) == exactly_once(first.of(cell), second.of(cell))
    assert "ok" == second.of(cell).of("execute_reply").once.reply["status"]
    for other in others:
        await other.idle(cell)
        assert lines(range(2 * COUNT)) == other.of(cell).text()


async def test_a_cell_that_has_ended_meanwhile_is_told_to_its_end(
    kernel: Kernel, connect: Connect, cable: Cable, gate: Callable[[str], Gate], framing: str
) -> None:
    held = gate("held")
    first = await connect(kernel, framing=framing, through=cable)
    cell = await first.execute(f"{held.code}\n{prints(0, 100)}1 / 0")
    opening = await held.held()
    await cable.cut()
    held.pass_(opening)
    await kernel.run("pass")  # behind it: the cell has ended
    second = await connect(kernel, framing=framing, session=first.session)
    told = await second.over(cell)
    assert lines(range(100)) == told.text()
    assert "ZeroDivisionError" == told.reply["ename"]
    assert "ZeroDivisionError" == told.of("error")[0].content["ename"]


async def test_another_session_is_told_the_present_state_and_nothing_of_the_past(
    kernel: Kernel, connect: Connect, cable: Cable
) -> None:
    first = await connect(kernel, through=cable)
    await first.run(prints(0, 10))
    await cable.cut()
    await kernel.run("print('while nobody looked')")
    second = await connect(kernel)
    await second.run("print('of today')")
    assert ("idle", {}) == (second.heard[0].state, second.heard[0].parent)
    assert "of today\n" == second.heard.text()


async def test_a_prompt_that_came_while_its_client_was_away_can_be_answered(
    kernel: Kernel, connect: Connect, cable: Cable, gate: Callable[[str], Gate], framing: str
) -> None:
    held = gate("held")
    first = await connect(kernel, framing=framing, through=cable)
    cell = await first.execute(f"{held.code}\nprint('Hello', input('Who? '))")
    opening = await held.held()
    await cable.cut()
    held.pass_(opening)
    second = await connect(kernel, framing=framing, session=first.session)
    await second.answer(await second.prompt(cell), "Ada")
    assert "Hello Ada\n" == (await second.over(cell)).text()


async def test_what_was_acknowledged_is_not_told_again(kernel: Kernel, connect: Connect) -> None:
    """By a pong, which answers the ping that came behind it."""
    first = await connect(kernel)
    await first.run(prints(0, 100))
    first.socket.pings.clear()
    while not first.socket.pings:
        await first.run("pass")
    await first.run("pass")  # behind its pong on the same line
    await first.socket.cut()
    second = await connect(kernel, session=first.session)
    await second.run("print('of today')")
    assert "of today\n" == second.heard.text()


async def test_what_was_not_acknowledged_is_told_again_under_its_own_id(
    kernel: Kernel, connect: Connect, framing: str
) -> None:
    first = await connect(kernel, framing=framing)
    first.socket.answers_pings = False
    cell = await first.execute(prints(0, 100))
    await first.over(cell)
    await first.socket.cut()
    second = await connect(kernel, framing=framing, session=first.session)
    again = await second.over(cell)
    assert [one.id for one in first.heard] == [one.id for one in second.heard][: len(first.heard)]
    assert lines(range(100)) == again.text() == exactly_once(first.of(cell), again)


@pytest.mark.parametrize("answer", [b"", b"-1", b"x" * 125, b"9" * 125, b"\xff\xfe"])
async def test_a_pong_that_says_anything_acknowledges_nothing(
    shared: Kernel, connect: Connect, answer: bytes
) -> None:
    first = await connect(shared)
    first.socket.answers_pings = False
    await first.socket.pong(answer)
    cell = await first.execute("print('said')")
    await first.over(cell)
    await first.socket.pong(answer)
    await first.run("pass")
    second = await connect(shared, session=first.session)
    assert "said\n" == (await second.over(cell)).text()


async def test_a_second_connection_of_a_session_takes_over(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    first = await connect(shared, framing=framing)
    second = await connect(shared, framing=framing, session=first.session)
    closed = await first.rest()
    assert (4409, "another connection of this session has taken over") == (
        closed.code,
        closed.reason,
    )
    assert "2\n" == (await second.run("print(1 + 1)")).text()


async def test_two_sessions_come_back_to_what_each_has_asked(
    kernel: Kernel, connect: Connect, cable: Cable, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    ada = await connect(kernel, through=cable)
    alan = await connect(kernel, through=cable)
    cells = [await one.execute(code) for one, code in ((ada, held.code), (alan, "'of alan'"))]
    opening = await held.held()
    await cable.cut()
    held.pass_(opening)
    for channels, cell in ((ada, cells[0]), (alan, cells[1])):
        back: Channels = await connect(kernel, session=channels.session)
        await back.over(cell)
        await back.idle(cells[1])
        assert [cell] == [one.parent_id for one in back.heard.of("execute_reply")]


async def test_a_peer_that_is_gone_without_a_word_is_found(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--Channels.ping_s=0.5") as server:
        cable = await Cable.laid(server.port)
        connect = Connect(server.url)
        async with calling(server) as client:
            kernel = await client.kernel()
            channels = await connect(kernel, through=cable)
            await channels.status("idle")
            await cable.freeze()
            while (await kernel.call("GET")).json["connections"]:
                pass
            back = await connect(kernel, session=channels.session)
            assert "2\n" == (await back.run("print(1 + 1)")).text()
        await connect.close()
        await cable.take_up()


async def test_a_kernel_is_not_held_up_by_a_client_that_is_gone(
    client: Client, kernel: Kernel, connect: Connect, cable: Cable
) -> None:
    gone = await connect(kernel, through=cable)
    await gone.status("idle")
    await cable.freeze()
    other = await connect(kernel)
    assert lines(range(5000)) == (await other.run(prints(0, 5000))).text()
