"""`commands/engines.py` on a loop: which engine a command gets, and when it gets none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from traitlets.config import Config

from kernel_gateway.client.engine import RemoteEngine
from kernel_gateway.commands.engines import EngineCommand
from kernel_gateway.config import read_settings
from kernel_gateway.errors import Unauthorized, Unreachable
from kernel_gateway.notebook.engine import LocalEngine
from tests.fake.web.gateway import TOKEN, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kernel_gateway.config import Settings


@pytest.fixture
def command() -> Iterator[EngineCommand]:
    yield EngineCommand()
    EngineCommand.clear_instance()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(Config({"Gateway": {"data_dir": str(tmp_path)}}))


async def test_a_notebook_runs_in_this_process_unless_a_gateway_is_named(
    command: EngineCommand, settings: Settings, tmp_path: Path
) -> None:
    async with command.engine(settings, tmp_path / "own", []) as engine:
        assert isinstance(engine, LocalEngine)
        assert "python3" in {spec.name for spec in (await engine.kernelspecs()).specs}


async def test_a_gateway_is_asked_before_anything_is_done(
    command: EngineCommand, settings: Settings, tmp_path: Path
) -> None:
    async with running_gateway(tmp_path) as gateway:
        command.server, command.token = gateway.url, TOKEN
        async with command.engine(settings, tmp_path / "own", []) as engine:
            assert isinstance(engine, RemoteEngine)
            assert await gateway.service.kernelspecs() == await engine.kernelspecs()
        command.token = "wrong"
        with pytest.raises(Unauthorized):
            await command.engine(settings, tmp_path / "own", []).__aenter__()
    with pytest.raises(Unreachable):
        await command.engine(settings, tmp_path / "own", []).__aenter__()
    assert not (tmp_path / "own").exists()
