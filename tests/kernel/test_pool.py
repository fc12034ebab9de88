"""Warm kernels that are processes: what they are when somebody gets them."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from kernel_gateway.kernels import local
from kernel_gateway.kernels.kernel import Generation, KernelId, LaunchRequest
from kernel_gateway.kernels.local import LocalKernel
from kernel_gateway.kernels.pool.kernel import WarmKernel
from kernel_gateway.kernels.pool.launcher import WarmLauncher
from tests.kernel.conftest import IPYKERNEL
from tests.shared.kernels import HANG_LIMIT_S, Bench, Python, Started
from tests.shared.processes import stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.kernel.conftest import MakeBench

PROBE = str(Path(__file__).parent / "alike" / "probe.py")
#: All that a start could have left in a kernel, and all that a hand-over could.
STATE = f"""
import sys
modules = sorted(sys.modules)
import json, os, runpy
from ipykernel.connect import get_connection_info
shell = get_ipython()
print(json.dumps({{
    "modules": modules,
    "seen": runpy.run_path({PROBE!r})["look"](),
    "environment": dict(os.environ),
    "folders": [str(folder) for folder in _dh],
    "starting_dir": shell.starting_dir,
    "names": sorted(globals()),
    "session": globals().get("__session__"),
    "told": [get_connection_info(unpack=True)[name] for name in ("kernel_name", "jupyter_session")],
    "count": shell.execution_count,
    "In": In,
    "Out": Out,
    "history": shell.history_manager.input_hist_raw,
    "shell": sorted(vars(shell)),
    "kernel": sorted(vars(shell.kernel)),
    "handlers": sorted(shell.kernel.shell_handlers),
}}))
"""
WHERE = (
    "import os, pathlib\n"
    "folder = pathlib.Path(os.environ['KERNEL_GATEWAY_ARTIFACT_DIR'])\n"
    "(folder / 'a.txt').write_text('hello')\n"
    "print(folder.resolve())"
)
#: An ipykernel that does not look like one.
OTHER = ["python", "-c", "from ipykernel import kernelapp as k; k.launch_new_instance()", "-f"]


class MakePool(Protocol):
    """One of the kernelspec `made` is on its way; no other follows it before `again` is set."""

    async def __call__(self, **settings: Any) -> Bench: ...


@pytest.fixture
def again() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def make_pool(
    make_bench: MakeBench,
    tmp_path: Path,
    again: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[MakePool]:
    monkeypatch.setattr(local, "ADOPTION_LIMIT_S", HANG_LIMIT_S)
    monkeypatch.setattr(local, "PREPARATION_LIMIT_S", HANG_LIMIT_S)
    launchers: list[WarmLauncher] = []

    async def make(**settings: Any) -> Bench:
        below = make_bench(default_spec="made", **settings).launcher
        assert isinstance(below, local.LocalLauncher)
        launcher = WarmLauncher(
            below, {"made": 1}, folder=tmp_path / "warm", pause=lambda _: again.wait()
        )
        launchers.append(launcher)
        await launcher.start()
        return Bench(launcher, Python())

    yield make
    for launcher in launchers:
        await launcher.close()


async def _full(bench: Bench) -> None:
    assert isinstance(bench.launcher, WarmLauncher)
    async with asyncio.timeout(2 * HANG_LIMIT_S):
        while bench.launcher.warm == 0:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


def _pid(started: Started) -> int:
    assert isinstance(started.kernel, WarmKernel)
    assert isinstance(started.kernel.kernel, LocalKernel)
    pid = started.kernel.kernel._process._pid
    assert pid is not None
    return pid


def _spare_pid(bench: Bench) -> int:
    assert isinstance(bench.launcher, WarmLauncher)
    ((spare,),) = [shelf.ready for shelf in bench.launcher._shelves]
    assert isinstance(spare.kernel, LocalKernel)
    pid = spare.kernel._process._pid
    assert pid is not None
    return pid


def _kill_and_wait(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([pidfd], [], [])
    os.close(pidfd)


async def _state(started: Started) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(started.recorder.stdout(await started.run(STATE)))
    return told


async def test_it_cannot_be_told_from_one_that_was_started_for_the_request(
    make_pool: MakePool, write_spec: Callable[..., str], tmp_path: Path
) -> None:
    """Also where the kernelspec makes variables from those of the request, and where the kernel
    sets some by itself."""
    write_spec(env={"OWN": "${A} and ${B}", "CLICOLOR": "0"})
    bench = await make_pool()
    await _full(bench)
    (tmp_path / "folder").mkdir()
    wanted = {
        "cwd": tmp_path / "folder",
        "env": {
            "JPY_SESSION_NAME": "/some/a.ipynb",
            "TZ": "Asia/Tokyo",
            "TERM": "vt100",
            "A": "first\nsecond",
        },
        "artifact_dir": tmp_path / "artifacts",
    }
    spare = _spare_pid(bench)
    warm = await bench.ready(**wanted)
    assert spare == _pid(warm)
    assert isinstance(bench.launcher, WarmLauncher)
    fresh = await Bench(bench.launcher._launcher, Python()).ready(**wanted)
    expected, state = await _state(fresh), await _state(warm)
    assert state == expected
    assert ("first\nsecond and ${B}", "0o700") == (
        state["environment"]["OWN"],
        oct((tmp_path / "artifacts").stat().st_mode & 0o777),
    )
    count = fresh.recorder.reply(await fresh.run("1")).execution_count
    assert 2 == warm.recorder.reply(await warm.run("1")).execution_count == count
    for started in (warm, fresh):
        await started.kernel.kill()
        await started.kernel.wait_dead()


async def test_one_that_does_not_answer_in_time_is_replaced_and_nobody_notices(
    make_pool: MakePool, write_spec: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_spec()
    bench = await make_pool()
    await _full(bench)
    stopped = _spare_pid(bench)
    pidfd = os.pidfd_open(stopped)
    stop(stopped)
    monkeypatch.setattr(local, "ADOPTION_LIMIT_S", 0.01)
    started = bench.launch(env={"A": "b"})
    msg_id = started.send("import os; print(os.environ['A'])")
    await started.recorder.ended(msg_id)
    assert "b\n" == started.recorder.stdout(msg_id)
    assert stopped != _pid(started)
    await asyncio.to_thread(select.select, [pidfd], [], [])  # it was ended
    os.close(pidfd)
    await started.kernel.kill()
    await started.kernel.wait_dead()


async def test_one_that_was_killed_is_not_handed_over(
    make_pool: MakePool, write_spec: Callable[..., str]
) -> None:
    """The loop does not turn between the death and the request. The next one serves another."""
    write_spec()
    bench = await make_pool()
    await _full(bench)
    _kill_and_wait(_spare_pid(bench))
    assert isinstance(bench.launcher, WarmLauncher)
    assert {"made": 1} == bench.launcher.ready()
    started = await bench.ready()
    assert isinstance(started.kernel, LocalKernel)
    await started.kernel.kill()
    await started.kernel.wait_dead()


async def test_after_a_change_of_the_kernelspec_one_is_started_anew(
    make_pool: MakePool, write_spec: Callable[..., str], tmp_path: Path, again: asyncio.Event
) -> None:
    write_spec()
    bench = await make_pool()
    await _full(bench)
    file = tmp_path / "specs" / "made" / "kernel.json"
    spec = json.loads(file.read_text())
    file.write_text(json.dumps({**spec, "env": {"EDITION": "second"}}))
    os.utime(file, ns=(1, 1))
    for kind in (LocalKernel, WarmKernel):
        started = await bench.ready(env={"NOT_UTF8": "\udcff"})
        assert kind is type(started.kernel)
        msg_id = await started.run("import os; print(os.environ.get('EDITION'))")
        assert "second\n" == started.recorder.stdout(msg_id)
        msg_id = await started.run("print(os.environb[b'NOT_UTF8'])")
        assert "b'\\xff'\n" == started.recorder.stdout(msg_id)
        await started.kernel.kill()
        await started.kernel.wait_dead()
        if kind is LocalKernel:
            again.set()
            await _full(bench)
            again.clear()


async def test_a_kernel_of_another_kind_is_led_to_the_folder_of_the_request(
    make_pool: MakePool, write_spec: Callable[..., str], tmp_path: Path
) -> None:
    write_spec(argv=[*OTHER, "{connection_file}"])
    bench = await make_pool()
    await _full(bench)
    mine = tmp_path / "mine"
    spare = _spare_pid(bench)
    started = await bench.ready(artifact_dir=mine)
    assert spare == _pid(started)
    assert f"{mine}\n" == started.recorder.stdout(await started.run(WHERE))
    assert "hello" == (mine / "a.txt").read_text()
    await started.kernel.kill()
    await started.kernel.wait_dead()


async def test_none_is_kept_where_it_executes_code_of_its_own_when_it_starts(
    make_pool: MakePool,
    write_spec: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may have looked at the folder and the variables that it had then."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-mine.py").write_text("import os; HERE = os.getcwd()")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    write_spec()
    bench = await make_pool()
    await _refused(bench, caplog, "'made': code of its own is executed when it starts")


async def test_none_is_kept_where_the_kernelspec_names_an_extension(
    make_pool: MakePool, write_spec: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    write_spec(argv=[*IPYKERNEL, "--ext=autoreload"])
    bench = await make_pool()
    await _refused(bench, caplog, "'made': code of its own is executed when it starts")


async def test_none_is_kept_where_a_provisioner_of_somebody_else_starts_it(
    make_pool: MakePool,
    write_spec: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it does to folder and variables nobody knows."""
    value = "tests.kernel.provisioners:Elsewhere"
    entry = EntryPoint(name="third", value=value, group=KernelProvisionerFactory.GROUP_NAME)
    monkeypatch.setitem(KernelProvisionerFactory.instance().provisioners, "third", entry)
    write_spec(metadata={"kernel_provisioner": {"provisioner_name": "third"}})
    bench = await make_pool()
    await _refused(bench, caplog, "'made': its provisioner is not one of ours")


