"""What a command learns of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.messaging.strict_json import Json
    from tests.kernel.command_kernel.conftest import Shell

SHOW = "env | grep -E '^(KERNEL_GATEWAY_(RUN|CONTEXT|ARTIFACT)|TRACEPARENT)' | sort"


def told(folder: Path, **context: str) -> dict[str, Json]:
    return {
        "kernel_gateway": {
            "run_id": "run 1",
            "uid": "5fac",
            "context": {**context},
            "artifact_dir": str(folder),
        }
    }


async def test_a_command_finds_its_run_in_its_environment(shell: Shell, tmp_path: Path) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert (
        f"KERNEL_GATEWAY_ARTIFACT_DIR={tmp_path}\n"
        f'KERNEL_GATEWAY_CONTEXT={{"user": "ada", "traceparent": "{trace}"}}\n'
        "KERNEL_GATEWAY_RUN_ID=run 1\n"
        "KERNEL_GATEWAY_RUN_UID=5fac\n"
        f"TRACEPARENT={trace}\n"
    ) == await shell.output(SHOW, told(tmp_path, user="ada", traceparent=trace))


async def test_the_next_command_of_somebody_else_finds_nothing_of_it(
    shell: Shell, tmp_path: Path
) -> None:
    assert "run 1\n" == await shell.output("echo $KERNEL_GATEWAY_RUN_ID", told(tmp_path))
    assert "" == await shell.output(SHOW)


async def test_a_python_script_has_its_run_by_the_same_call_as_a_cell(
    shell: Shell, tmp_path: Path
) -> None:
    program = (
        "from kernel_gateway.scope import current_run; run = current_run(); "
        'print(run.id, run.uid, run.context, run.artifact_dir); run.log("done")'
    )
    expected = f"run 1 5fac {{'user': 'ada'}} {tmp_path}\ndone\n"
    assert expected == await shell.output(f"python3 -c '{program}'", told(tmp_path, user="ada"))
