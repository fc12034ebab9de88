"""The arithmetic of the benchmarks, and what their report says, with figures that were made up."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from benchmarks.measure import reason
from benchmarks.picture import panels, picture
from benchmarks.report import report
from benchmarks.results import (
    Bound,
    Measure,
    Run,
    Series,
    Target,
    from_json,
    merged,
    ratios,
    to_json,
    verdict,
)

FLOOR = Series(name="floor", rounds=(1.0, 2.0, 4.0))
OURS = Series(name="ours", rounds=(2.0, 2.0, 6.0), p99=7.0, cpu_ms={"gateway": 0.5})
LOST = Series(name="theirs", rounds=(0.1, 0.1, 0.1), fault="0.300 arrived")


def target(*, limit: float, bound: Bound = "at most", over: str = "floor") -> Target:
    return Target(text="a cell", of="ours", over=over, bound=bound, limit=limit)


def measure(*targets: Target, name: str = "warm", unit: str = "ms") -> Measure:
    return Measure(
        name=name, title="A `cell`", unit=unit, series=(FLOOR, OURS, LOST), targets=targets
    )


def run(*measures: Measure) -> Run:
    return Run(
        date="2030-01-01",
        machine={"cores": "2", "CPU": "one & another"},
        versions={"pyzmq": "1"},
        measures=measures,
        missing={"bulk": "it took longer than 9 s"},
    )


def test_a_ratio_is_that_of_the_same_round() -> None:
    assert (2.0, 1.0, 1.5) == ratios(OURS, FLOOR)


def test_who_lost_output_has_no_ratio_and_is_no_floor() -> None:
    assert () == ratios(LOST, FLOOR)
    assert () == ratios(FLOOR, LOST)


@pytest.mark.parametrize(
    ("bound", "limit", "met", "miss"),
    [
        ("at most", 1.5, True, 0.0),
        ("at most", 1.0, False, 0.5),
        ("at least", 1.5, True, 0.0),
        ("at least", 2.0, False, 0.25),
    ],
)
def test_a_target_is_met_by_the_median_or_missed_by_a_part_of_its_limit(
    bound: Bound, limit: float, met: bool, miss: float
) -> None:
    found = verdict(measure(), target(limit=limit, bound=bound))
    assert (met, round(miss, 6)) == (found.met, round(found.miss, 6))


def test_a_target_without_another_is_about_the_figure_itself() -> None:
    found = verdict(measure(), target(limit=3, over=""))
    assert ((2.0, 2.0, 6.0), True) == (found.values, found.met)


@pytest.mark.parametrize("over", ["theirs", "nobody"])
def test_nothing_is_said_of_a_target_whose_contender_has_no_figure(over: str) -> None:
    found = verdict(measure(), target(limit=3, over=over))
    assert (None, 0.0) == (found.met, found.miss)
    assert found.fault


def test_the_report_tells_what_was_met_missed_and_not_measured() -> None:
    text = report(run(measure(target(limit=1.5), target(limit=1), target(limit=1, over="theirs"))))
    assert "| a cell | at most 1.5 x | 1.00 / **1.50** / 2.00 | yes |" in text
    assert "| a cell | at most 1 x | 1.00 / **1.50** / 2.00 | **no**, by 50 % |" in text
    assert "| a cell | at most 1 x | - | not measured: 0.300 arrived |" in text
    assert "- bulk: it took longer than 9 s" in text
    assert "| ours | 2.00 / **2.00** / 6.00 | 7.00 | 1.00 / **1.50** / 2.00 | 0.50 |" in text
    assert "| theirs | 0.300 arrived | - | - | - |" in text


def test_every_row_of_a_table_is_as_wide_as_its_head() -> None:
    sections = report(run(measure(target(limit=1)))).split("\n\n")
    found = 0
    for section in sections:
        widths = {line.count("|") for line in section.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, section
        found += bool(widths)
    assert 2 == found


def test_a_run_that_was_written_is_read_again_as_it_was() -> None:
    whole = run(measure(target(limit=1)))
    assert whole == from_json(json.loads(json.dumps(to_json(whole))))


def test_measures_that_were_made_again_take_the_place_of_their_former_selves() -> None:
    again = measure(target(limit=1), name="bulk")
    both = merged(run(measure(), measure(name="bulk")), run(again), ["bulk"])
    assert (measure(), again) == both.measures


def test_a_part_that_has_failed_before_and_does_not_any_more_is_not_told_as_missing() -> None:
    before = run(measure())
    assert before.missing
    after = replace(before, missing={})
    assert before.missing == merged(before, after, ["warm"]).missing
    assert {} == merged(before, after, list(before.missing)).missing


def test_the_picture_is_xml_and_has_a_bar_for_everyone_who_has_a_speed() -> None:
    drawn = ET.fromstring(picture(run(measure())))
    bars = [one.get("class") for one in drawn.iter() if one.tag.endswith("rect")]
    assert ["other", "ours"] == sorted(filter(None, bars))


def test_only_the_first_measure_of_a_name_is_drawn_and_only_one_that_is_to_be_shown() -> None:
    shown = panels([measure(), measure(unit="s"), measure(name="burst")])
    assert ["ms"] == [panel.unit for panel in shown]


def test_the_reason_of_a_failure_names_no_path() -> None:
    error = RuntimeError("it does not serve:\nno file '/home/somebody/x/y.py' there")
    assert "RuntimeError: no file '...' there" == reason(error)
