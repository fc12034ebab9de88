"""What a kernel is asked beside cells: the same answers from one that was forked."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.messaging.facts import (
    Display,
    DisplayUpdate,
    Idle,
    InputRequested,
    Replied,
    fact_of,
)
from kernel_gateway.messaging.message import Channel, MsgId, input_reply

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.messaging.raw import RawMessage
    from tests.kernel.alike.conftest import Answering, Way

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_kernel_says_who_it_is(cold: Way, forked: Way) -> None:
    expected, found = [await way.shared.asks("kernel_info_request") for way in (cold, forked)]
    for told in (expected, found):
        told["banner"] = told["banner"].partition("\nTip: ")[0]  # drawn by lot
    assert expected == found
    assert "ok" == found["status"]


@pytest.mark.parametrize("code", ["import o", "'text'.upp", "%ti", "open('./progr", "[1][0].bit_"])
async def test_code_is_completed(cold: Way, forked: Way, code: str) -> None:
    (cold.request["cwd"] / "programs.txt").touch()
    content: dict[str, Any] = {"code": code, "cursor_pos": len(code)}
    expected, found = [
        await way.shared.asks("complete_request", **content) for way in (cold, forked)
    ]
    assert expected == found
    assert found["matches"]


@pytest.mark.parametrize("level", [0, 1])
async def test_objects_are_inspected(cold: Way, forked: Way, level: int) -> None:
    content: dict[str, Any] = {"code": "len", "cursor_pos": 3, "detail_level": level}
    expected, found = [
        await way.shared.asks("inspect_request", **content) for way in (cold, forked)
    ]
    assert expected == found
    assert found["found"]


@pytest.mark.parametrize("code", ["for one in two:", "1 + 1", "(", "1)"])
async def test_code_is_known_to_be_complete_or_not(cold: Way, forked: Way, code: str) -> None:
    expected, found = [
        await way.shared.asks("is_complete_request", code=code) for way in (cold, forked)
    ]
    assert expected == found


async def test_there_is_no_history(kernel: Answering) -> None:
    asked: dict[str, Any] = {"hist_access_type": "tail", "n": 5, "output": False, "raw": True}
    assert [] == (await kernel.asks("history_request", **asked))["history"]


async def test_nobody_has_been_told_of_a_terminal(cold: Way, forked: Way) -> None:
    """As a kernel says to who has started it by hand; nor is there a line of the server."""
    for way in (cold, forked):
        fresh = await way.another()
        await fresh.tells("1")
        assert "" == fresh.started.kernel.output().text
        await fresh.started.kernel.kill()
        await fresh.started.kernel.wait_dead()


async def test_a_kernel_says_what_it_uses(kernel: Answering) -> None:
    used = await kernel.asks("usage_request", on=Channel.CONTROL)
    assert await kernel.tells("import os\nos.getpid()") == used["pid"]


async def test_widgets_have_none_to_talk_to_yet(kernel: Answering) -> None:
    assert {} == (await kernel.asks("comm_info_request"))["comms"]


# -- input and display ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "password"),
    [("input('who? ')", False), ("__import__('getpass').getpass('who? ')", True)],
)
async def test_a_cell_asks(kernel: Answering, code: str, password: bool) -> None:
    started = kernel.started
    msg_id = started.send(f"print({code})", allow_stdin=True)
    asked = await started.recorder.message("input_request", msg_id)
    assert InputRequested(prompt="who? ", password=password) == fact_of(asked)
    started.kernel.send(input_reply(MsgId(f"{msg_id}-answer"), "me", parent=asked.header))
    await started.recorder.ended(msg_id)
    assert "me\n" == started.recorder.stdout(msg_id)


async def test_a_cell_is_debugged_by_questions(kernel: Answering) -> None:
    started = kernel.started
    msg_id = started.send(
        "import pdb\ndef add(a, b):\n    pdb.set_trace()\n    return a + b\nprint(add(40, 2))",
        allow_stdin=True,
    )
    for number, answer in enumerate(("p a + 1", "c")):
        asked = await _question(kernel, msg_id, number)
        reply = input_reply(MsgId(f"{msg_id}-{number}"), answer, parent=asked.header)
        started.kernel.send(reply)
    await started.recorder.ended(msg_id)
    said = started.recorder.stdout(msg_id)
    assert "41\n" in said
    assert said.endswith("42\n")


async def _question(kernel: Answering, msg_id: MsgId, number: int) -> RawMessage:
    """The one with this number, once it is there."""

    def asked() -> list[RawMessage]:
        messages = kernel.started.recorder.of(msg_id)
        return [one for one in messages if one.msg_type == "input_request"][number:]

    await kernel.started.recorder.until(asked)
    return asked()[0]


async def test_a_cell_that_may_not_ask_is_told(kernel: Answering) -> None:
    assert "StdinNotImplementedError" in (await kernel.raises("input()"))[-1]


async def test_outputs_are_shown_and_changed(cold: Way, forked: Way) -> None:
    code = (
        "from IPython.display import HTML, display\n"
        "shown = display(HTML('<b>first</b>'), display_id='one')\n"
        "shown.update(HTML('<b>second</b>'))\n"
        "class Picture:\n"
        "    def _repr_mimebundle_(self, **_): return {'image/png': 'AAAA', 'text/plain': 'it'}\n"
        "Picture()"
    )
    expected, found = [await _shown(way.shared, code) for way in (cold, forked)]
    assert expected == found
    assert [Display, DisplayUpdate, Display] == [kind for kind, _, _ in found]


async def _shown(kernel: Answering, code: str) -> list[Any]:
    facts = kernel.started.recorder.facts(await kernel.runs(code))
    kinds = (Display, DisplayUpdate)
    return [(type(one), one.data, one.metadata) for one in facts if isinstance(one, kinds)]


async def test_a_hook_of_the_user_shows_values(kernel: Answering) -> None:
    msg_id = await kernel.runs(
        "plain = get_ipython().display_formatter.formatters['text/plain']\n"
        "plain.for_type(set, lambda value, printer, cycle: printer.text('a set'))\n"
        "{1}"
    )
    await kernel.runs("plain.pop(set)")
    facts = kernel.started.recorder.facts(msg_id)
    assert ["a set"] == [one.data["text/plain"] for one in facts if isinstance(one, Display)]


async def test_the_inline_backend_is_named_to_libraries_that_draw(kernel: Answering) -> None:
    assert "module://matplotlib_inline.backend_inline" == await kernel.tells(
        "import os\nos.environ['MPLBACKEND']"
    )


async def test_handlers_of_errors_that_the_user_sets_are_asked(kernel: Answering) -> None:
    await kernel.runs(
        "def handle(shell, kind, value, trace, tb_offset=None): print('handled', value)\n"
        "get_ipython().set_custom_exc((ZeroDivisionError,), handle)"
    )
    msg_id = await kernel.started.run("1 / 0")
    assert "handled division by zero\n" == kernel.printed(msg_id)
    await kernel.runs("get_ipython().set_custom_exc((), None)")


# -- beside the cells -----------------------------------------------------------------------------


async def test_a_subshell_answers_while_a_cell_runs(kernel: Answering, folder: Path) -> None:
    gate = folder / "gate"
    os.mkfifo(gate)
    subshell = await kernel.started.subshell()
    held = kernel.started.send(f"print('begun', flush=True); open({str(gate)!r}).close()")
    await kernel.started.printed(held, "begun")
    value: Any = await kernel.started.value("6 * 7", subshell)
    assert "42" == value["data"]["text/plain"]
    gate.write_text("")
    await kernel.started.recorder.ended(held)
    gate.unlink()
    deleted = await kernel.asks("delete_subshell_request", on=Channel.CONTROL, subshell_id=subshell)
    assert "ok" == deleted["status"]


class Debugger:
    """What JupyterLab sends when its debugger is switched on."""

    def __init__(self, kernel: Answering) -> None:
        self._kernel = kernel
        self._seq = count(1)

    def send(self, command: str, **arguments: Any) -> MsgId:
        request = {
            "type": "request",
            "seq": next(self._seq),
            "command": command,
            "arguments": arguments,
        }
        return self._kernel.sends("debug_request", on=Channel.CONTROL, **request)

    async def reply(self, msg_id: MsgId) -> Any:
        reply: Any = (await self._kernel.started.recorder.message("debug_reply", msg_id)).content
        assert reply["success"], reply
        return reply.get("body")

    async def ask(self, command: str, **arguments: Any) -> Any:
        return await self.reply(self.send(command, **arguments))

    async def event(self, name: str) -> Any:
        recorder = self._kernel.started.recorder

        def found() -> list[Any]:
            told = [one.content for one in recorder.messages if one.msg_type == "debug_event"]
            return [content for content in told if content.get("event") == name]

        await recorder.until(found)
        return found()[0].get("body")


async def test_the_debugger_stops_a_cell_and_lets_it_go_on(own: Answering) -> None:
    debugger = Debugger(own)
    assert not (await debugger.ask("debugInfo"))["isStarted"]
    await debugger.ask(
        "initialize", clientID="tests", adapterID="python", pathFormat="path",
        linesStartAt1=True, columnsStartAt1=True,
    )  # fmt: skip
    attach = debugger.send("attach")
    await debugger.event("initialized")
    await debugger.ask("configurationDone")
    await debugger.reply(attach)

    code = "first = 1\nsecond = first + 1\nprint(second)"
    path = (await debugger.ask("dumpCell", code=code))["sourcePath"]
    points = await debugger.ask(
        "setBreakpoints", source={"path": path}, breakpoints=[{"line": 2}], sourceModified=False
    )
    assert [True] == [point["verified"] for point in points["breakpoints"]]
    cell = own.started.send(code)
    thread = (await debugger.event("stopped"))["threadId"]
    stack = await debugger.ask("stackTrace", threadId=thread)
    assert (2, "<module>") == tuple(stack["stackFrames"][0][name] for name in ("line", "name"))
    await debugger.ask("continue", threadId=thread)
    await own.started.recorder.ended(cell)
    assert "2\n" == own.printed(cell)
    await debugger.ask("disconnect", restart=False, terminateDebuggee=True)
    assert {Replied, Idle} <= {type(fact) for fact in own.started.recorder.facts(cell)}
