"""Batch runs: clean, build and exec, each with its output, its end and its exit code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.backendai.client import LIMIT_S, merged_text, processes_with
from tests.shared.programs import needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.backendai.client import Sdk, Session
    from tests.e2e.backendai.gate import Gate

PARTS = ("clean", "build", "exec")
WELL = [("clean-finished", 0), ("build-finished", 0), ("finished", 0)]
#: The contract's half second, with room for a machine that is busy.
INTERRUPT_S = 2.0

GREET = '#include <stdio.h>\nint main(void) { puts("hello"); return 3; }\n'


# -- phases


@pytest.mark.parametrize(
    "steps",
    [
        {"clean": "echo c", "build": "echo b", "exec": "echo e"},
        {"exec": "echo e"},
        {"build": "echo b"},
        {"build": "", "exec": "echo e"},
        {},
    ],
    ids=["all", "exec alone", "build alone", "empty build", "none"],
)
def test_each_part_ends_once_also_when_it_is_left_out(
    session: Session, steps: dict[str, str]
) -> None:
    talk = session.batch(**steps).to_the_end()
    assert WELL == talk.phases
    told = {name: talk.text_of(status) for name, (status, _) in zip(PARTS, WELL, strict=True)}
    assert {name: f"{name[0]}\n" if steps.get(name) else "" for name in PARTS} == told


def test_each_part_has_the_exit_code_of_its_own(session: Session) -> None:
    talk = session.batch(clean="exit 4", build="true", exec="exit 200").to_the_end()
    assert [("clean-finished", 4), ("build-finished", 0), ("finished", 200)] == talk.phases


@pytest.mark.parametrize(
    ("command", "code"), [("no-such-command-anywhere", 127), ("kill -9 $$", 137), ("false", 1)]
)
def test_the_exit_code_is_the_shells(session: Session, command: str, code: int) -> None:
    assert ("finished", code) == session.batch(exec=command).to_the_end().phases[-1]


def test_streams_are_told_apart(session: Session) -> None:
    talk = session.batch(exec="echo out; echo err >&2; printf 'no newline'").to_the_end()
    assert ("out\nno newline", "err\n") == (talk.text(), talk.text("stderr"))


def test_steps_share_the_folder_of_queries_and_leave_the_kernel_alone(session: Session) -> None:
    session.run("kept = 1; _ = open('query.txt', 'w').write('of the query')")
    talk = session.batch(build="cat query.txt", exec="echo of the step > step.txt; cd /; pwd")
    assert "of the query/\n" == talk.to_the_end().text()
    assert "of the step" == session.value("open('step.txt').read().strip()")
    assert "1" == session.value("kept")


def test_a_star_stands_for_the_default_of_the_language(sdk: Sdk, session: Session) -> None:
    session.write(main_py="import sys; print('main of', sys.argv)")
    assert "main of ['main.py']\n" == session.batch(build="*", exec="*").to_the_end().text()


def test_a_star_compiles_and_runs_c(sdk: Sdk, name: str) -> None:
    needs("gcc")
    session = sdk.create(name, "gcc:12")
    session.batch(exec=f"cat > main.c <<'END'\n{GREET}END").to_the_end()
    talk = session.batch(clean="*", build="*", exec="*").to_the_end()
    assert [*WELL[:2], ("finished", 3)] == talk.phases
    assert "hello\n" == talk.text()
    session.call("destroy")


# -- a build that fails


def test_a_failed_build_says_why_and_is_not_run(session: Session) -> None:
    needs("gcc")
    session.write(main_c="int main(void) { retrun 0; }\n")
    talk = session.batch(build="gcc -o main main.c", exec="echo never").to_the_end()
    assert [("clean-finished", 0), ("build-finished", 1), ("finished", 127)] == talk.phases
    said = talk.text_of("build-finished", "stderr")
    assert "main.c:1:" in said
    assert "error:" in said
    assert "never" not in merged_text(talk.answers)


def test_the_next_run_does_not_remember_a_failed_build(session: Session) -> None:
    session.batch(build="echo broken >&2; exit 9", exec="echo never").to_the_end()
    talk = session.batch(exec="echo again").to_the_end()
    assert (WELL, "again\n") == (talk.phases, merged_text(talk.answers))
    assert "1" == session.value("1")


# -- whose output it is


def test_output_of_the_build_comes_before_its_end_for_a_reader_who_keeps_up(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    build, program = gate("build"), gate("program")
    stream = session.stream(
        mode="batch",
        build=f"echo b1; {build.shell}; echo b2 >&2; echo b3",
        exec=f"echo e1; {program.shell}; echo e2",
    )
    stream.until_told("b1\n")
    build.wait()
    assert ["clean-finished"] == [status for status, _ in stream.phases]
    build.open()
    stream.until_told("e1\n")
    assert ["clean-finished", "build-finished"] == [status for status, _ in stream.phases]
    program.wait()
    program.open()
    stream.until("finished")
    assert WELL == stream.phases
    assert ("", "b1\nb3\n", "e1\ne2\n") == tuple(stream.text_of(status) for status, _ in WELL)
    assert "b2\n" == stream.text_of("build-finished", "stderr")
    stream.leave()


def test_output_of_the_build_comes_before_its_end_for_a_reader_who_comes_late(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    over = gate("over")
    lines = "for n in $(seq 2000); do echo {}$n; done"
    first = session.begin(
        "execute",
        "late",
        "",
        mode="batch",
        opts={
            "clean": lines.format("c"),
            "build": lines.format("b"),
            "exec": f"{lines.format('e')}; {over.shell}",
        },
    )
    over.wait()  # everything has been printed, and little of it read
    over.open()
    answers = [first.result(LIMIT_S)]
    while answers[-1]["status"] != "finished":
        answers.append(session.execute("late", "", "continue"))
    assert ["clean-finished", "build-finished", "finished"] == [
        answer["status"] for answer in answers if answer["status"] != "continued"
    ]
    text = merged_text(answers)
    assert "".join(f"{part}{n}\n" for part in "cbe" for n in range(1, 2001)) == text
    ends = [i for i, answer in enumerate(answers) if answer["status"] != "continued"]
    assert "b2000\n" == merged_text(answers[: ends[1] + 1])[-6:]
    assert "c2000\n" == merged_text(answers[: ends[0] + 1])[-6:]


def test_a_run_queued_behind_another_keeps_its_parts_apart_too(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    first = session.stream(mode="batch", build=f"echo b1; {held.shell}", exec="echo e1")
    first.until_told("b1\n")
    second = session.stream(mode="batch", build="echo b2; exit 5", exec="echo e2")
    third = session.stream(mode="batch", clean="echo c3", build="echo b3", exec="echo e3")
    for queued in (second, third):
        assert ("continued", []) == (queued.frame()["status"], queued.last["console"])
    held.open()
    for stream in (third, first, second):  # in whatever order they are read
        stream.until("finished")
        stream.leave()
    assert WELL == first.phases == third.phases
    assert [("clean-finished", 0), ("build-finished", 5), ("finished", 127)] == second.phases
    told = [[stream.text_of(status) for status, _ in WELL] for stream in (first, second, third)]
    assert [["", "b1\n", "e1\n"], ["", "b2\n", ""], ["c3\n", "b3\n", "e3\n"]] == told


# -- interrupt


def test_an_interrupt_reaches_the_children_of_the_shell(session: Session) -> None:
    mark = "50.0417"  # seconds that no other program sleeps
    stream = session.stream(mode="batch", exec=f'sh -c "echo go; sleep {mark}"')
    stream.until_told("go\n")
    assert [] != processes_with(mark)
    began = time.monotonic()
    session.call("interrupt")
    stream.until("finished")
    assert INTERRUPT_S > time.monotonic() - began
    assert stream.exit_code not in {0, None}
    assert [] == processes_with(mark)
    stream.leave()
    assert "next\n" == session.batch(exec="echo next").to_the_end().text()


def test_an_interrupt_in_the_build_skips_the_program(
    session: Session, gate: Callable[[str], Gate]
) -> None:
    held = gate("held")
    first = session.begin(
        "execute", "r", "", mode="batch", opts={"build": held.shell, "exec": "echo never"}
    )
    held.wait()
    session.call("interrupt")
    answers = [first.result(LIMIT_S)]
    while answers[-1]["status"] != "finished":
        answers.append(session.execute("r", "", "continue"))
    assert 0 != answers[-1]["exitCode"]
    assert "never" not in merged_text(answers)
