"""The page of the states of a run is what the tables say."""

from __future__ import annotations

from kernel_gateway.runs.state import RUN_TABLE, STEP_TABLE
from tests.docs.make_state_diagram import PAGE, page


def test_the_page_of_run_states_is_made_from_the_tables() -> None:
    assert page() == PAGE.read_text(), "run: python -m tests.docs.make_state_diagram"


def test_every_state_and_event_is_on_the_page() -> None:
    text = page()
    for table in (RUN_TABLE, STEP_TABLE):
        for state, row in table.items():
            assert f"| **{state.value}** |" in text
            for event, after in row.items():
                assert event.value in text
                assert after is state or f"{state.name} --> {after.name}" in text


def test_the_theory_of_operation_is_on_the_page() -> None:
    assert "Two machines are coupled." in page()
    assert "Some kernels never send it after an" in page()
