"""What a command prints, what it ends with and where it runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zmq

from kernel_gateway.messaging.facts import Busy, Idle, Raised, Replied, Stream
from kernel_gateway.messaging.message import Channel, MsgId, Request
from tests.kernel.command_kernel.conftest import SPECS, open_shell
from tests.shared.programs import needs

if TYPE_CHECKING:
    from tests.kernel.command_kernel.conftest import Shell

WRITES_HALF_A_CHARACTER = r"""
import os, sys
os.write(1, b"\xe2\x82")
sys.stdin.read(0)
open(sys.argv[1]).read()
os.write(1, b"\xac\n")
"""


async def test_it_says_who_it_is(shell: Shell) -> None:
    info = await shell.recorder.ready()
    assert ("kernel_gateway_command", "bash") == (info.implementation, info.language_info["name"])
    spec = json.loads((SPECS / "kernel-gateway-command" / "kernel.json").read_text())
    assert spec["kernel_protocol_version"] == info.protocol_version


async def test_stdout_and_stderr_come_apart(shell: Shell) -> None:
    msg_id = await shell.run("echo to stdout; echo to stderr >&2")
    assert "to stdout\n" == shell.text(msg_id)
    assert "to stderr\n" == shell.text(msg_id, "stderr")


async def test_output_comes_between_busy_and_idle_and_nothing_else_does(shell: Shell) -> None:
    msg_id = await shell.run("echo hello")
    facts = [fact for fact in shell.recorder.facts(msg_id) if not isinstance(fact, Replied)]
    assert [Busy(), Stream(name="stdout", text="hello\n"), Idle()] == facts


async def test_a_line_is_shown_while_the_command_runs(shell: Shell, tmp_path: Path) -> None:
    """`cat` would keep it in its buffer if its stdout were a pipe."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    msg_id = shell.send(f"echo first; python3 -c 'print(1); open(\"{fifo}\").read(); print(2)'")
    await shell.printed(msg_id, "first\n1\n")
    assert "2" not in shell.text(msg_id)
    await asyncio.to_thread(fifo.write_text, "go on")
    assert 0 == await shell.exit_code(msg_id)
    assert "first\n1\n2\n" == shell.text(msg_id)


async def test_an_unfinished_line_is_shown_while_the_command_runs(
    shell: Shell, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    msg_id = shell.send(f"printf 50%%; read x < {fifo}; echo .")
    await shell.printed(msg_id, "50%")
    await asyncio.to_thread(fifo.write_text, "go on\n")
    await shell.recorder.ended(msg_id)
    assert "50%.\n" == shell.text(msg_id)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("true", 0),
        ("", 0),
        (" \n", 0),
        ("exit 3", 3),
        ("/etc/passwd", 126),
        ("no-such-command", 127),
        ("kill -KILL $$", 137),
        ("sh -c 'kill -TERM $$'; exit $?", 143),
        ("if then", 2),
    ],
)
async def test_the_exit_code_is_in_the_reply(shell: Shell, code: str, exit_code: int) -> None:
    msg_id = shell.send(code)
    assert exit_code == await shell.exit_code(msg_id)
    reply = shell.recorder.reply(msg_id)
    failed = exit_code != 0
    assert ("error" if failed else "ok") == reply.status
    assert ("ExitCode", str(exit_code)) == (reply.ename, reply.evalue) or not failed
    assert not any(isinstance(fact, Raised) for fact in shell.recorder.facts(msg_id))


@pytest.mark.parametrize("code", ["echo '" + "x" * 200_000 + "'", "echo a\0b"])
async def test_a_command_that_no_system_takes_says_why(shell: Shell, code: str) -> None:
    msg_id = shell.send(code)
    assert 126 == await shell.exit_code(msg_id)
    assert shell.text(msg_id, "stderr").startswith("The command cannot be started: ")
    assert "still here\n" == await shell.output("echo still here")


async def test_nothing_is_added_to_a_line_and_nothing_wraps(shell: Shell) -> None:
    text = r"a\nb\r\nc\td" + "x" * 500
    msg_id = await shell.run(f"printf '{text}'; printf '{text}' >&2")
    wanted = "a\nb\r\nc\td" + "x" * 500
    assert wanted == shell.text(msg_id)
    assert wanted == shell.text(msg_id, "stderr")


async def test_a_character_that_is_written_in_two_parts_is_one(
    shell: Shell, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "half.py").write_text(WRITES_HALF_A_CHARACTER)
    msg_id = shell.send(f"python3 {tmp_path}/half.py {fifo}")
    await asyncio.to_thread(fifo.write_text, "go on")
    await shell.recorder.ended(msg_id)
    assert "€\n" == shell.text(msg_id)


async def test_raw_bytes_become_replacement_characters(shell: Shell) -> None:
    assert "a�b�" == await shell.output(r"printf 'a\xffb\xe2\x82'")


