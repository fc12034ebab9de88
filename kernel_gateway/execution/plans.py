"""What an execute call wants to be done, as a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.execution.languages import commands_of
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan

if TYPE_CHECKING:
    from kernel_gateway.execution.languages import Language
    from kernel_gateway.service import BatchCommands


def query_plan(code: str, limits: Limits) -> RunPlan:
    return RunPlan(mode=Mode.QUERY, steps=(StepPlan(code=code),), limits=limits)


def batch_plan(commands: BatchCommands, language: Language | None, limits: Limits) -> RunPlan:
    """Always all three steps: one that is left out has an end too, and execute tells it.

    What cannot be cleaned away is no reason not to build.
    """
    given = {"clean": commands.clean, "build": commands.build, "exec": commands.exec}
    steps = tuple(
        StepPlan(
            code=commands_of(language, phase, command),
            name=phase,
            phase=phase,
            allow_error=phase == "clean",
        )
        for phase, command in given.items()
    )
    return RunPlan(mode=Mode.BATCH, steps=steps, limits=limits)
