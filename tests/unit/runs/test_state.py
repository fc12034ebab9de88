"""The two tables: every entry is walked by a directed transcript, every other one refused."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, TypeVar

import pytest

from kernel_gateway.errors import ImpossibleTransition
from kernel_gateway.runs.state import (
    RUN_TABLE,
    STEP_OVER,
    STEP_TABLE,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
    next_run_state,
    next_step_state,
)
from tests.unit.runs import (
    test_run,
    test_run_cancel,
    test_run_clean_up,
    test_run_input,
    test_run_observed,
)
from tests.unit.runs.driver import recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

S = TypeVar("S")
E = TypeVar("E")

DIRECTED = (test_run, test_run_cancel, test_run_clean_up, test_run_input, test_run_observed)


def test_every_entry_of_both_tables_is_walked_by_a_directed_transcript() -> None:
    with recorded() as seen:
        for transcript in _transcripts():
            transcript()
    assert [] == sorted(_entries(STEP_TABLE) - seen.of_steps)
    assert [] == sorted(_entries(RUN_TABLE) - seen.of_runs)


def test_an_absent_entry_of_the_step_table_is_an_error_that_names_it() -> None:
    for state in StepState:
        for event in set(StepEvent) - set(STEP_TABLE[state]):
            with pytest.raises(ImpossibleTransition) as caught:
                next_step_state(state, event)
            assert f"{event} cannot happen to a step that is {state}" == caught.value.message


def test_an_absent_entry_of_the_run_table_is_an_error_that_names_it() -> None:
    for state in RunState:
        for event in set(RunEvent) - set(RUN_TABLE[state]):
            with pytest.raises(ImpossibleTransition) as caught:
                next_run_state(state, event)
            assert f"{event} cannot happen to a run that is {state}" == caught.value.message


def test_the_tables_give_what_they_say() -> None:
    assert StepState.REPLIED is next_step_state(StepState.SENT, StepEvent.REPLY)
    assert RunState.WAITING is next_run_state(RunState.RUNNING, RunEvent.PROMPTED)


def test_what_a_kernel_can_send_is_in_every_row_that_a_request_can_reach() -> None:
    said = {StepEvent.BUSY, StepEvent.OUTPUT, StepEvent.PROMPT, StepEvent.REPLY, StepEvent.IDLE}
    for state in set(StepState) - {StepState.PENDING}:
        assert said <= set(STEP_TABLE[state]), state


def test_nothing_leads_out_of_an_end() -> None:
    for state in STEP_OVER:
        assert {state} == set(STEP_TABLE[state].values())
    assert {RunState.FINISHED} == set(RUN_TABLE[RunState.FINISHED].values())


def test_a_kernel_that_is_lost_ends_a_run_in_any_state() -> None:
    assert {RunState.FINISHED} == {row[RunEvent.LOST] for row in RUN_TABLE.values()}


def _entries(table: Mapping[S, Mapping[E, S]]) -> set[tuple[S, E]]:
    return {(state, event) for state, row in table.items() for event in row}


def _transcripts() -> list[Callable[[], None]]:
    return [
        value
        for module in DIRECTED
        for name, value in vars(module).items()
        if name.startswith("test_") and not inspect.signature(value).parameters
    ]
