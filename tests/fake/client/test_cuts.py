"""Connections that are cut anywhere: nothing is lost, told twice or done twice."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from kernel_gateway import errors
from kernel_gateway.runs.view import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fake.client.cable import Cable
    from tests.fake.client.callers import Caller
    from tests.fake.web.gateway import Gateway

SCRIPT = "\n".join(f"print line {number}" for number in range(40))
TEXT = "".join(f"line {number}\n" for number in range(40))


@pytest.mark.parametrize("seed", range(15))
async def test_a_run_is_executed_once_and_told_whole_wherever_it_is_cut(
    seed: int, cut_client: Caller, cable: Cable, gateway: Gateway
) -> None:
    """Answers of creation, stream and run alike; each connection gets a little further."""
    chance = random.Random(seed)
    cable.cuts = [chance.randrange(3000) for _ in range(5)]
    heard: list[str] = []
    seqs: list[int] = []
    run = await cut_client.call(
        "execute",
        SCRIPT,
        on_output=lambda stream, text: heard.append(text),
        on_record=lambda told: seqs.append(told.seq),
    )
    assert Outcome.OK is run.view.outcome
    assert TEXT == "".join(heard)
    assert list(range(1, len(seqs) + 1)) == seqs
    assert 1 == len((await gateway.get("/api/runs")).json["items"])


async def test_input_whose_answer_was_lost_is_given_once(cut_client: Caller, cable: Cable) -> None:
    def answer(prompt: str, password: bool) -> str:
        cable.cuts = [0, 0]
        return "Ada"

    run = await cut_client.call("execute", "input Name?\necho\ninput More?\necho", on_input=answer)
    assert Outcome.OK is run.view.outcome
    assert "Ada\nAda\n" == await cut_client.call("text", run.id)


async def test_a_run_that_was_removed_by_a_call_without_an_answer_is_removed(
    cut_client: Caller, cable: Cable
) -> None:
    run = await cut_client.call("execute", "print a")
    cable.cuts = [0]
    await cable.cut()
    await cut_client.call("delete", run.id)


async def test_a_kernel_is_not_started_twice(
    cut_client: Caller, cable: Cable, gateway: Gateway
) -> None:
    cable.cuts = [0]
    with pytest.raises(errors.Unreachable):
        await cut_client.call("create_kernel")
    assert 1 == len((await gateway.get("/api/kernels")).json)


async def test_a_cable_that_is_always_cut_is_given_up(cut_client: Caller, cable: Cable) -> None:
    cable.cuts = [0] * 100
    with pytest.raises(errors.Unreachable):
        await cut_client.call("execute", "print a")
    assert 8 == cable.connections


@pytest.mark.parametrize("seed", range(5))
async def test_an_artifact_is_whole_wherever_its_download_is_cut(
    seed: int, cut_client: Caller, cable: Cable, tmp_path: Path
) -> None:
    text = "x" * 5000
    run = await cut_client.call("execute", f"save big.txt {text}")
    (artifact,) = await cut_client.call("artifacts", run.id)
    chance = random.Random(seed)
    cable.cuts = [chance.randrange(400, 2500) for _ in range(4)]
    await cable.cut()
    target = tmp_path / "got"
    await cut_client.call("download", run.id, artifact, target)
    assert text == (await asyncio.to_thread(target.read_text)).rstrip()
