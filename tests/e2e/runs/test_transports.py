"""The files by which kernels are talked to: private while they are needed, then gone."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.main_job.gateway import calling, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def short() -> Iterator[Path]:
    """The path of a unix socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="kg-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
async def test_kernels_are_talked_to_by_files_that_nobody_else_can_read(
    tmp_path: Path, short: Path, transport: str
) -> None:
    options = (f"--Kernels.transport={transport}", f"--Kernels.runtime_dir={short}")
    with serving(tmp_path / "data", *options) as server:
        async with calling(server) as client:
            kernel = await client.kernel()
            talk = await kernel.run("print('over it')")
            assert (0, "over it\n") == (talk.exit_code, talk.text())
            paths = _below(short)
            connection = next(path for path in paths if path.suffix == ".json").read_text()
            assert f'"transport": "{transport}"' in connection
            assert (transport == "tcp") == ("curve_secretkey" in connection)
            assert (transport == "ipc") == any(_is_of_a_kernel(path) for path in paths)
            assert {0o700} == {_mode(path) for path in paths if path.is_dir()}
            assert {0o600} == {_mode(path) for path in paths if path.is_file()}
    assert [] == _below(short)


def _below(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def _is_of_a_kernel(path: Path) -> bool:
    """A socket, and not that of whoever forks kernels."""
    return path.is_socket() and not path.name.startswith("fork-")


def _mode(path: Path) -> int:
    """Who may read, write and enter."""
    return stat.S_IMODE(path.stat().st_mode) & 0o777
