"""The how-to on gateways elsewhere is true: its options, its limits, and its program."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from kernel_gateway.client.engine import UNREAD_S
from kernel_gateway.client.patience import Patience
from kernel_gateway.commands.run import RunApp
from kernel_gateway.web import schemas
from kernel_gateway.web.settings import WebSettings
from tests.fake.notebook.conftest import code
from tests.fake.web.gateway import TOKEN, running_gateway
from tests.shared.programs import needs

HOWTO = (Path(__file__).parents[2] / "docs/how-to/remote-runs.md").read_text()


def test_its_options_are_there() -> None:
    of_others = {"data", "secret"}  # curl's, and of another page
    named = {str(name) for name in set(re.findall(r"--([a-z]+)", HOWTO)) - of_others}
    assert {"server", "upload", "artifacts", "cwd"} == named
    assert named <= set(RunApp.aliases)


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"for {UNREAD_S:g} seconds" in HOWTO
    assert f"at most {schemas.MAX_FILES:,} files" in HOWTO
    assert f"{WebSettings(token='t').max_body_bytes >> 20} MiB" in HOWTO
    patience = Patience()
    pauses = [patience.pause_s(failures, None) for failures in range(1, patience.tries)]
    assert 20 <= sum(pauses) <= 40  # half a minute or so


def _notebook(source: str) -> dict[str, Any]:
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [{"id": "c", **code(source, "summary")}],
    }


async def test_its_program_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)
    notebook = _notebook("save model.txt m")
    async with running_gateway(tmp_path) as gateway:
        program = program.replace("Client()", f"Client({gateway.url!r}, {TOKEN!r})")
        with redirect_stdout(StringIO()) as printed:
            await asyncio.to_thread(exec, program, {"notebook": notebook})
    assert "file model.txt 1\n" == printed.getvalue()


async def test_one_call_of_curl_brings_the_notebook_back(tmp_path: Path) -> None:
    needs("curl")
    (call,) = [text for text in re.findall(r"```sh\n(.*?)```", HOWTO, re.DOTALL) if "curl" in text]
    (tmp_path / "report.ipynb").write_text(json.dumps(_notebook("print done")))
    async with running_gateway(tmp_path / "data") as gateway:
        where = {"KERNEL_GATEWAY_URL": gateway.url.rstrip("/"), "KERNEL_GATEWAY_TOKEN": TOKEN}
        await asyncio.to_thread(
            subprocess.run, call, shell=True, check=True, cwd=tmp_path, env={**os.environ, **where}
        )
    page = json.loads((tmp_path / "report.out.ipynb").read_text())
    assert ["done\n"] == page["cells"][0]["outputs"][0]["text"]
    assert "ok" == page["metadata"]["kernel_gateway"]["run"]["outcome"]
