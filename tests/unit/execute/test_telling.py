"""`execute/telling.py`: what a program sees while its notebook runs."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import pytest
from tqdm.auto import tqdm

from kernel_gateway.execute.telling import Telling
from kernel_gateway.notebook.choice import Choice
from kernel_gateway.notebook.runner import KernelChosen, NotSaved
from kernel_gateway.runs import records
from kernel_gateway.runs.records import Record, Seq
from kernel_gateway.service import KernelSpecView

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json

NOTEBOOK = {"cells": [{"cell_type": "code"}, {"cell_type": "markdown"}, {"cell_type": "code"}]}
SPEC = KernelSpecView(name="python3", display_name="Python", language="python")


@pytest.fixture(autouse=True)
def no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread in which tqdm looks after its bars outlives them."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)


def telling(**how: Any) -> Telling:
    usual: dict[str, Any] = {
        "progress_bar": False,
        "log_output": False,
        "stdout_file": None,
        "stderr_file": None,
    }
    return Telling(**(usual | how))


def record(body: records.Body) -> Record:
    return Record(seq=Seq(1), at=0.0, step=0, body=body)


def chosen(fallback: str = "") -> KernelChosen:
    return KernelChosen(Choice(spec=SPEC, fallback=fallback), NOTEBOOK)


def shown(data: dict[str, Json]) -> Record:
    return record(records.Output(index=0, output_type="display_data", data=data, metadata={}))


def text(stream: str, said: str) -> Record:
    return record(records.LogText(stream=stream, text=said))


def test_the_bar_counts_cells_that_are_over() -> None:
    screen = io.StringIO()
    told = telling(progress_bar={"file": screen, "desc": "Mine", "miniters": 1, "mininterval": 0})
    told.tell(chosen())
    for state in ("running", "ok", "skipped", "not-run"):
        told.tell(record(records.StepChanged(state=state)))
    told.close()
    last = screen.getvalue().rstrip().rpartition("\r")[2]
    assert last.startswith("Mine: 100%")
    assert " 2/2 " in last


def test_the_bar_is_there_unless_it_is_turned_off(capsys: pytest.CaptureFixture[str]) -> None:
    for wish in (False, True):
        assert "" == capsys.readouterr().err
        told = telling(progress_bar=wish)
        told.tell(chosen())
        told.close()
    assert "Executing:   0%" in capsys.readouterr().err


def test_each_stream_has_a_file() -> None:
    out, err = io.StringIO(), io.StringIO()
    told = telling(stdout_file=out, stderr_file=err)
    for said in (text("stdout", "a"), text("stderr", "b"), text("stdout", "c")):
        told.tell(said)
    told.close()
    assert ("ac", "b") == (out.getvalue(), err.getvalue())


def test_what_cells_say_is_logged_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    output, picture = shown({"text/plain": "42"}), shown({"image/png": "x"})
    for wish in (False, True):
        told = telling(log_output=wish)
        for event in (text("stdout", "out"), text("stderr", "err"), output, picture):
            told.tell(event)
    expected = [(logging.INFO, "out"), (logging.WARNING, "err"), (logging.INFO, "42")]
    assert expected == [(line.levelno, line.getMessage()) for line in caplog.records]


def test_the_kernel_and_what_needs_attention_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    told = telling()
    told.tell(chosen())
    told.tell(chosen(fallback="Another one."))
    told.tell(NotSaved("It is full."))
    assert [
        (logging.INFO, "Executing notebook with kernel: python3"),
        (logging.WARNING, "Another one."),
        (logging.INFO, "Executing notebook with kernel: python3"),
        (logging.WARNING, "The output is written again later: It is full."),
    ] == [(line.levelno, line.getMessage()) for line in caplog.records]
