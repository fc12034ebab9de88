"""What a kernel of commands does, over the one in memory and over ours: fake and real are one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.kernels.fake import FakeLauncher
from kernel_gateway.kernels.local import LocalLauncher
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.messaging.facts import Completions, InputRequested, Raised
from kernel_gateway.messaging.message import MsgId, complete_request, input_reply
from tests.shared.kernels import Bench, Python, Script, Started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kernel_gateway.kernels.kernel import Launcher

ROOT = Path(__file__).parents[2]
SPEC = "kernel-gateway-command"

#: By what is wanted: the fake's words, and the shell's.
WORDS = {
    "fake": {"fails": "print x\nend 3", "works": "print x\nend 0", "asks": "input key? \necho"},
    "real": {
        "fails": "echo x; exit 3",
        "works": "echo x",
        "asks": "read -p 'key? ' key; echo $key",
    },
}


@pytest.fixture(params=["fake", "real"])
def words(request: pytest.FixtureRequest) -> dict[str, str]:
    return WORDS[request.param]


@pytest.fixture
async def started(words: dict[str, str]) -> AsyncIterator[Started]:
    launcher: Launcher
    if words is WORDS["fake"]:
        launcher = FakeLauncher()
    else:
        launcher = LocalLauncher(KernelSettings(spec_folders=(ROOT / "kernelspec",)))
    started = await Bench(launcher, Script()).ready(spec_name=SPEC)
    yield started
    await started.kernel.kill()
    await launcher.close()


@pytest.mark.parametrize(("what", "status", "code"), [("works", "ok", 0), ("fails", "error", 3)])
async def test_the_reply_has_the_exit_code_and_nothing_is_shown_of_it(
    started: Started, words: dict[str, str], what: str, status: str, code: int
) -> None:
    msg_id = await started.run(words[what])
    reply = started.recorder.reply(msg_id)
    assert (status, code, 1) == (reply.status, reply.exit_code, reply.execution_count)
    assert "x\n" == started.recorder.stdout(msg_id)
    assert not any(isinstance(fact, Raised) for fact in started.recorder.facts(msg_id))


async def test_a_prompt_is_asked_and_its_answer_is_taken(
    started: Started, words: dict[str, str]
) -> None:
    msg_id = started.send(words["asks"], allow_stdin=True)
    asked = await started.recorder.message("input_request", msg_id)
    (fact,) = [f for f in started.recorder.facts(msg_id) if isinstance(f, InputRequested)]
    assert ("key? ", False) == (fact.prompt, fact.password)
    started.kernel.send(input_reply(MsgId("a"), "open", parent=asked.header))
    await started.recorder.ended(msg_id)
    assert "open\n" == started.recorder.stdout(msg_id)


@pytest.mark.parametrize("dialect", [Script(), Python()], ids=["fake", "ipykernel"])
async def test_a_completion_replaces_the_word_before_the_cursor(dialect: Script | Python) -> None:
    launcher = FakeLauncher() if isinstance(dialect, Script) else LocalLauncher()
    started = await Bench(launcher, dialect).ready()
    started.kernel.send(complete_request(MsgId("c"), "x\npri", 5))

    def told() -> list[Completions]:
        facts = started.recorder.facts(MsgId("c"))
        return [fact for fact in facts if isinstance(fact, Completions)]

    await started.recorder.until(told)
    (found,) = told()
    assert (2, 5) == (found.start, found.end)
    assert "print" in found.matches
    await started.kernel.kill()
    await launcher.close()
