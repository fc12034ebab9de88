"""When a command waits for input, what is asked, and what becomes of the answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.messaging.message import Channel, MsgId, Request, input_reply
from tests.kernel.command_kernel.conftest import compiled, compiled_java
from tests.shared.programs import needs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kernel.command_kernel.conftest import Shell

C_SCANF = r"""
#include <stdio.h>
int main(void) { char name[99]; printf("Name? "); scanf("%98s", name); printf("<%s>\n", name); }
"""

JAVA_SCANNER = """
class Program {
    public static void main(String[] arguments) {
        System.out.print("Name? ");
        System.out.println("<" + new java.util.Scanner(System.in).nextLine() + ">");
    }
}
"""

NODE_READLINE = """
const readline = require('readline')
const rl = readline.createInterface({input: process.stdin, output: process.stdout})
rl.question('Name? ', name => { console.log(`<${name}>`); rl.close() })
"""

NAME = ("Name? ", False)


async def test_c_scanf(shell: Shell, tmp_path: Path) -> None:
    msg_id = await shell.talk(compiled(tmp_path, C_SCANF), "Ada")
    assert [NAME] == shell.questions(msg_id)
    assert "<Ada>\n" == shell.text(msg_id)


async def test_java_scanner(shell: Shell, tmp_path: Path) -> None:
    """It loads its classes between the prompt and the read: the prompt may be shown by then."""
    msg_id = await shell.talk(compiled_java(tmp_path, JAVA_SCANNER), "Ada")
    ((prompt, password),) = shell.questions(msg_id)
    assert "Name? <Ada>\n" == prompt + shell.text(msg_id)
    assert not password


async def test_python_input(shell: Shell) -> None:
    """Its prompt goes to stderr."""
    msg_id = await shell.talk('python3 -c \'print("<" + input("Name? ") + ">")\'', "Ada")
    assert [NAME] == shell.questions(msg_id)
    assert "<Ada>\n" == shell.text(msg_id)
    assert "" == shell.text(msg_id, "stderr")


async def test_bash_read(shell: Shell) -> None:
    msg_id = await shell.talk("read -p 'Name? ' name; echo \"<$name>\"", "Ada Lovelace")
    assert [NAME] == shell.questions(msg_id)
    assert "<Ada Lovelace>\n" == shell.text(msg_id)


async def test_node_readline(shell: Shell, tmp_path: Path) -> None:
    """It takes keys, and echoes them by itself."""
    (tmp_path / "program.js").write_text(NODE_READLINE)
    msg_id = await shell.talk(f"{needs('node')} {tmp_path}/program.js", "Ada")
    assert [NAME] == shell.questions(msg_id)
    assert shell.text(msg_id).endswith("<Ada>\n")


@pytest.mark.parametrize("how", ["select", "poll", "epoll"])
async def test_a_program_that_takes_keys(shell: Shell, tmp_path: Path, how: str) -> None:
    """It sleeps in select, poll or epoll, and not in a read."""
    watch = {
        "select": "select.select([0], [], [])",
        "poll": "p = select.poll(); p.register(0, select.POLLIN); p.poll()",
        "epoll": "p = select.epoll(); p.register(0, select.EPOLLIN); p.poll()",
    }
    code = "import os, select, tty; tty.setcbreak(0); print('Key? ', end='', flush=True); "
    (tmp_path / "program.py").write_text(f"{code}{watch[how]}; print(os.read(0, 9))")
    msg_id = await shell.talk(f"python3 {tmp_path}/program.py", "k")
    assert [("Key? ", False)] == shell.questions(msg_id)
    assert "b'k\\n'\n" == shell.text(msg_id)


async def test_a_child_of_the_command(shell: Shell) -> None:
    msg_id = await shell.talk("sh -c 'printf \"Name? \"; cat; true'; true", "Ada", "\x04")
    assert [NAME, ("", False)] == shell.questions(msg_id)
    assert "Ada\n" == shell.text(msg_id)


async def test_python_getpass(shell: Shell) -> None:
    """It opens /dev/tty, for its prompt, too."""
    msg_id = await shell.talk("python3 -c 'import getpass; print(getpass.getpass())'", "secret")
    assert [("Password: ", True)] == shell.questions(msg_id)
    assert "\nsecret\n" == shell.text(msg_id)


async def test_bash_read_of_a_password(shell: Shell) -> None:
    msg_id = await shell.talk("read -s -p 'Password: ' word; echo \"<$word>\"", "secret")
    assert [("Password: ", True)] == shell.questions(msg_id)
    assert "<secret>\n" == shell.text(msg_id)


async def test_two_questions_one_after_the_other(shell: Shell) -> None:
    code = "read -p 'One? ' one; read -p 'Two? ' two; echo $one $two"
    msg_id = await shell.talk(code, "1", "2")
    assert [("One? ", False), ("Two? ", False)] == shell.questions(msg_id)
    assert "1 2\n" == shell.text(msg_id)


async def test_many_questions_are_asked_once_each(shell: Shell) -> None:
    """None is taken for two, however soon it comes after the answer before."""
    code = 'for n in {1..20}; do read -p "$n? " x; got="$got $x"; done; echo $got'
    numbers = [str(number) for number in range(1, 21)]
    msg_id = await shell.talk(code, *numbers)
    assert [(f"{number}? ", False) for number in numbers] == shell.questions(msg_id)
    assert " ".join(numbers) + "\n" == shell.text(msg_id)


async def test_only_the_unfinished_line_is_the_question(shell: Shell) -> None:
    msg_id = await shell.talk("echo Welcome.; read -p 'Name? ' name", "Ada")
    assert [NAME] == shell.questions(msg_id)
    assert "Welcome.\n" == shell.text(msg_id)


@pytest.mark.parametrize("length", [4095, 4096, 100_000])
async def test_an_answer_of_any_length_arrives_whole(shell: Shell, length: int) -> None:
    answer = "".join(f"{number:08}" for number in range(length // 8 + 1))[:length]
    code = "import sys; line = sys.stdin.readline(); print(line, end='')"
    msg_id = await shell.talk(f'{sys.executable} -c "{code}"', answer)
    assert f"{answer}\n" == shell.text(msg_id)


async def test_who_asks_after_one_that_has_given_up_is_asked_for_and_gets_the_answer(
    shell: Shell,
) -> None:
    """An answer to a program that has ended reaches nobody else."""
    gives_up = "timeout 0.5 python3 -c 'input(\"first? \")'"
    msg_id = shell.send_talkative(f"{gives_up}; read -p 'second? ' it; echo got $it")
    await shell.asked(msg_id, 1)
    assert ("second? ", False) == await shell.asked(msg_id, 2)
    shell.answer(msg_id, "x")
    assert 0 == await shell.exit_code(msg_id)
    assert "got x\n" == shell.text(msg_id)


async def test_who_survives_an_interrupt_and_asks_again_is_asked_for(shell: Shell) -> None:
    survives = "try: input('first? ')\nexcept KeyboardInterrupt: print(input('second? '))"
    msg_id = shell.send_talkative(f'python3 -c "{survives}"')
    await shell.asked(msg_id, 1)
    await shell.kernel.interrupt()
    prompt, _ = await shell.asked(msg_id, 2)
    assert "second? " == prompt
    shell.answer(msg_id, "x")
    assert 0 == await shell.exit_code(msg_id)
    assert "x\n" in shell.text(msg_id)


async def test_an_empty_answer_is_an_empty_line(shell: Shell) -> None:
    msg_id = await shell.talk('read line; echo "<$line>"', "")
    assert "<>\n" == shell.text(msg_id)


async def test_an_answer_in_any_script(shell: Shell) -> None:
    msg_id = await shell.talk('read line; echo "<$line>"', "é€😀")
    assert "<é€😀>\n" == shell.text(msg_id)


async def test_the_end_of_the_input_is_an_answer_too(shell: Shell) -> None:
    msg_id = await shell.talk("cat; echo ended", "one", "two", "\x04")
    assert 3 == len(shell.questions(msg_id))
    assert "one\ntwo\nended\n" == shell.text(msg_id)


async def test_a_password_can_be_refused_and_asked_again(shell: Shell) -> None:
    code = "until [ \"$word\" = right ]; do read -s -p 'Password: ' word; done"
    msg_id = await shell.talk(code, "wrong", "right")
    assert [("Password: ", True)] * 2 == shell.questions(msg_id)


async def test_a_program_that_spoils_the_terminal_is_answered_all_the_same(shell: Shell) -> None:
    """`stty sane` takes away the mode that we are in."""
    code = "stty sane; read -p 'Name? ' name; echo \"<$name>\""
    msg_id = await shell.talk(code, "Ada")
    assert [NAME] == shell.questions(msg_id)
    assert "<Ada>" == shell.text(msg_id).strip()


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(0.6)",
        "import time\nend = time.monotonic() + 0.6\nwhile time.monotonic() < end: pass",
        "import select; select.select([0], [], [], 0.6)",
        "import select; p = select.poll(); p.register(0); p.poll(600)",
        "import select; p = select.epoll(); p.register(0, select.EPOLLIN); p.poll(0.6)",
        "import os, signal; signal.setitimer(signal.ITIMER_REAL, 0.6); os.read(os.pipe()[0], 1)",
    ],
    ids=["sleeps", "computes", "select", "poll", "epoll", "reads something else"],
)
async def test_who_does_not_read_its_terminal_is_not_taken_for_waiting(
    shell: Shell, tmp_path: Path, code: str
) -> None:
    """For several looks. A server watches its terminal, too, and wants nothing."""
    (tmp_path / "program.py").write_text(code)
    msg_id = await shell.talk(f"printf 'Working... '; python3 {tmp_path}/program.py")
    assert [] == shell.questions(msg_id)
    assert "Working... " == shell.text(msg_id)


async def test_control_is_answered_while_a_command_waits(shell: Shell) -> None:
    msg_id = shell.send_talkative("read x")
    await shell.asked(msg_id)
    info = Request(channel=Channel.CONTROL, msg_id=MsgId("i"), msg_type="kernel_info_request")
    shell.kernel.send(info)
    assert await shell.recorder.message("kernel_info_reply", MsgId("i"))


async def test_an_answer_that_nobody_waits_for_is_dropped(shell: Shell) -> None:
    first = await shell.talk("read x", "right")
    shell.answer(first, "late")
    msg_id = shell.send_talkative('read x; echo "<$x>"')
    await shell.asked(msg_id)
    shell.answer(first, "late")
    shell.answer(msg_id, "right")
    shell.answer(msg_id, "twice")
    await shell.recorder.ended(msg_id)
    assert "<right>\n" == shell.text(msg_id)


async def test_an_answer_need_not_say_to_which_question(shell: Shell) -> None:
    """As jupyter_client's own clients answer."""
    msg_id = shell.send_talkative('read x; echo "<$x>"')
    await shell.asked(msg_id)
    shell.kernel.send(input_reply(MsgId("a"), "plain", parent=None))
    await shell.recorder.ended(msg_id)
    assert "<plain>\n" == shell.text(msg_id)


@pytest.mark.parametrize("device", ["/dev/stdin", "/dev/tty"])
async def test_without_stdin_the_input_is_at_its_end(shell: Shell, device: str) -> None:
    msg_id = await shell.run(f"cat < {device}; read -s x < {device}; echo $?")
    assert "1\n" == shell.text(msg_id)
    assert [] == shell.questions(msg_id)


@pytest.mark.parametrize("number", [1, 2])
async def test_who_reads_where_it_prints_is_at_the_end_of_the_input(
    shell: Shell, number: int
) -> None:
    msg_id = shell.send_talkative(f"read x <&{number}; echo $?")
    assert 0 == await shell.exit_code(msg_id)
    assert "1\n" == shell.text(msg_id)