async def test_directory_and_variables_do_not_reach_the_next_cell(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await shell.output("pwd")
    await shell.run("cd /; export LEFT=behind; alias left=behind")
    assert before == await shell.output("pwd")
    assert "\n" == await shell.output("echo $LEFT")


async def test_programs_are_told_to_be_plain_and_learn_nothing_of_our_client(shell: Shell) -> None:
    names = "TERM|PAGER|GIT_PAGER|NO_COLOR|JPY_[A-Z_]*"
    assert "GIT_PAGER=cat\nNO_COLOR=1\nPAGER=cat\nTERM=dumb\n" == await shell.output(
        f"env | grep -E '^({names})=' | sort"
    )


async def test_no_pager_waits_for_keys(shell: Shell, tmp_path: Path) -> None:
    needs("git")
    author = "-c user.name=me -c user.email=me@example.org"
    messages = " ".join(f"-m {number}" for number in range(100))
    msg_id = await shell.talk(
        f"cd {tmp_path}; git init -q . && git {author} commit -q --allow-empty {messages}; git log"
    )
    assert 0 == await shell.exit_code(msg_id)
    assert "\n    99\n" in shell.text(msg_id)


async def test_a_command_has_three_descriptors_and_no_more(shell: Shell) -> None:
    python = 'import os; print(sorted(map(int, os.listdir("/proc/self/fd"))))'
    assert "[0, 1, 2, 3]\n" == await shell.output(f"python3 -c '{python}'")  # 3: the listing


async def test_a_flood_comes_whole_and_in_order(shell: Shell) -> None:
    msg_id = await shell.run("seq 200000")
    assert "".join(f"{n}\n" for n in range(1, 200_001)) == shell.text(msg_id)
    assert len(shell.recorder.of(msg_id)) < 2000


async def test_what_is_printed_last_is_there(shell: Shell) -> None:
    """The terminal still holds it when the process is gone."""
    for _ in range(20):
        msg_id = await shell.run("head -c 60000 /dev/zero | tr '\\0' x; printf end >&2")
        assert 60_000 == len(shell.text(msg_id))
        assert "end" == shell.text(msg_id, "stderr")


async def test_commands_are_counted_unless_they_are_silent(shell: Shell) -> None:
    silent = shell.send("echo x", silent=True)
    await shell.recorder.ended(silent)
    assert 0 == shell.recorder.reply(silent).execution_count
    assert "execute_input" not in {m.header.msg_type for m in shell.recorder.of(silent)}
    first = await shell.run("echo x")
    said = await shell.recorder.message("execute_input", first)
    assert {"code": "echo x", "execution_count": 1} == said.content
    assert 1 == shell.recorder.reply(first).execution_count


async def test_a_failure_aborts_what_is_queued_if_it_is_to(shell: Shell, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    failing = shell.send(f"echo go; read x < {fifo}; exit 1", stop_on_error=True)
    await shell.printed(failing, "go")
    queued = [shell.send("echo never"), shell.send("echo never")]
    await asyncio.to_thread(fifo.write_text, "go on\n")
    for msg_id in queued:
        assert (await shell.recorder.ended(msg_id)).aborted
        assert "" == shell.text(msg_id)
    assert "again\n" == await shell.output("echo again")


async def test_a_failure_aborts_nothing_otherwise(shell: Shell) -> None:
    shell.send("exit 1")
    assert "next\n" == await shell.output("echo next")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("is_complete", {"status": "complete"}),
        ("complete", {"status": "ok", "matches": []}),
        ("inspect", {"status": "ok", "found": False}),
        ("history", {"status": "ok", "history": []}),
        ("comm_info", {"status": "ok", "comms": {}}),
    ],
)
async def test_what_a_shell_has_nothing_to_say_to_is_answered(
    shell: Shell, question: str, expected: dict[str, object]
) -> None:
    request = Request(
        channel=Channel.SHELL,
        msg_id=MsgId("q"),
        msg_type=f"{question}_request",
        content={"code": "x", "cursor_pos": 1},
    )
    shell.kernel.send(request)
    reply = await shell.recorder.message(f"{question}_reply", request.msg_id)
    assert expected.items() <= reply.content.items()


async def test_control_is_answered_while_a_command_runs(shell: Shell) -> None:
    msg_id = shell.send("echo go; sleep 600")
    await shell.printed(msg_id, "go")
    info = Request(channel=Channel.CONTROL, msg_id=MsgId("i"), msg_type="kernel_info_request")
    shell.kernel.send(info)
    assert await shell.recorder.message("kernel_info_reply", MsgId("i"))


async def test_what_is_malformed_unsigned_or_unknown_is_ignored(shell: Shell) -> None:
    shell.kernel.send(Request(channel=Channel.SHELL, msg_id=MsgId("u"), msg_type="frob_request"))
    shell.kernel.send(
        Request(
            channel=Channel.SHELL,
            msg_id=MsgId("m"),
            msg_type="execute_request",
            content={"code": 1, "silent": "x"},
        )
    )
    info = _connection_of(shell)
    with zmq.Context() as context:
        for port in ("shell_port", "control_port", "stdin_port", "hb_port"):
            with context.socket(zmq.DEALER) as sock:
                sock.linger = 1000
                sock.connect(f"ipc://{info['ip']}-{info[port]}")
                for frames in ([b""], [b"x"] * 9, [b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"{}"]):
                    sock.send_multipart(frames)
    assert "still here\n" == await shell.output("echo still here")


async def test_it_listens_on_tcp_with_encryption() -> None:
    async with open_shell(transport="tcp", transport_encryption="required") as shell:
        assert "hello\n" == await shell.output("echo hello")


def _connection_of(shell: Shell) -> dict[str, object]:
    (kernel,) = set(shell.everything()) - set(shell.processes())
    arguments = Path(f"/proc/{kernel}/cmdline").read_text().split("\0")
    info: dict[str, object] = json.loads(Path(arguments[arguments.index("-f") + 1]).read_text())
    return info


async def test_python_is_that_of_our_environment_also_when_nobody_has_activated_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    async with open_shell() as shell:
        assert f"{sys.prefix}\n" == await shell.output("python3 -c 'import sys; print(sys.prefix)'")


async def test_what_is_said_to_the_terminal_comes_before_what_is_printed_next(shell: Shell) -> None:
    for _ in range(30):
        assert "said\nprinted\n" == await shell.output("echo said >/dev/tty; echo printed")
