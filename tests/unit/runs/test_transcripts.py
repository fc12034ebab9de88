"""Runs on what real kernels said: recordings (`tests/transcripts`), played as they came and in any
other order in which their sockets could have delivered them."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.messaging.facts import fact_of
from kernel_gateway.messaging.message import Channel, Header, Message, MsgId
from kernel_gateway.runs import actions, events, records
from kernel_gateway.runs.answer import Cursor, Standing, Status, answer
from kernel_gateway.runs.outputs import Outputs
from kernel_gateway.runs.plan import Mode
from kernel_gateway.runs.records import Reason
from tests.unit.runs.driver import Played

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel_gateway.runs.records import Record

FOLDER = Path(__file__).parents[2] / "transcripts"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
ANSWER = "correct horse"
CHANNELS = tuple(Channel)


@dataclass(frozen=True)
class Expected:
    """Written by hand from the code of the recording."""

    end: tuple[str, str, int | None]
    step: str
    console: list[tuple[str, str]]
    outputs: list[dict[str, Any]]
    metrics: dict[str, Any] = field(default_factory=dict)
    mode: Mode = Mode.QUERY
    widgets: dict[str, dict[str, Any]] | None = None  # of each by its comm what matters of it
    history: tuple[str, ...] = ("queued", "running", "finished")
    console_if_late: list[tuple[str, str]] | None = None  # the reply came after a thread's output


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


BIG = "".join(f"{number:02}" * 5000 + "\n" for number in range(20))

EXIT_TEXT = (
    "An exception has occurred, use %tb to see the full traceback.\n\nSystemExit: 2\n"
    "site-packages/IPython/core/interactiveshell.py:3831: UserWarning: "
    "To exit: use 'exit', 'quit', or Ctrl-D.\n"
    "  warn(\"To exit: use 'exit', 'quit', or Ctrl-D.\", stacklevel=1)\n"
)

EXPECTED = {
    "ok": Expected(
        end=("ok", "done", 0),
        step="ok",
        console=[("stdout", "out\n"), ("stderr", "err\n"), ("stdout", "42")],
        outputs=[
            stream("out\n"),
            stream("err\n", "stderr"),
            {
                "output_type": "execute_result",
                "data": {"text/plain": "42"},
                "metadata": {},
                "execution_count": 1,
            },
        ],
    ),
    "error": Expected(
        end=("error", "exception", 1),
        step="error",
        console=[("stdout", "before\n"), ("stderr", "ZeroDivisionError: division by zero")],
        outputs=[stream("before\n"), {"output_type": "error", "ename": "ZeroDivisionError"}],
    ),
    "system_exit": Expected(
        end=("error", "exit_code", 2),
        step="error",
        console=[
            ("stderr", EXIT_TEXT),
        ],
        outputs=[
            {"output_type": "error", "ename": "SystemExit", "evalue": "2"},
            {"output_type": "stream", "name": "stderr"},
        ],
    ),
    "asks_input": Expected(
        end=("ok", "done", 0),
        step="ok",
        history=("queued", "running", "waiting-input", "running", "finished"),
        console=[("stdout", "first\nname? Hello Ada\n")],
        outputs=[stream("first\nHello Ada\n")],
    ),
    "asks_password": Expected(
        end=("ok", "done", 0),
        step="ok",
        history=("queued", "running", "waiting-input", "running", "finished"),
        console=[("stdout", "secret: 13\n")],
        outputs=[stream("13\n")],
    ),
    "display_update": Expected(
        end=("ok", "done", 0),
        step="ok",
        console=[("stdout", "'one'between\n'two'"), ("html", "<b>three</b>")],
        outputs=[
            {"output_type": "display_data", "data": {"text/plain": "'two'"}, "metadata": {}},
            stream("between\n"),
            {
                "output_type": "display_data",
                "data": {
                    "text/html": "<b>three</b>",
                    "text/plain": "<IPython.core.display.HTML object>",
                },
                "metadata": {},
            },
        ],
    ),
    "clear_output": Expected(
        end=("ok", "done", 0),
        step="ok",
        console=[("stdout", "a\nb\nc\n")],
        outputs=[stream("c\n")],
    ),
    "late_output": Expected(
        end=("ok", "done", 0),
        step="ok",
        console=[("stdout", "in time\n")],
        console_if_late=[("stdout", "in time\nlate\n")],
        outputs=[stream("in time\nlate\n")],
    ),
    "interrupted": Expected(
        end=("cancelled", "cancelled", 130),
        step="cancelled",
        history=("queued", "running", "cancelling", "finished"),
        console=[("stdout", "asleep\n"), ("stderr", "KeyboardInterrupt: ")],
        outputs=[stream("asleep\n"), {"output_type": "error", "ename": "KeyboardInterrupt"}],
    ),
    "aborted": Expected(
        end=("ok", "done", 0),
        step="ok",
        console=[("stdout", "mine\n")],
        outputs=[stream("mine\n")],
    ),
    "died": Expected(
        end=("lost", "kernel_died", 3),
        step="died",
        console=[("stdout", "last words\n"), ("log", "It died."), ("stderr", "It died.\n")],
        outputs=[stream("last words\n"), stream("It died.\n", "stderr")],
    ),
    "restarted": Expected(
        end=("lost", "kernel_restarted", 137),
        step="died",
        console=[("stdout", "asleep\n"), ("log", "It died."), ("stderr", "It died.\n")],
        outputs=[stream("asleep\n"), stream("It died.\n", "stderr")],
    ),
    "big_print": Expected(
        end=("ok", "done", 0), step="ok", console=[("stdout", BIG)], outputs=[stream(BIG)]
    ),
    "metrics": Expected(
        end=("ok", "done", 0),
        step="ok",
        console=[("stdout", "done\n")],
        outputs=[stream("done\n")],
        metrics={"loss": 0.5, "step": 3, "train": {"loss": [1.0, 0.5, 1 / 3]}},
    ),
    "widgets": Expected(
        mode=Mode.NOTEBOOK,
        end=("ok", "done", 0),
        step="ok",
        console=[
            ("stdout", "first\ncleared\nouter\n'inner'outer again\nlast\nOutput()"),
        ],
        outputs=[
            stream("first\nlast\n"),
            {
                "output_type": "display_data",
                "data": {
                    "text/plain": "Output()",
                    "application/vnd.jupyter.widget-view+json": {
                        "version_major": 2,
                        "version_minor": 0,
                        "model_id": "comm10",
                    },
                },
                "metadata": {},
            },
        ],
        widgets={
            "comm1": {"_model_name": "LayoutModel"},
            "comm2": {"_model_name": "SliderStyleModel"},
            "comm3": {"_model_name": "IntSliderModel", "value": 5, "layout": "IPY_MODEL_comm1"},
            "comm4": {"_model_name": "LayoutModel"},
            "comm5": {"_model_name": "ImageModel", "value": b"\x00\x01"},
            "comm6": {"_model_name": "LayoutModel"},
            "comm7": {"_model_name": "HTMLStyleModel"},
            "comm9": {"_model_name": "LayoutModel"},
            "comm10": {
                "_model_name": "OutputModel",
                "msg_id": "",
                "outputs": [stream("outer\nouter again\n")],
            },
            "comm11": {"_model_name": "LayoutModel"},
            "comm12": {
                "_model_name": "OutputModel",
                "outputs": [
                    {
                        "output_type": "display_data",
                        "data": {"text/plain": "'inner'"},
                        "metadata": {},
                    }
                ],
            },
        },
    ),
    "progress": Expected(
        mode=Mode.NOTEBOOK,
        end=("ok", "done", 0),
        step="ok",
        console=[("stdout", "          0/20")],
        outputs=[{"output_type": "display_data"}],
        widgets={
            "comm1": {"_model_name": "LayoutModel"},
            "comm2": {"_model_name": "ProgressStyleModel"},
            "comm3": {"_model_name": "FloatProgressModel", "value": 20.0, "bar_style": "success"},
            "comm4": {"_model_name": "LayoutModel"},
            "comm5": {"_model_name": "HTMLStyleModel"},
            "comm6": {"_model_name": "HTMLModel", "value": ""},
            "comm7": {"_model_name": "LayoutModel"},
            "comm8": {"_model_name": "HTMLStyleModel"},
            "comm9": {"_model_name": "HTMLModel", "value": "20/20"},
            "comm10": {"_model_name": "LayoutModel"},
            "comm11": {
                "_model_name": "HBoxModel",
                "children": ["IPY_MODEL_comm6", "IPY_MODEL_comm3", "IPY_MODEL_comm9"],
            },
        },
    ),
}

LINES: dict[str, list[dict[str, Any]]] = {
    name: [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
    for name in EXPECTED
}


def test_each_recording_has_its_expectation() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recording_played_as_it_came_gives_what_its_code_says(name: str) -> None:
    judge(name, replay(name, min))


@pytest.mark.parametrize("name", EXPECTED)
@given(data=st.data())
def test_a_recording_gives_the_same_in_whatever_order_its_sockets_deliver(
    name: str, data: st.DataObject
) -> None:
    judge(name, replay(name, lambda possible: data.draw(st.sampled_from(possible))))


def test_output_of_a_thread_after_the_end_is_late() -> None:
    log = replay("late_output", min).stored
    assert [("in time\n", False), ("late\n", True)] == [
        (record.body.text, record.body.late)
        for record in log
        if isinstance(record.body, records.LogText)
    ]


def test_after_a_restart_the_new_kernel_takes_the_next_run() -> None:
    lines = LINES["restarted"]
    second = lines[1 + lines.index({"process": "restarted", "signal": "SIGKILL"}) :]
    run = Played("print('awake')")
    run.ready()
    for line in second[1:]:
        say(run, {**line, "parent": "m1"})
    assert ("ok", "done", 0) == run.end
    assert [("stdout", "awake\n")] == shown(run.stored)


def test_a_recorded_password_is_nowhere() -> None:
    assert ANSWER not in (FOLDER / "asks_password.jsonl").read_text()
    run = replay("asks_password", min)
    assert ANSWER not in repr(run.bodies)
    assert actions.SendInput(MsgId("m1"), ANSWER) in run.done


# -- playing --------------------------------------------------------------------------------------


def replay(name: str, choose: Callable[[list[int]], int]) -> Played:
    """Deliver every line once: the kernel's when its socket is at it and what it was asked before
    has been asked, ours when the run asks for it."""
    lines = LINES[name]
    run = Played("the code", mode=EXPECTED[name].mode)
    run.ready()
    queues = _queues(lines)
    asked = 0  # the first line of ours that has not been performed yet
    while any(queues.values()) or asked < len(lines):
        while asked < len(lines) and _perform(run, lines, asked, queues):
            asked = _next_of_ours(lines, asked + 1)
        if possible := [queue[0] for queue in queues.values() if queue and queue[0] < asked]:
            chosen = choose(sorted(possible))
            queues[lines[chosen]["channel"]].popleft()
            say(run, lines[chosen])
    return run


def _queues(lines: Sequence[dict[str, Any]]) -> dict[str, deque[int]]:
    queues: dict[str, deque[int]] = {channel: deque() for channel in CHANNELS}
    for index, line in enumerate(lines):
        if "channel" in line:
            queues[line["channel"]].append(index)
    return queues


def _next_of_ours(lines: Sequence[dict[str, Any]], start: int) -> int:
    return next((i for i in range(start, len(lines)) if "channel" not in lines[i]), len(lines))


def _perform(
    run: Played, lines: Sequence[dict[str, Any]], index: int, queues: dict[str, deque[int]]
) -> bool:
    """What we sent, or what became of the process; False while it is not time for it yet."""
    match lines[index]:
        case {"sent": "execute_request", "id": msg_id}:
            return msg_id == "other" or run.run.finished or _has_sent(run, msg_id)
        case {"sent": "kernel_info_request"}:
            return any(isinstance(action, actions.RaiseBarrier) for action in run.done)
        case {"sent": "input_reply"}:
            if run.run.prompt is None:
                return False
            run.answers(ANSWER if run.run.prompt.password else "Ada")
            return True
        case {"sent": "interrupt"}:
            run.cancel()
            return actions.Interrupt() in run.done
        case {"process": what, **how}:
            if any(queue and queue[0] < index for queue in queues.values()):
                return False
            code = {"exited": "kernel_died", "restarted": "kernel_restarted"}[what]
            run.hears(events.KernelLost(Reason(code=code, message="It died.", **how)))
            return True
    raise AssertionError(lines[index])


def _has_sent(run: Played, msg_id: str) -> bool:
    return any(
        isinstance(action, actions.SendExecute) and action.msg_id == msg_id for action in run.done
    )


def say(run: Played, line: dict[str, Any]) -> None:
    fact = fact_of(
        Message(
            channel=Channel(line["channel"]),
            header=Header(msg_id=MsgId("k"), msg_type=line["msg_type"], session="kernel"),
            parent=Header(msg_id=line["parent"], msg_type="execute_request", session="us"),
            content=line["content"],
            buffers=tuple(map(b64decode, line.get("buffers", ()))),
        )
    )
    if line["parent"].startswith("b"):
        if line["content"].get("execution_state") == "idle":
            run.barrier(1)
    elif fact is not None:
        run.says(fact, to=line["parent"])


def judge(name: str, run: Played) -> None:
    expected = EXPECTED[name]
    assert expected.end == run.end
    assert [expected.step] == run.steps
    assert expected.history == tuple(run.history)
    assert expected.metrics == run.run.view().metrics
    log = run.stored
    assert shown(log) in (expected.console, expected.console_if_late)
    outputs = Outputs()
    for record in log:
        outputs.apply(record)
    assert len(expected.outputs) == len(outputs.outputs(0))
    for wanted, output in zip(expected.outputs, outputs.outputs(0), strict=True):
        assert wanted == {key: output[key] for key in wanted}
    assert_widgets(expected.widgets, outputs.widgets())


def assert_widgets(expected: dict[str, dict[str, Any]] | None, metadata: Any) -> None:
    if expected is None:
        assert metadata is None
        return
    content = metadata["application/vnd.jupyter.widget-state+json"]
    assert (2, 0) == (content["version_major"], content["version_minor"])
    assert expected == {
        name: {trait: traits[trait] for trait in expected.get(name, traits)}
        for name, model in content["state"].items()
        for traits in [_traits(model)]
    }


def _traits(model: Any) -> dict[str, Any]:
    """As a page puts them together."""
    state = model["state"]
    for trait in ("_model_name", "_model_module", "_model_module_version"):
        assert state[trait] == model[trait.removeprefix("_")]
    of_buffers = {
        buffer["path"][0]: b64decode(buffer["data"]) for buffer in model.get("buffers", ())
    }
    return {**state, **of_buffers}


def shown(log: Sequence[Record]) -> list[tuple[str, str]]:
    """The console of one answer; of a traceback only its last line, of a notice only its text."""
    given = answer("r", log, Cursor(), Standing())
    assert given.status is Status.FINISHED
    return [
        (item.type, _plain(item.value) if isinstance(item.value, str) else item.value[-1])
        for item in given.console
    ]


def _plain(text: str) -> str:
    text = ANSI.sub("", text)
    return text.splitlines()[-1] if "Traceback (most recent" in text else text