async def _refused(bench: Bench, caplog: pytest.LogCaptureFixture, why: str) -> None:
    async with asyncio.timeout(2 * HANG_LIMIT_S):
        while "no kernel is kept warm" not in caplog.text:  # noqa: ASYNC110 - only the log says so
            await asyncio.sleep(0.01)
    assert why in caplog.text
    assert isinstance(bench.launcher, WarmLauncher)
    assert 0 == bench.launcher.warm


def test_a_variable_that_is_read_at_the_start_makes_another_seed(
    make_bench: MakeBench, write_spec: Callable[..., str]
) -> None:
    write_spec("derived", env={"OMP_NUM_THREADS": "${THREADS}"})
    write_spec("other", argv=[*OTHER, "{connection_file}"])
    write_spec()
    launcher = make_bench().launcher
    assert isinstance(launcher, local.LocalLauncher)

    def seed(spec_name: str = "made", **env: str) -> Any:
        return launcher.seed(
            LaunchRequest(
                kernel_id=KernelId("k"), generation=Generation(1), spec_name=spec_name, env=env
            )
        )

    assert seed() == seed(A="b") == seed("MADE")
    assert seed() != seed(OMP_NUM_THREADS="2") == seed(OMP_NUM_THREADS="2", A="b")
    assert seed(IPYTHONDIR="/a") != seed(IPYTHONDIR="/b")
    assert seed() != seed(OPENSSL_CONF="/a") != seed(OPENSSL_CONF="/b")
    assert (("OMP_NUM_THREADS", "2"),) == seed(OMP_NUM_THREADS="2", A="b").env
    assert seed("derived") == seed("derived", A="b")
    assert seed("derived", THREADS="2") is None
    assert (False, None) == (seed("other").adopts, seed("other", A="b"))
    assert seed("other").edition != ""
