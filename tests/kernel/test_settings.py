"""What follows from settings before any process is there."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.kernels.environment import kernel_argv, kernel_environment, speaks_ipc
from kernel_gateway.kernels.folder import PrivateFolder, remove_left_behind, usual_base
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.kernels.specs import KernelSpecs

OFF = "--HistoryManager.enabled=False"


@pytest.mark.parametrize(
    ("argv", "added"),
    [
        (["python", "-m", "ipykernel_launcher", "-f", "x"], [OFF]),
        (["python", "-m", "ipykernel", "-f", "x"], [OFF]),
        (["python", "/lib/ipykernel_launcher.py"], [OFF]),
        (["python", "-m", "ipykernel", "--HistoryManager.enabled=True"], []),
        (["xpython", "-f", "x"], []),
    ],
)
def test_history_is_switched_off_for_ipykernel_that_does_not_say_itself(
    argv: list[str], added: list[str]
) -> None:
    assert kernel_argv(argv, KernelSettings()) == argv + added
    assert kernel_argv(argv, KernelSettings(history=True)) == argv


def test_secrets_are_kept_back_whatever_the_pass_list_says() -> None:
    own = {"PATH": "/bin", "KERNEL_GATEWAY_TOKEN": "s", "JUPYTER_TOKEN": "s", "HOME": "/root"}
    assert kernel_environment(own, {}, KernelSettings()) == {"PATH": "/bin", "HOME": "/root"}
    narrow = KernelSettings(env_passlist=("PATH", "KERNEL_*"))
    assert kernel_environment(own, {}, narrow) == {"PATH": "/bin"}


def test_the_request_wins_over_the_gateway() -> None:
    own, requested = {"A": "own", "B": "own"}, {"B": "asked", "C": "asked"}
    expected = {"A": "own", "B": "asked", "C": "asked"}
    assert kernel_environment(own, requested, KernelSettings()) == expected


def test_a_private_folder_is_private_and_goes(tmp_path: Path) -> None:
    folder = PrivateFolder(tmp_path)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove()
    assert not folder.path.exists()


def test_the_usual_folder_is_short_enough_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/no/such/folder")
    folder = PrivateFolder(None)
    assert folder.fits_sockets
    folder.remove()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = PrivateFolder(None)
    assert folder.path.parent == tmp_path
    folder.remove()


def test_a_folder_for_sockets_that_is_not_ours_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert usual_base() == tmp_path
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    assert usual_base() == Path(tempfile.gettempdir())


def test_what_a_killed_gateway_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    used, young = PrivateFolder(tmp_path), tmp_path / "kg-young"
    left, other = tmp_path / "kg-left", tmp_path / "other"
    dear = tmp_path / "kg-dear"  # somebody else calls his folders so, too
    for folder in (young, left, other, dear):
        folder.mkdir()
    (tmp_path / "kg-link").symlink_to(other)
    for file in (left / "kernel.json", left / "k-1", dear / "kernel.json", dear / "thesis.txt"):
        file.touch()
    for folder in (used.path, left, other, dear):
        os.utime(folder, (0, 0))
    assert remove_left_behind(tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["kg-dear", "kg-link", "kg-young", "other", used.path.name]
    )
    used.remove()


def _specs(tmp_path: Path, *names: str, **settings: str) -> KernelSpecs:
    for name in names:
        (tmp_path / name).mkdir()
        spec = {"argv": ["x"], "display_name": name, "language": "x"}
        (tmp_path / name / "kernel.json").write_text(json.dumps(spec))
    return KernelSpecs(KernelSettings(spec_folders=(tmp_path,), **settings))  # type: ignore[arg-type]


def test_the_default_is_the_configured_one_or_python3(tmp_path: Path) -> None:
    assert _specs(tmp_path, "aaa").default_spec() == "python3"
    assert _specs(tmp_path, default_spec="bbb").default_spec() == "bbb"


def test_kernelspecs_are_listed_by_name_and_found_at_once(tmp_path: Path) -> None:
    specs = _specs(tmp_path)
    before = {entry.name for entry in specs.list()}
    _specs(tmp_path, "zzz")
    assert {entry.name for entry in specs.list()} - before == {"zzz"}
    assert specs.entry("ZZZ") in specs.list()


@pytest.mark.parametrize("profile", [None, "elsewhere"])
def test_kernelspecs_are_looked_for_where_jupyter_client_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("IPYTHONDIR", raising=False)
    if profile is not None:
        monkeypatch.setenv("IPYTHONDIR", f"~/{profile}")
    ours = KernelSpecs(KernelSettings())._manager.kernel_dirs
    assert KernelSpecManager().kernel_dirs == ours


@pytest.mark.parametrize("content", ["not json", "[]", '{"argv": 5}', '{"env": "x"}'])
def test_a_broken_kernelspec_is_none(tmp_path: Path, content: str) -> None:
    specs = _specs(tmp_path, "broken")
    (tmp_path / "broken" / "kernel.json").write_text(content)
    with pytest.raises(KernelSpecNotFound, match="'broken'"):
        specs.get("broken")
    assert "broken" not in {entry.name for entry in specs.list()}


@pytest.mark.parametrize(
    ("argv", "metadata", "ipc"),
    [
        (["python", "-m", "ipykernel_launcher"], {}, True),
        (["/opt/deno/bin/deno", "jupyter"], {}, False),
        (["java", "-jar", "kernel.jar"], {}, False),
        (["python", "-m", "run_kotlin_kernel"], {}, False),
        (["python", "-m", "mine"], {"transport": "tcp"}, False),
        (["deno", "jupyter"], {"transport": "ipc"}, True),
    ],
)
def test_kernels_that_cannot_speak_ipc_are_known_or_say_so(
    argv: list[str], metadata: dict[str, str], ipc: bool
) -> None:
    assert ipc is speaks_ipc(argv, metadata)
