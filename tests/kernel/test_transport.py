"""Which way messages travel, and that whatever travels arrives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kernel_gateway.messaging.facts import Idle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kernel.conftest import MakeBench
    from tests.shared.kernels import Bench, Started

CURVE = {"supported_encryption": ["curve"]}

#: ZeroMQ's own bounds would let half of them arrive.
FLOOD = 4000

#: Asks the kernel itself: transport, and whether it has keys.
TRAVELS = (
    "from ipykernel.connect import get_connection_info as i\n"
    "print(i(unpack=True)['transport'], 'curve_secretkey' in i(unpack=True))"
)


async def _travels(started: Started) -> str:
    msg_id = await started.run(TRAVELS)
    await started.kernel.kill()
    await started.kernel.wait_dead()
    return started.recorder.stdout(msg_id)


async def test_ipc_is_the_default_and_needs_no_keys(
    bench: Bench, write_spec: Callable[..., str]
) -> None:
    spec = write_spec(metadata=CURVE)
    assert await _travels(await bench.ready(spec_name=spec)) == "ipc False\n"


async def test_tcp_is_encrypted_where_the_kernelspec_declares_it(
    make_bench: MakeBench, write_spec: Callable[..., str]
) -> None:
    bench = make_bench(transport="tcp")
    able, unable = write_spec("able", metadata=CURVE), write_spec("unable")
    assert await _travels(await bench.ready(spec_name=able)) == "tcp True\n"
    assert await _travels(await bench.ready(spec_name=unable)) == "tcp False\n"


async def test_encryption_can_be_required_on_ipc_too(
    make_bench: MakeBench, write_spec: Callable[..., str]
) -> None:
    bench = make_bench(transport_encryption="required")
    spec = write_spec("able", metadata=CURVE)
    assert await _travels(await bench.ready(spec_name=spec)) == "ipc True\n"


async def test_a_kernel_that_cannot_encrypt_is_not_started_where_it_must(
    make_bench: MakeBench, write_spec: Callable[..., str]
) -> None:
    bench = make_bench(transport_encryption="required")
    started = bench.launch(spec_name=write_spec("unable"))
    exit_ = await started.recorder.dead()
    assert (exit_.exit_code, exit_.signal) == (None, None)
    assert exit_.start_fault == (
        "Encryption is required, but kernelspec 'unable' does not declare 'curve' in "
        "metadata.supported_encryption."
    )


async def test_a_path_that_is_too_long_for_a_socket_means_tcp(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    started = await make_bench(runtime_dir=long).ready()
    assert await _travels(started) == "tcp True\n"  # the kernelspec python3 declares curve
    assert list(long.iterdir()) == []


async def test_a_flood_is_complete_though_nobody_reads_while_it_is_made(
    bench: Bench, tmp_path: Path
) -> None:
    """The loop stands still, in the read of the fifo, until the kernel has printed everything."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    started = await bench.ready()
    msg_id = started.send(
        f"for n in range({FLOOD}): print(n, flush=True)\nopen({str(fifo)!r}, 'w').close()"
    )
    fifo.read_bytes()
    await started.recorder.ended(msg_id)
    assert started.recorder.stdout(msg_id) == "".join(f"{n}\n" for n in range(FLOOD))
    assert started.recorder.facts(msg_id).count(Idle()) == 1
    await started.kernel.kill()


async def test_one_message_can_carry_20_mib(bench: Bench) -> None:
    started = await bench.ready()
    msg_id = await started.run("print('x' * 20 * 2**20)")
    assert started.recorder.stdout(msg_id) == "x" * 20 * 2**20 + "\n"
    await started.kernel.kill()
