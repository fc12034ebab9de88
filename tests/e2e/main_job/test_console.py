"""What a caller of `execute` hears, and when: pieces of the console, prompts, the end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import HANG_LIMIT_S, Talk, calling, console, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.main_job.gateway import Client, Kernel

LOOP = """
import time
for number in range(35):
    print('line', number)
    time.sleep(0.2)
"""
PROMPTS, PRINTS = 50, 1000
ASKING = f"""
answers = []
for round_ in range({PROMPTS}):
    for number in range({PRINTS}):
        print(round_, number)
    answers.append(input(f'{{round_}}? '))
print(answers)
"""


async def test_a_long_run_is_told_every_two_seconds_with_only_what_is_new(shared: Kernel) -> None:
    now = asyncio.get_running_loop().time
    at = now()
    answer = await shared.execute(mode="query", code=LOOP)
    talk = Talk(shared, answer.json["runId"], [answer.json])
    while talk.last["status"] == "continued":
        told_at, at = at, now()
        answer = await talk.go_on()
        if answer["status"] == "continued":
            assert 1.9 <= now() - at < 3.0
            most = 1 + (now() - (told_at + 1.9)) / 0.2  # the client may have come late to ask
            assert 5 <= len(console(answer).splitlines()) <= most
    assert ["continued"] * 3 + ["finished"] == talk.statuses
    assert 0 == talk.exit_code
    assert "".join(f"line {number}\n" for number in range(35)) == talk.text()


async def test_the_end_is_told_at_once_and_the_exit_code_with_it(shared: Kernel) -> None:
    """A call may wait for a minute, and does not."""
    async with asyncio.timeout(10):
        talk = await shared.begin("print('so'); 1 / 0", wait=60)
    assert ("finished", 1) == (talk.last["status"], talk.exit_code)
    assert "so\n" == talk.text()
    assert "ZeroDivisionError" in talk.text("stderr")


async def test_all_that_was_printed_before_a_prompt_is_told_with_it_under_load(
    shared: Kernel, client: Client
) -> None:
    busy = await client.start_kernel()
    endless = await busy.begin("while True: print('x' * 50)")
    with _hogged_processor():
        talk = await shared.begin(ASKING, wait=2.0)
        for number in range(PROMPTS):
            first = len(talk.answers) - 1  # of the answers since the last text was given
            while talk.last["status"] == "continued":
                await talk.go_on()
            assert "waiting-input" == talk.last["status"], talk.last
            assert {"is_password": False, "prompt_id": number + 1} == talk.last["options"]
            prints = "".join(f"{number} {print_}\n" for print_ in range(PRINTS))
            assert f"{prints}{number}? " == "".join(map(console, talk.answers[first:]))
            await talk.give(f"answer {number}")
        await talk.to_the_end()
    assert f"{[f'answer {number}' for number in range(PROMPTS)]}\n" == console(talk.last)
    assert "running" == (await endless.standing())["state"]
    assert 204 == (await busy.delete()).status


async def test_who_only_continues_at_a_prompt_hears_of_it_again_and_nothing_new(
    shared: Kernel,
) -> None:
    talk = await shared.begin("print(input('name? '))", wait=2.0)
    again = await talk.go_on(wait=0.1)
    assert ("waiting-input", []) == (again["status"], again["console"])
    await talk.give("Ada")
    await talk.to_the_end()
    assert "name? Ada\n" == talk.text()


async def test_text_that_nobody_waits_for_is_refused_and_not_kept(shared: Kernel) -> None:
    talk = await shared.run("print('over')")
    refused = await shared.execute(mode="input", runId=talk.run_id, code="early")
    assert (409, "not_waiting") == (refused.status, refused.error["code"])
    talk = await shared.begin("print(input('now? '))", wait=2.0)
    assert "waiting-input" == talk.last["status"]
    await talk.give("asked for")
    assert "now? asked for\n" == (await talk.to_the_end()).text()


async def test_a_password_is_marked_and_kept_nowhere(tmp_path: Path) -> None:
    """The search finds an answer that is no secret, so it would find the password, too."""
    secret, plain = f"secret-{os.urandom(8).hex()}", f"plain-{os.urandom(8).hex()}"
    data = tmp_path / "data"
    with serving(data) as server:
        async with calling(server) as client:
            kernel = await client.kernel()
            talk = await kernel.begin(
                "import getpass, hashlib\n"
                "word = getpass.getpass('password: ')\n"
                "print(hashlib.sha256(word.encode()).hexdigest()); input('name: ')",
                wait=2.0,
            )
            assert "password: " == talk.text()
            assert {"is_password": True, "prompt_id": 1} == talk.last["options"]
            await talk.give(secret)
            assert {"is_password": False, "prompt_id": 2} == talk.last["options"]
            await talk.give(plain)
            await talk.to_the_end()
            assert hashlib.sha256(secret.encode()).hexdigest() in talk.text()
            told = [await client.records(talk.run_id), talk.answers, await talk.standing()]
            assert plain in repr(told)
            assert secret not in repr(told)
    assert _files_with(plain, data)
    assert [] == _files_with(secret, data)
    assert [] == [line for line in server.lines if secret in line]


def _files_with(word: str, folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if word.encode() in path.read_bytes()]


@contextmanager
def _hogged_processor() -> Iterator[None]:
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        hog.kill()
        hog.wait(HANG_LIMIT_S)
