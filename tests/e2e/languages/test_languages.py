"""Kernels that are none of ours: what they print, how they fail, ask, stop and go."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.main_job.gateway import Kernel, Server, Watched, calling
from tests.e2e.runs.caller import path_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.main_job.gateway import Client
    from tests.e2e.runs.caller import Caller

_FOR_EVER = "import time\nprint('on', flush=True)\nwhile True: time.sleep(.05)"
_NO_INPUT = ("error", "no_input")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    spec: str
    prints: str  # "hi"
    fails: str | None = None
    ename: str = ""
    evalue: str = ""  # how it begins
    asks: str | None = None  # prints "got Ada" when that is answered
    refused: tuple[str, str] = _NO_INPUT  # outcome and reason where nobody answers
    stays: str | None = None  # prints "on" and goes on for ever
    worked: str = "interrupt"  # what ends that
    #: Whether the kernel lives on with its variables. None: it is not to be relied on.
    survives: bool | None = True


LANGUAGES = [
    Language(
        spec="xpython-raw",
        prints="print('hi')",
        fails="1 / 0",
        ename="ZeroDivisionError",
        evalue="division by zero",
        asks="print('got', input('name? '))",
    ),
    Language(
        spec="xpython",
        prints="print('hi')",
        fails="1 / 0",
        ename="<class 'ZeroDivisionError'>",
        evalue="division by zero",
        asks="print('got', input('name? '))",
        stays=_FOR_EVER,
        survives=False,
    ),
    Language(
        spec="bash",
        prints="echo hi",
        fails="(exit 3)",
        evalue="3",
        stays="echo on; read answer",
        survives=None,
    ),
    Language(
        spec="deno",
        prints="console.log('hi')",
        fails="throw new TypeError('bad')",
        ename="TypeError",
        evalue="bad",
        asks="console.log('got', prompt('name? '))",
        refused=("ok", "done"),  # its prompt() gives null
        stays="console.log('on'); while (true) {}",
        survives=False,
    ),
    Language(
        spec="ir",
        prints=r"cat('hi\n')",
        fails="stop('bad')",
        ename="ERROR",
        evalue="Error in eval",
        asks="cat('got', readline('name? '))",
        stays=r"cat('on\n'); repeat Sys.sleep(.05)",
    ),
    Language(spec="echo", prints="hi"),
]


def those_that(can: str) -> pytest.MarkDecorator:
    """One parameter each; its kernel is started for the first of them and serves all."""
    return pytest.mark.parametrize(
        "language",
        [
            pytest.param(
                language,
                id=language.spec,
                marks=pytest.mark.skipif(
                    language.spec == "ir" and not shutil.which("R"), reason="R is not installed"
                ),
            )
            for language in LANGUAGES
            if getattr(language, can)
        ],
    )


@pytest.fixture(scope="package")
def kernel_ids() -> dict[str, str]:
    """By kernelspec, of those that have been started."""
    return {}


@pytest.fixture
async def kernel(language: Language, caller: Caller, kernel_ids: dict[str, str]) -> Kernel:
    if language.spec not in kernel_ids:
        kernel_ids[language.spec] = (await caller.start_kernel(name=language.spec)).id
    return Kernel(caller, kernel_ids[language.spec])


async def end_of(caller: Caller, kernel: Kernel, code: str, **options: Any) -> Any:
    return await caller.done(kernel=kernel.id, code=code, options=options)


def told(run: Any) -> tuple[str, str]:
    return run["outcome"], run["reason"]["code"]


@those_that("prints")
async def test_what_it_prints_is_told(language: Language, kernel: Kernel, caller: Caller) -> None:
    run = await end_of(caller, kernel, language.prints)
    assert ("ok", "done") == told(run)
    assert "hi" == (await caller.text(run["uid"])).strip()


@those_that("fails")
async def test_its_errors_are_errors_and_it_goes_on(
    language: Language, kernel: Kernel, caller: Caller
) -> None:
    assert language.fails is not None
    run = await end_of(caller, kernel, language.fails)
    assert ("error", "exception", 1) == (*told(run), run["exit_code"])
    assert language.ename == run["error"]["ename"]
    assert run["error"]["evalue"].startswith(language.evalue)
    assert ("ok", "done") == told(await end_of(caller, kernel, language.prints))


@those_that("asks")
async def test_what_it_asks_can_be_answered(
    language: Language, kernel: Kernel, caller: Caller
) -> None:
    run = await caller.create(kernel=kernel.id, code=language.asks)
    await caller.reached(run["uid"], "waiting-input")
    answer = await caller.call("POST", path_of(run["uid"], "/input"), {"value": "Ada"})
    assert 200 == answer.status
    assert ("ok", "done") == told(await caller.over(run["uid"]))
    assert "got Ada" == (await caller.text(run["uid"])).strip()


@those_that("asks")
async def test_where_nobody_answers_it_does_not_wait(
    language: Language, kernel: Kernel, caller: Caller
) -> None:
    assert language.asks is not None
    run = await end_of(caller, kernel, language.asks, allow_stdin=False)
    assert language.refused == told(run)


@those_that("stays")
async def test_a_cancel_says_what_has_worked_and_the_kernel_can_be_used_again(
    language: Language, kernel: Kernel, caller: Caller
) -> None:
    """Bash reads from a terminal of its own, and tells nobody that it waits. bash_kernel is now and
    then stuck after an interrupt that is repeated."""
    generation = await kernel.generation()
    run = await caller.create(kernel=kernel.id, code=language.stays)
    await caller.printed(run["uid"], "on")
    assert 202 == (await caller.cancel(run["uid"], grace=2)).status
    run = await caller.over(run["uid"])
    assert ("cancelled", language.worked) == (run["outcome"], run["reason"]["worked"])
    if language.survives is None:
        return
    assert ("ok", "done") == told(await end_of(caller, kernel, language.prints))
    assert (0 if language.survives else 1) == await kernel.generation() - generation


# -- a gateway that is killed ----------------------------------------------------------------------


@pytest.fixture
async def doomed(specs: list[Path], tmp_path: Path) -> AsyncIterator[tuple[Server, Client]]:
    server = Server(tmp_path / "data", *(f"--Kernels.spec_folders={path}" for path in specs))
    try:
        async with calling(server) as client:
            yield server, client
    finally:
        server.kill()


async def test_no_kernel_outlives_a_gateway_that_is_killed(doomed: tuple[Server, Client]) -> None:
    """Deno and R would: they look after no parent. Nor does a program that a cell has started."""
    server, client = doomed
    languages = [("deno", "1"), ("xpython", "import os; os.system('sleep 600 &')")]
    if shutil.which("R"):
        languages.append(("ir", "1"))
    before = server.children()
    for spec, code in languages:
        kernel = await client.start_kernel(name=spec)
        assert 0 == (await kernel.run(code)).exit_code
    processes = [Watched(pid) for pid in members(server.children() - before)]
    assert len(languages) + 1 <= len(processes)
    server.process.kill()
    for process in processes:
        await process.end()


def members(groups: set[int]) -> list[int]:
    """Of these process groups."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if int(stat.read_text().rpartition(")")[2].split()[2]) in groups:
                found.append(int(stat.parent.name))
    return found
