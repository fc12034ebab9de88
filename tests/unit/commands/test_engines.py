"""`commands/engines.py`: what is sent, where it comes home, and what makes no sense."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.engines import EngineCommand, remote_engine
from kernel_gateway.errors import Refused
from kernel_gateway.notebook.bringing import Homes

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "http://127.0.0.1:9"
WORK = Path("/work folder")


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERNEL_GATEWAY_TOKEN", raising=False)


@pytest.fixture
def command() -> Iterator[EngineCommand]:
    yield EngineCommand()
    EngineCommand.clear_instance()


def with_values(command: EngineCommand, **values: Any) -> EngineCommand:
    for name, value in values.items():
        setattr(command, name, value)
    return command


def test_a_run_in_this_process_finds_its_files_itself(command: EngineCommand) -> None:
    assert None is command.uploads(WORK)
    with pytest.raises(UsageError, match="--upload is for --server"):
        with_values(command, upload=["data"]).uploads(WORK)


def test_nothing_is_sent_that_is_not_named(command: EngineCommand, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    assert {} == with_values(command, server=URL).uploads(tmp_path)
    assert {"a": b"1"} == with_values(command, upload=["a"]).uploads(tmp_path)
    with pytest.raises(UsageError, match="outside of the working folder"):
        with_values(command, upload=["../a"]).uploads(tmp_path)


@pytest.mark.parametrize(
    ("notebook", "output", "expected"),
    [
        ("in.ipynb", "/o/report.ipynb", Path("/o/report_artifacts")),
        ("in.ipynb", "/o/report.out.ipynb", Path("/o/report.out_artifacts")),
        ("/i/in.ipynb", "-", Path.cwd() / "in_artifacts"),
        ("-", "-", Path.cwd() / "notebook_artifacts"),
        ("/i/in.ipynb", "s3://bucket/out.ipynb", Path.cwd() / "in_artifacts"),
    ],
)
def test_artifacts_come_home_beside_the_output(
    command: EngineCommand, notebook: str, output: str, expected: Path
) -> None:
    assert Homes(work=WORK, artifacts=expected) == command.homes(WORK, notebook, output)


def test_artifacts_come_home_where_somebody_says(command: EngineCommand) -> None:
    homes = with_values(command, artifacts="/there").homes(WORK, "in.ipynb", "out.ipynb")
    assert Homes(work=WORK, artifacts=Path("/there")) == homes
    one = command.homes(WORK, "in.ipynb", "/o/a=1.out.ipynb", is_one_of_several=True)
    assert Path("/there/a=1.out") == one.artifacts


def test_artifacts_of_several_are_kept_apart_wherever_the_outputs_are(
    command: EngineCommand,
) -> None:
    one = command.homes(WORK, "in.ipynb", "s3://bucket/a=1.ipynb", is_one_of_several=True)
    assert Path.cwd() / "a=1_artifacts" == one.artifacts


async def open_(url: str, token: str | None) -> None:
    async with remote_engine(url, token):
        raise AssertionError("there is no gateway")


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [(URL, UsageError, "A token is needed"), ("nonsense", Refused, "must begin with http")],
)
def test_a_gateway_has_an_address_and_a_token(url: str, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        asyncio.run(open_(url, None))
