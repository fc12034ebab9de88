"""`kernel_gateway.scope` as code outside of a kernel meets it, and what a metric may be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kernel_gateway.scope import (
    METADATA_KEY,
    METRIC_MIME,
    Run,
    ScopeError,
    current_run,
    metric_content,
)

VARIABLES = {
    "KERNEL_GATEWAY_RUN_ID": "run 1/ä",
    "KERNEL_GATEWAY_RUN_UID": "5fac",
    "KERNEL_GATEWAY_CONTEXT": '{"user": "ada"}',
}


class Scalar:
    """As numpy has them."""

    def __init__(self, value: object) -> None:
        self._value = value

    def item(self) -> object:
        return self._value


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This process is a command of a run."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KERNEL_GATEWAY_ARTIFACT_DIR", str(tmp_path / "of" / "the run"))


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*VARIABLES, "KERNEL_GATEWAY_ARTIFACT_DIR"]:
        monkeypatch.delenv(name, raising=False)


# -- a command ------------------------------------------------------------------------------------


def test_a_command_reads_its_run_from_its_environment(command: None, tmp_path: Path) -> None:
    run = current_run()
    assert ("run 1/ä", "5fac", {"user": "ada"}) == (run.id, run.uid, run.context)
    assert "<Run run 1/ä>" == repr(run)
    folder = run.artifact_dir
    assert tmp_path / "of" / "the run" == folder
    assert folder.is_dir()
    assert 0o700 == folder.stat().st_mode & 0o777
    assert folder == run.artifact_dir


def test_the_context_is_a_copy(command: None) -> None:
    run = current_run()
    run.context["user"] = "eve"
    assert {"user": "ada"} == run.context


def test_a_command_cannot_give_metrics_and_is_told_what_it_can_do(command: None) -> None:
    with pytest.raises(ScopeError, match="artifact_dir"):
        current_run().metric("loss", 1)
    with pytest.raises(ValueError, match="letter"):
        current_run().metric("1", 1)


def test_a_line_of_the_log_is_a_line_on_stdout(
    command: None, capsys: pytest.CaptureFixture[str]
) -> None:
    current_run().log("half way")
    assert "half way\n" == capsys.readouterr().out


def test_outside_of_a_run_there_is_none(nobody: None) -> None:
    with pytest.raises(ScopeError, match="not started by a kernel gateway"):
        current_run()
    assert issubclass(ScopeError, RuntimeError)


def test_what_the_gateway_did_not_tell_is_named(
    nobody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_GATEWAY_RUN_ID", "r")
    run = current_run()
    assert ("r", {}) == (run.id, run.context)
    for name in ("uid", "artifact_dir"):
        with pytest.raises(ScopeError, match=f"no {name}"):
            getattr(run, name)


def test_a_cell_of_another_client_has_metrics_and_nothing_else() -> None:
    shown: list[Any] = []
    run = Run(None, display=lambda data, metadata: shown.append(data))
    run.metric("loss", 0.5)
    assert [
        {
            "application/vnd.kernel-gateway.metric+json": {
                "name": "loss",
                "value": 0.5,
                "mode": "replace",
            }
        }
    ] == shown
    for name in ("id", "uid", "context", "artifact_dir"):
        with pytest.raises(ScopeError, match="client of the kernel"):
            getattr(run, name)
    assert "<Run of another client>" == repr(run)


def test_its_import_brings_next_to_nothing_along() -> None:
    """It is paid by each kernel and each command that wants to know its run."""
    program = (
        "import sys; before = set(sys.modules); import kernel_gateway.scope; "
        "print(sorted(set(sys.modules) - before))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {program}"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    allowed = ["__future__", "kernel_gateway", "kernel_gateway.scope", "math"]
    assert set(json.loads(done.stdout.replace("'", '"'))) <= set(allowed)


# -- a cell, as IPython tells of it ----------------------------------------------------------------


class Shell:
    """As a kernel has it; `parent` is the request whose cell runs."""

    def __init__(self, parent: dict[str, Any] | None) -> None:
        self.parent = parent
        self.shown: list[dict[str, Any]] = []
        self.kernel = self.display_pub = self

    def get_parent(self, channel: str) -> dict[str, Any] | None:
        assert "shell" == channel
        return self.parent

    def publish(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self.shown.append(data)


def within(monkeypatch: pytest.MonkeyPatch, shell: object) -> None:
    ipython: Any = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)


def test_a_cell_reads_its_run_from_its_request(
    nobody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {"run_id": "r", "uid": "u", "context": {}, "artifact_dir": None}
    shell = Shell({"metadata": {METADATA_KEY: told}})
    within(monkeypatch, shell)
    run = current_run()
    shell.parent = None
    assert ("r", "u", {}) == (run.id, run.uid, run.context)
    run.metric("a", 1)
    assert [{METRIC_MIME: {"name": "a", "value": 1, "mode": "replace"}}] == shell.shown
    with pytest.raises(ScopeError, match="no artifact_dir"):
        _ = run.artifact_dir


@pytest.mark.parametrize(
    "parent", [None, {}, {"metadata": None}, {"metadata": {METADATA_KEY: "x"}}, {"metadata": {}}]
)
def test_a_request_that_tells_nothing_is_of_another_client(
    nobody: None, monkeypatch: pytest.MonkeyPatch, parent: dict[str, Any] | None
) -> None:
    within(monkeypatch, Shell(parent))
    with pytest.raises(ScopeError, match="client of the kernel"):
        _ = current_run().id


def test_a_kernel_that_a_command_has_started_is_of_the_run_of_the_command(
    command: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    within(monkeypatch, Shell({}))
    assert "run 1/ä" == current_run().id


@pytest.mark.parametrize("shell", [None, object()])
def test_ipython_without_a_kernel_is_a_command_like_others(
    command: None, monkeypatch: pytest.MonkeyPatch, shell: object
) -> None:
    within(monkeypatch, shell)
    assert "run 1/ä" == current_run().id


# -- what a metric may be -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "A1", "a_b", "a.b.c.d", "loss.train_1", "x" * 128])
def test_a_name_is_of_letters_digits_and_single_underscores_in_at_most_four_parts(
    name: str,
) -> None:
    assert {"name": name, "value": 1, "mode": "replace"} == metric_content(name, 1)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is text"),
        (None, "is text"),
        (7, "is text"),
        ("x" * 129, "128 characters"),
        ("a.b.c.d.e", "4 parts"),
        ("1a", "begins with a letter"),
        ("_a", "begins with a letter"),
        ("é", "begins with a letter"),
        ("a..b", "begins with a letter"),
        ("a.", "begins with a letter"),
        ("a-b", "alone"),
        ("a b", "alone"),
        ("aé", "alone"),
        ("a\n", "alone"),
        ("a__b", "double"),
        ("a_", "last _"),
        ("a_.b", "last _"),
        ("predict_time", "measured by the gateway"),
        ("predict_time.x", "measured by the gateway"),
    ],
)
def test_any_other_name_is_refused_and_why(name: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        metric_content(name, 1)


@pytest.mark.parametrize("mode", ["set", "", None, 1, ["replace"]])
def test_there_are_three_modes(mode: object) -> None:
    with pytest.raises(ValueError, match="replace, increment, append"):
        metric_content("a", 1, mode)


@pytest.mark.parametrize("value", ["1", None, True, [1], float("nan"), Scalar("x")])
def test_only_a_number_increments(value: object) -> None:
    with pytest.raises(ValueError, match="incremented by a number"):
        metric_content("a", value, "increment")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ((1, 2.5), [1, 2.5]),
        ({"a": [True, "text"]}, {"a": [True, "text"]}),
        (float("nan"), "NaN"),
        ([float("inf"), float("-inf")], ["Infinity", "-Infinity"]),
        (Scalar(3), 3),
        ([Scalar(float("nan"))], ["NaN"]),
    ],
)
def test_a_value_is_json_and_what_can_be_made_so(value: object, expected: object) -> None:
    assert expected == metric_content("a", value)["value"]


@pytest.mark.parametrize("value", [object(), {1}, b"x", {1: 2}, [object()], object])
def test_any_other_value_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"metric is JSON|keys of a metric"):
        metric_content("a", value)


def test_a_value_has_at_most_so_many_levels() -> None:
    value: list[Any] = []
    for _ in range(31):
        value = [value]
    assert value == metric_content("a", value)["value"]
    with pytest.raises(ValueError, match="32 levels"):
        metric_content("a", [value])


def test_a_message_shows_only_the_beginning_of_what_was_given() -> None:
    with pytest.raises(ValueError, match=r"\.\.\.\.$") as refused:
        metric_content("a", [], "m" * 10_000)
    assert len(str(refused.value)) < 200
