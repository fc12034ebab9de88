"""The how-to on gateways elsewhere is true: its options, its limits, and its program."""

from __future__ import annotations

import asyncio
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from kernel_gateway.client.engine import UNREAD_S
from kernel_gateway.client.patience import Patience
from kernel_gateway.commands.run import RunApp
from kernel_gateway.web import schemas
from kernel_gateway.web.settings import WebSettings
from tests.fake.notebook.conftest import code
from tests.fake.web.gateway import TOKEN, running_gateway

HOWTO = (Path(__file__).parents[2] / "docs/how-to/remote-runs.md").read_text()


def test_its_options_are_there() -> None:
    named = {str(name) for name in set(re.findall(r"--([a-z]+)", HOWTO)) - {"secret"}}
    assert {"server", "upload", "artifacts", "cwd"} == named
    assert named <= set(RunApp.aliases)


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"for {UNREAD_S:g} seconds" in HOWTO
    assert f"at most {schemas.MAX_FILES:,} files" in HOWTO
    assert f"{WebSettings(token='t').max_body_bytes >> 20} MiB" in HOWTO
    patience = Patience()
    pauses = [patience.pause_s(failures, None) for failures in range(1, patience.tries)]
    assert 20 <= sum(pauses) <= 40  # half a minute or so


async def test_its_program_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [{"id": "c", **code("save model.txt m", "summary")}],
    }
    async with running_gateway(tmp_path) as gateway:
        program = program.replace("Client()", f"Client({gateway.url!r}, {TOKEN!r})")
        with redirect_stdout(StringIO()) as printed:
            await asyncio.to_thread(exec, program, {"notebook": notebook})
    assert "file model.txt 1\n" == printed.getvalue()
