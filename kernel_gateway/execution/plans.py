"""What an execute call wants to be done, as a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.execution.languages import commands_of
from kernel_gateway.runs.plan import Limits, Mode, RunPlan, StepPlan, batch_steps

if TYPE_CHECKING:
    from kernel_gateway.execution.languages import Language
    from kernel_gateway.service import BatchCommands


def query_plan(code: str, limits: Limits) -> RunPlan:
    return RunPlan(mode=Mode.QUERY, steps=(StepPlan(code=code),), limits=limits)


def batch_plan(commands: BatchCommands, language: Language | None, limits: Limits) -> RunPlan:
    steps = batch_steps(
        commands_of(language, "clean", commands.clean),
        commands_of(language, "build", commands.build),
        commands_of(language, "exec", commands.exec),
    )
    return RunPlan(mode=Mode.BATCH, steps=steps, limits=limits)
