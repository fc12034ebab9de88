"""`Client` and `AsyncClient` against a gateway: one module for both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway import errors
from kernel_gateway.client import AsyncClient
from kernel_gateway.runs.records import Completed, InputAsked, LogText
from kernel_gateway.runs.state import RunState
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import BatchCommands, KernelState, Limits
from kernel_gateway.web.settings import WebSettings
from tests.fake.client.callers import caller
from tests.fake.web.gateway import TOKEN, running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fake.client.callers import Caller
    from tests.fake.web.gateway import Gateway

ODD_IDS = ["a/b", "../x", "ünï cödé", "50%", "%2F", "a?b#c", " x ", "🐧", "a..b", "~"]


async def test_code_is_executed_and_its_run_is_told(client: Caller) -> None:
    heard: list[tuple[str, str]] = []
    run = await client.call(
        "execute", "print a\nstderr b\nprint c", on_output=lambda *said: heard.append(said)
    )
    assert (RunState.FINISHED, Outcome.OK, 0) == (
        run.view.state,
        run.view.outcome,
        run.view.exit_code,
    )
    assert [("stdout", "a\n"), ("stderr", "b\n"), ("stdout", "c\n")] == heard


async def test_a_failure_of_the_code_is_no_exception(client: Caller) -> None:
    run = await client.call("execute", "raise ValueError no good")
    assert Outcome.ERROR is run.view.outcome
    assert ("ValueError", "no good") == (run.view.error.ename, run.view.error.evalue)


async def test_records_are_told_as_they_come(client: Caller) -> None:
    heard: list[Any] = []
    await client.call("execute", "print a\nresult b", on_record=heard.append)
    assert list(range(1, len(heard) + 1)) == [told.seq for told in heard]
    assert isinstance(heard[-1].body, Completed)


async def test_code_that_nobody_answers_cannot_ask(client: Caller) -> None:
    run = await client.call("execute", "input Name?")
    assert (Outcome.ERROR, "no_input") == (run.view.outcome, run.view.reason.code)


async def test_prompts_are_answered(client: Caller) -> None:
    asked: list[tuple[str, bool]] = []
    heard: list[str] = []

    def answer(prompt: str, password: bool) -> str:
        asked.append((prompt, password))
        return f"answer {len(asked)}"

    run = await client.call(
        "execute",
        "input Name?\necho\npassword Pin?\necho",
        on_input=answer,
        on_output=lambda stream, text: heard.append(text),
    )
    assert Outcome.OK is run.view.outcome
    assert [("Name?", False), ("Pin?", True)] == asked
    assert "answer 1\nanswer 2\n" == "".join(heard)


async def test_a_prompt_that_was_answered_before_is_not_asked_again(client: Caller) -> None:
    asked: list[str] = []

    def answer(prompt: str, password: bool) -> str:
        asked.append(prompt)
        return "x"

    run = await client.call("execute", "input Name?", on_input=answer)
    again = await client.call("follow", run.uid, on_input=answer)
    assert Outcome.OK is again.view.outcome
    assert ["Name?"] == asked


async def test_a_prompt_that_goes_while_somebody_thinks_is_no_error(
    client: Caller, gateway: Gateway
) -> None:
    loop = asyncio.get_running_loop()

    def think(prompt: str, password: bool) -> str:
        asyncio.run_coroutine_threadsafe(gateway.post("/api/runs/r/cancel", {}), loop).result()
        return "too late"

    async def think_on_the_loop(prompt: str, password: bool) -> str:
        await gateway.post("/api/runs/r/cancel", {})
        await asyncio.Event().wait()
        return "never"

    blocking = not isinstance(client.client, AsyncClient)
    answer = think if blocking else think_on_the_loop
    run = await client.call("execute", "input Name?", run_id="r", on_input=answer)
    assert Outcome.CANCELLED is run.view.outcome


async def test_what_a_callback_raises_comes_out(client: Caller) -> None:
    class Mine(Exception):
        pass

    def fail(*said: Any) -> str:
        raise Mine

    with pytest.raises(Mine):
        await client.call("execute", "print a", on_output=fail)
    with pytest.raises(Mine):
        await client.call("execute", "input Name?", on_input=fail)


async def test_a_run_is_created_at_once_with_all_that_was_said_of_it(client: Caller) -> None:
    run = await client.call(
        "create",
        code="sleep",
        run_id="r",
        labels={"project": "x"},
        context={"who": "ada"},
        limits=Limits(idle=60.0),
        timeout=60.0,
    )
    assert ("r", True, {"project": "x"}, {"who": "ada"}) == (
        run.id,
        run.created,
        run.labels,
        run.context,
    )
    again = await client.call(
        "create",
        code="sleep",
        run_id="r",
        context={"who": "ada"},
        limits=Limits(idle=60.0),
        timeout=60.0,
    )
    assert (run.uid, False) == (again.uid, again.created)
    with pytest.raises(errors.RunIdConflict):
        await client.call("create", code="print other", run_id="r")
    await client.call("cancel", "r")


async def test_a_run_that_is_waited_for_is_over(client: Caller) -> None:
    run = await client.call("create", code="print a", wait=30)
    assert RunState.FINISHED is run.view.state


async def test_a_run_is_on_the_kernel_that_is_named(client: Caller) -> None:
    kernel = await client.call("create_kernel")
    run = await client.call("execute", "print a", kernel=kernel.id)
    assert kernel.id == run.kernel_id
    assert [kernel.id] == [one.id for one in await client.call("kernels")]
    await client.call("delete_kernel", kernel.id)
    assert () == await client.call("kernels")
    with pytest.raises(errors.KernelNotFound):
        await client.call("create", code="print a", kernel=kernel.id)


async def test_kernels_are_started_by_the_name_of_their_kernelspec(client: Caller) -> None:
    found = await client.call("kernelspecs")
    name = found.specs[0].name
    assert name == (await client.call("execute", "print a", kernel_name=name)).kernel_name
    kernel = await client.call("create_kernel", name)
    assert (name, KernelState.STARTING) == (kernel.name, kernel.state)
    with pytest.raises(errors.KernelSpecNotFound):
        await client.call("create_kernel", "cobol")


@pytest.mark.parametrize("run_id", ODD_IDS)
async def test_an_id_of_any_form_names_its_run(client: Caller, run_id: str) -> None:
    created = await client.call("execute", "print a", run_id=run_id)
    found = await client.call("run", run_id)
    assert (run_id, created.uid) == (found.id, found.uid)


@pytest.mark.parametrize("run_id", [".", ".."])
async def test_a_run_whose_id_no_address_can_hold_is_named_by_its_uid(
    client: Caller, run_id: str
) -> None:
    run = await client.call("execute", "print a", run_id=run_id)
    assert run_id == (await client.call("run", run.uid)).id


async def test_runs_are_listed_page_by_page(client: Caller) -> None:
    for number in range(5):
        await client.call(
            "execute", "print a", run_id=f"r{number}", labels={"odd": str(number % 2)}
        )
    await client.call("execute", "raise E x", run_id="bad")
    assert ["bad", "r4", "r3", "r2", "r1", "r0"] == [run.id for run in await client.all("runs")]
    odd = await client.all("runs", labels={"odd": "1"})
    assert ["r3", "r1"] == [run.id for run in odd]
    assert 5 == len(await client.all("runs", labels={"odd": None}))
    assert ["bad"] == [run.id for run in await client.all("runs", outcome="error")]
    assert [] == await client.all("runs", state="running")


async def test_more_runs_than_a_page_holds_are_all_listed(
    client: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_gateway.web.schemas.RUNS_LIMIT", 2)
    for number in range(5):
        await client.call("execute", "print a", run_id=f"r{number}")
    assert ["r4", "r3", "r2", "r1", "r0"] == [run.id for run in await client.all("runs")]


async def test_what_was_printed_is_read_as_text(client: Caller) -> None:
    await client.call("execute", "print ü\nstderr b\nprint c", run_id="r")
    assert "ü\nb\nc\n" == await client.call("text", "r")
    assert "b\n" == await client.call("text", "r", "stderr")
    assert [("stdout", "ü\n"), ("stdout", "c\n")] == await client.all("log", "r", "stdout")
    assert 3 == len(await client.all("log", "r"))


async def test_records_are_read_behind_a_number(client: Caller) -> None:
    await client.call("execute", "print a", run_id="r")
    everything = await client.all("records", "r")
    assert everything[3:] == await client.all("records", "r", after=3)
    assert [] == await client.all("records", "r", after=everything[-1].seq)


async def test_records_are_read_page_by_page_with_late_ones(client: Caller) -> None:
    await client.call("execute", "print a\nlate b", run_id="r")
    page = await client.call("page", "r", after=2, limit=2)
    assert ([3, 4], 4, False) == ([told.seq for told in page.records], page.next, page.finished)
    rest = await client.call("page", "r", after=0)
    texts = [told.body.text for told in rest.records if isinstance(told.body, LogText)]
    assert "a\n" == texts[0]


async def test_outputs_and_the_notebook_have_what_the_code_showed(client: Caller) -> None:
    await client.call("execute", "result 42", run_id="r")
    (output,) = await client.call("outputs", "r")
    assert ("execute_result", {"text/plain": "42"}) == (output["output_type"], output["data"])
    cell = (await client.call("notebook", "r"))["cells"][0]
    assert "result 42" == "".join(cell["source"])
    assert "execute_result" == cell["outputs"][0]["output_type"]


async def test_a_notebook_is_run_as_a_whole(client: Caller) -> None:
    cell: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    cells = [{**cell, "id": "a", "source": "print a"}, {**cell, "id": "b", "source": "print b"}]
    document = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    run = await client.call("create", notebook=document, wait=30)
    assert ("notebook", 2) == (run.mode, len(run.view.steps))
    assert "a\nb\n" == await client.call("text", run.id)


async def test_a_notebook_is_inspected_and_given_parameters(client: Caller) -> None:
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {"tags": ["parameters"]},
        "outputs": [],
        "execution_count": None,
        "source": "a = 1",
    }
    document = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    expected = {"name": "a", "type": "int", "default": "1", "help": ""}
    told = await client.call("inspect", document)
    assert {"parameters": [expected], "inspectable": True} == told
    run = await client.call("create", notebook=document, parameters={"a": 2}, wait=30)
    page = await client.call("notebook", run.id)
    assert "# Parameters\na = 2\n" == "".join(page["cells"][1]["source"])


async def test_commands_are_run_as_a_batch(client: Caller) -> None:
    kernel = await client.call("create_kernel")
    commands = BatchCommands(build="print b", exec="print e")
    run = await client.call("create", commands=commands, kernel=kernel.id, wait=30)
    assert ("batch", Outcome.OK) == (run.mode, run.view.outcome)
    assert "b\ne\n" == await client.call("text", run.id)


async def test_a_run_is_cancelled_and_then_removed(client: Caller) -> None:
    kernel = await client.call("create_kernel")
    await client.call("create", code="print a\nsleep", run_id="r", kernel=kernel.id)
    with pytest.raises(errors.RunActive):
        await client.call("delete", "r")
    run = await client.call("cancel", "r", grace=60.0, message="enough")
    assert run.view.state in {RunState.CANCELLING, RunState.FINISHED}
    run = await client.call("follow", "r")
    assert (Outcome.CANCELLED, "enough") == (run.view.outcome, run.view.reason.message)
    await client.call("delete", "r")
    with pytest.raises(errors.RunExpired):
        await client.call("run", "r")


async def test_input_is_given_to_a_run_that_waits(client: Caller) -> None:
    await client.call("create", code="input Name?\necho\nsleep", run_id="r")
    await _when_it_waits(client, "r")
    with pytest.raises(errors.WrongPrompt):
        await client.call("input", "r", "x", 7)
    await client.call("input", "r", "Ada", 1)
    await client.call("input", "r", "Ada", 1)  # the answer may have been lost
    await client.call("cancel", "r")
    await client.call("follow", "r")
    assert "Ada\n" == await client.call("text", "r")
    with pytest.raises(errors.NotWaiting):
        await client.call("input", "r", "x")


async def _when_it_waits(client: Caller, run_id: str) -> None:
    after = 0
    while True:
        page = await client.call("page", run_id, after=after, wait=30)
        if any(isinstance(told.body, InputAsked) for told in page.records):
            return
        after = page.next


async def test_artifacts_are_listed_and_downloaded(client: Caller, tmp_path: Path) -> None:
    run = await client.call("execute", "save a.txt hello\nsave sub/b.txt world")
    found = await client.call("artifacts", run.id)
    assert ["a.txt", "sub/b.txt"] == [one.name for one in found]
    assert found == (await client.call("run", run.id)).artifacts
    target = tmp_path / "got"
    await client.call("download", run.id, found[0], target)
    content = await asyncio.to_thread(target.read_bytes)
    assert (found[0].size, b"hello") == (len(content), content.rstrip())
    await client.call("download", run.id, found[1].id, target)
    assert b"world" == (await asyncio.to_thread(target.read_bytes)).rstrip()
    assert b"world" == (await client.call("content", run.id, found[1].id)).rstrip()
    with pytest.raises(errors.ArtifactNotFound):
        await client.call("download", run.id, "nothing", target)
    assert [target] == await asyncio.to_thread(lambda: list(tmp_path.glob("*got*")))


async def test_a_download_that_fails_leaves_nothing(client: Caller, tmp_path: Path) -> None:
    run = await client.call("execute", "save a.txt hello")
    (artifact,) = await client.call("artifacts", run.id)
    await client.call("delete", run.id)
    folder = tmp_path / "new"
    await asyncio.to_thread(folder.mkdir)
    with pytest.raises(errors.RunExpired):
        await client.call("download", run.id, artifact, folder / "a.txt")
    assert [] == await asyncio.to_thread(lambda: list(folder.iterdir()))


async def test_the_gateway_tells_how_it_is_and_what_its_limits_are(client: Caller) -> None:
    assert "ok" == (await client.call("health"))["status"]
    assert isinstance(await client.call("limits"), dict)


async def test_errors_are_the_gateways_own(client: Caller) -> None:
    with pytest.raises(errors.RunNotFound):
        await client.call("run", "nothing")
    with pytest.raises(errors.RunNotFound):
        await client.all("records", "nothing")
    with pytest.raises(errors.InvalidField) as caught:
        await client.call("create", code="1", labels={"no good": "x"}, timeout=-1)
    assert {"labels", "timeout"} == {path.partition(".")[0] for path in caught.value.fields}


async def test_a_wrong_token_is_told(kind: str, gateway: Gateway) -> None:
    async with caller(kind, gateway.url, "wrong") as client:
        with pytest.raises(errors.Unauthorized):
            await client.call("limits")


async def test_without_a_token_none_is_sent(
    kind: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERNEL_GATEWAY_TOKEN", raising=False)
    async with caller(kind, gateway.url, None) as client:
        with pytest.raises(errors.Unauthorized):
            await client.call("limits")


async def test_address_and_token_come_from_the_environment(
    kind: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_GATEWAY_URL", gateway.url)
    monkeypatch.setenv("KERNEL_GATEWAY_TOKEN", TOKEN)
    async with caller(kind, None, None) as client:
        assert () == await client.call("kernels")


async def test_a_proxy_of_the_environment_is_not_asked_for_what_is_here(
    kind: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    async with caller(kind, gateway.url, TOKEN) as client:
        assert () == await client.call("kernels")


async def test_a_gateway_below_a_path_is_found_there(kind: str, tmp_path: Path) -> None:
    settings = WebSettings(token=TOKEN, port=0, base_url="/team/kernels")
    async with (
        running_gateway(tmp_path, settings) as gateway,
        caller(kind, gateway.url, TOKEN) as client,
    ):
        run = await client.call("execute", "print a")
        assert "a\n" == await client.call("text", run.id)


async def test_a_gateway_on_a_unix_socket_is_found_there(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    async with running_gateway(tmp_path, WebSettings(token=TOKEN, sock=path)) as gateway:
        for place in ({"url": gateway.url}, {"url": None, "uds": str(path)}):
            async with caller(kind, token=TOKEN, **place) as client:
                assert () == await client.call("kernels")
        assert gateway.url.startswith("http+unix://")


async def test_no_token_is_in_what_a_client_shows_or_logs(
    kind: str, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    async with caller(kind, gateway.url, TOKEN) as client:
        await client.call("execute", "print a")
        with pytest.raises(errors.RunNotFound) as caught:
            await client.call("run", "nothing")
    assert TOKEN not in repr(client.client) + str(caught.value) + caplog.text
    assert gateway.url.rstrip("/") in repr(client.client)


async def test_a_gateway_that_is_not_there_is_told(kind: str) -> None:
    async with caller(kind, "http://127.0.0.1:9", TOKEN) as client:
        with pytest.raises(errors.Unreachable, match=r"http://127\.0\.0\.1:9 does not answer"):
            await client.call("limits")
        with pytest.raises(errors.Unreachable):
            await client.all("records", "r")
