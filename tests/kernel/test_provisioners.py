"""Provisioners of third parties, registered as their entry points would be."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from kernel_gateway.errors import KernelSpecNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.shared.kernels import Bench


@pytest.fixture
def spec_of(
    write_spec: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """The name of a kernelspec whose provisioner is this one, `module:Class`."""

    def spec(value: str) -> str:
        entry = EntryPoint(name="third", value=value, group=KernelProvisionerFactory.GROUP_NAME)
        monkeypatch.setitem(KernelProvisionerFactory.instance().provisioners, "third", entry)
        return write_spec(metadata={"kernel_provisioner": {"provisioner_name": "third"}})

    return spec


async def test_one_without_a_local_process_starts_runs_interrupts_and_ends(
    bench: Bench, spec_of: Callable[[str], str]
) -> None:
    started = await bench.ready(spec_name=spec_of("tests.kernel.provisioners:Elsewhere"))
    msg_id = started.send(bench.dialect.sleeps())
    await started.printed(msg_id, "sleeping")
    await started.kernel.interrupt()
    assert (await started.recorder.ended(msg_id)).ename == "KeyboardInterrupt"
    started.send(bench.dialect.exits(3))
    assert (await started.recorder.dead()).exit_code == 3


async def test_one_without_a_local_process_can_be_killed(
    bench: Bench, spec_of: Callable[[str], str]
) -> None:
    started = await bench.ready(spec_name=spec_of("tests.kernel.provisioners:Elsewhere"))
    await started.kernel.kill()
    assert (await started.kernel.wait_dead()).signal == "SIGKILL"


async def test_one_that_never_starts_anything_is_given_up_at_the_limit(
    bench: Bench, spec_of: Callable[[str], str]
) -> None:
    spec = spec_of("tests.kernel.provisioners:NeverThere")
    started = bench.launch(spec_name=spec, start_limit_s=0.1)
    exit_ = await started.recorder.dead()
    assert exit_.start_fault == "It was not ready within 0.1 s: its provisioner has not started it."
    assert (exit_.exit_code, exit_.signal) == (None, None)


async def test_a_start_that_waits_for_its_provisioner_can_be_given_up(
    bench: Bench, spec_of: Callable[[str], str]
) -> None:
    started = bench.launch(spec_name=spec_of("tests.kernel.provisioners:NeverThere"))
    await started.kernel.shutdown(grace_s=20.0)
    assert started.recorder.exits[0].start_fault == "It was stopped before it was ready."


async def test_one_that_cannot_be_loaded_is_a_start_fault(
    bench: Bench, spec_of: Callable[[str], str]
) -> None:
    started = bench.launch(spec_name=spec_of("no.such.module:Thing"))
    exit_ = await started.recorder.dead()
    assert exit_.start_fault == (
        "Kernelspec 'made' could not be started: ModuleNotFoundError: No module named 'no'"
    )


@pytest.mark.logs_error(r"cleanup\(\) failed.*clumsy again")
async def test_one_that_fails_behind_the_start_leaves_no_process(
    bench: Bench, spec_of: Callable[[str], str]
) -> None:
    started = bench.launch(spec_name=spec_of("tests.kernel.provisioners:Clumsy"))
    exit_ = await started.recorder.dead()
    assert exit_.start_fault is not None
    assert exit_.start_fault.endswith("RuntimeError: clumsy")
    assert exit_.signal == "SIGKILL"


async def test_one_that_is_not_installed_is_named_as_the_reason(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    spec = write_spec(metadata={"kernel_provisioner": {"provisioner_name": "not-installed"}})
    with pytest.raises(KernelSpecNotFound, match="'made' asks for a kernel provisioner"):
        bench.launch(spec_name=spec)
