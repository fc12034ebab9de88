"""Control never waits behind shell: interrupts, ends, subshells and the debugger of JupyterLab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.jupyter.channels import Channels, Told
    from tests.e2e.jupyter.conftest import Connect
    from tests.e2e.main_job.gateway import Gate, Kernel

STANDS = "import threading\nprint('stands', flush=True)\nthreading.Event().wait(60)"


async def stands(channels: Channels) -> str:
    """A cell that ends by an interrupt alone."""
    cell = await channels.execute(STANDS)
    await channels.until(lambda one: one.type == "stream" and one.parent_id == cell)
    return cell


# -- interrupt and shutdown -----------------------------------------------------------------------


async def test_an_interrupt_request_interrupts(
    shared: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(shared, framing=framing)
    cell = await stands(channels)
    assert "ok" == (await channels.ask("control", "interrupt_request")).reply["status"]
    assert "KeyboardInterrupt" == (await channels.over(cell)).reply["ename"]
    assert "2\n" == (await channels.run("print(1 + 1)")).text()


async def test_a_shutdown_request_ends_the_kernel_for_good(
    kernel: Kernel, connect: Connect, framing: str
) -> None:
    channels, other = await connect(kernel, framing=framing), await connect(kernel)
    process = await kernel.process()
    sent = await channels.send("control", "shutdown_request", {"restart": False})
    await channels.status("dead")
    await other.status("dead")
    await process.end()
    assert {"status": "ok", "restart": False} == (await channels.reply(sent)).content
    model = (await kernel.call("GET")).json
    assert "dead" == model["execution_state"]
    assert "A client has shut the kernel down." == model["reason"]


async def test_a_shutdown_request_that_asks_for_it_brings_a_new_kernel(
    kernel: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(kernel, framing=framing)
    await channels.run("kept = 1")
    before = len(channels.heard)
    await channels.send("control", "shutdown_request", {"restart": True})
    await channels.status("restarting", since=before)
    await channels.status("idle", since=before)
    assert "False\n" == (await channels.run("print('kept' in globals())")).text()
    assert 2 == await kernel.generation()


# -- subshells ------------------------------------------------------------------------------------


async def test_a_subshell_executes_while_the_main_one_is_busy(
    kernel: Kernel, connect: Connect, framing: str, gate: Callable[[str], Gate]
) -> None:
    held = gate("main")
    channels = await connect(kernel, framing=framing)
    cell = await channels.execute(f"{held.code}\nprint('of the main one')")
    opening = await held.held()
    made = await channels.ask("control", "create_subshell_request")
    subshell = made.reply["subshell_id"]
    beside = await channels.run("print('beside')", subshell_id=subshell)
    assert "beside\n" == beside.text()
    assert [] == channels.of(cell).of("execute_reply")
    listed = await channels.ask("control", "list_subshell_request")
    assert [subshell] == listed.reply["subshell_id"]
    held.pass_(opening)
    assert "of the main one\n" == (await channels.over(cell)).text()
    gone = await channels.ask("control", "delete_subshell_request", subshell_id=subshell)
    assert "ok" == gone.reply["status"]
    listed = await channels.ask("control", "list_subshell_request")
    assert [] == listed.reply["subshell_id"]


async def test_a_run_by_rest_does_not_wait_for_a_subshell(
    kernel: Kernel, connect: Connect, gate: Callable[[str], Gate]
) -> None:
    held = gate("subshell")
    channels = await connect(kernel)
    made = await channels.ask("control", "create_subshell_request")
    subshell = made.reply["subshell_id"]
    cell = await channels.execute(held.code, subshell_id=subshell)
    opening = await held.held()
    assert "2" == await kernel.value("1 + 1")
    held.pass_(opening)
    await channels.over(cell)


# -- the debugger ---------------------------------------------------------------------------------


class Debugger:
    """What JupyterLab sends when its debugger is switched on."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._seq = 0

    async def send(self, command: str, **arguments: Any) -> str:
        self._seq += 1
        content = {
            "type": "request",
            "seq": self._seq,
            "command": command,
            "arguments": arguments,
        }
        return await self._channels.send("control", "debug_request", content)

    async def ask(self, command: str, **arguments: Any) -> Any:
        reply: Told = await self._channels.over(await self.send(command, **arguments))
        assert reply.reply["success"], reply.reply
        return reply.reply.get("body")

    async def attach(self) -> None:
        """`initialize`, and `attach`, which debugpy answers after `configurationDone` alone."""
        info = await self.ask("debugInfo")
        assert not info["isStarted"]
        await self.ask(
            "initialize", clientID="tests", adapterID="python", pathFormat="path",
            linesStartAt1=True, columnsStartAt1=True,
        )  # fmt: skip
        attach = await self.send("attach")
        await self._event("initialized")
        await self.ask("configurationDone")
        await self._channels.reply(attach)

    async def _event(self, name: str) -> None:
        await self._channels.until(
            lambda one: one.type == "debug_event" and one.content.get("event") == name
        )

    async def stopped(self, *, since: int) -> int:
        event = await self._channels.until(
            lambda one: one.type == "debug_event" and one.content["event"] == "stopped",
            since=since,
        )
        thread: int = event.content["body"]["threadId"]
        return thread


@pytest.mark.parametrize("framing", ["v1"])
async def test_the_debugger_stops_a_cell_while_it_runs_and_lets_it_go_on(
    kernel: Kernel, connect: Connect, framing: str
) -> None:
    channels = await connect(kernel, framing=framing)
    debugger = Debugger(channels)
    await debugger.attach()
    code = "first = 1\nsecond = first + 1\nprint(second)"
    path = (await debugger.ask("dumpCell", code=code))["sourcePath"]
    points = await debugger.ask(
        "setBreakpoints", source={"path": path}, breakpoints=[{"line": 2}], sourceModified=False
    )
    assert [True] == [point["verified"] for point in points["breakpoints"]]
    before = len(channels.heard)
    cell = await channels.execute(code)
    thread = await debugger.stopped(since=before)
    assert [] == channels.of(cell).of("execute_reply")
    stack = await debugger.ask("stackTrace", threadId=thread)
    assert 2 == stack["stackFrames"][0]["line"]
    await debugger.ask("continue", threadId=thread)
    assert "2\n" == (await channels.over(cell)).text()
    await debugger.ask("disconnect", restart=False, terminateDebuggee=True)


async def test_the_debugger_is_switched_on_while_a_cell_runs(
    kernel: Kernel, connect: Connect, gate: Callable[[str], Gate]
) -> None:
    held = gate("cell")
    channels = await connect(kernel)
    cell = await channels.execute(held.code)
    opening = await held.held()
    debugger = Debugger(channels)
    assert not (await debugger.ask("debugInfo"))["isStarted"]
    held.pass_(opening)
    assert "ok" == (await channels.over(cell)).reply["status"]
