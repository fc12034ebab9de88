"""The body that creates a run: what may stand in it, and what it means."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import InvalidField, TooLarge
from kernel_gateway.service import BatchCommands, Limits, Mode, RunId, WebhookEvent
from kernel_gateway.web import schemas
from kernel_gateway.web.runs.creation import notebook_plan

if TYPE_CHECKING:
    from kernel_gateway.web.schemas import NewRun

QUERY = {"mode": "query", "code": "1"}
BATCH = {"mode": "batch"}
NOTEBOOK: dict[str, Any] = {
    "mode": "notebook",
    "notebook": {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"x": 1},
        "cells": [
            {"cell_type": "markdown", "id": "text", "metadata": {}, "source": "# é"},
            {
                "cell_type": "code",
                "id": "one",
                "metadata": {},
                "source": "print(1)",
                "outputs": [],
                "execution_count": 3,
            },
        ],
    },
}


def new_run(body: dict[str, Any], run_id: str | None = None, most: int = 100) -> NewRun:
    own = None if run_id is None else RunId(run_id)
    return schemas.new_run(body, run_id=own, max_code_bytes=most)


def faults(body: dict[str, Any], run_id: str | None = None) -> dict[str, str]:
    with pytest.raises(InvalidField) as fault:
        new_run(body, run_id)
    return dict(fault.value.fields)


# -- what it means ---------------------------------------------------------------------------------


def test_a_query_needs_no_more_than_its_code() -> None:
    asked = new_run(QUERY)
    assert (Mode.QUERY, "1") == (asked.mode, asked.code)
    assert (None, None, None) == (asked.kernel_id, asked.kernel_name, asked.session)
    assert ({}, {}, Limits(), None) == (asked.labels, asked.context, asked.limits, asked.webhook)
    assert asked.allow_stdin is None
    assert asked.grace_s is None
    assert not asked.cancel_on_disconnect


def test_null_is_as_good_as_absent() -> None:
    names = (
        "runId kernel session labels context timeout limits options webhook cancel_on_disconnect "
        "files env secrets"
    )
    assert new_run(QUERY) == new_run({**QUERY, **dict.fromkeys(names.split())})


def test_a_kernel_is_named_by_its_id_or_by_its_kernelspec() -> None:
    assert "k" == new_run({**QUERY, "kernel": "k"}).kernel_id
    own = new_run({**QUERY, "kernel": {"name": "ir"}})
    assert (None, "ir") == (own.kernel_id, own.kernel_name)
    assert None is new_run({**QUERY, "kernel": {}}).kernel_name
    assert None is new_run({**QUERY, "kernel": {"name": ""}}).kernel_name
    assert "s" == new_run({**QUERY, "session": "s"}).session


def test_the_context_is_in_the_order_of_its_names() -> None:
    asked = new_run({**QUERY, "context": {"b": "2", "a": "1"}})
    assert [("a", "1"), ("b", "2")] == list(asked.context.items())


def test_the_timeout_is_the_limit_of_the_whole_run() -> None:
    assert Limits(run=5.0) == new_run({**QUERY, "timeout": 5}).limits
    limits = {"start": 1, "step": 2.5, "run": None, "idle": 4, "queue": 5, "input": 6}
    expected = Limits(start=1, step=2.5, idle=4, queue=5, input=6)
    assert expected == new_run({**QUERY, "limits": limits}).limits


def test_the_steps_of_a_batch_stand_in_its_options_or_in_an_object_of_their_own() -> None:
    expected = BatchCommands(build="make", exec="./main")
    steps = {"build": "make", "exec": "./main", "clean": None}
    assert expected == new_run({**BATCH, "options": steps}).commands
    assert expected == new_run({**BATCH, "steps": steps, "options": {"grace": 1}}).commands


def test_options_are_those_of_the_mode() -> None:
    asked = new_run(
        {**NOTEBOOK, "options": {"allow_stdin": True, "allow_errors": True, "grace": 0}}
    )
    assert (True, True, 0.0) == (asked.allow_stdin, asked.allow_errors, asked.grace_s)
    assert not asked.allow_unknown_parameters
    assert new_run({**NOTEBOOK, "options": {"allow_unknown_parameters": True}}) == replace(
        new_run(NOTEBOOK), allow_unknown_parameters=True
    )
    assert {"options.allow_errors"} == set(faults({**QUERY, "options": {"allow_errors": True}}))
    assert {"options.exec"} == set(faults({**QUERY, "options": {"exec": "x"}}))


def test_parameters_are_of_notebooks_alone() -> None:
    assert {} == new_run(NOTEBOOK).parameters
    assert {"a": [1]} == new_run({**NOTEBOOK, "parameters": {"a": [1]}}).parameters
    assert {"parameters"} == set(faults({**QUERY, "parameters": {}}))


def test_a_webhook_is_told_everything_unless_it_says_what() -> None:
    webhook = new_run({**QUERY, "webhook": {"url": "https://a.example"}}).webhook
    assert webhook is not None
    assert (tuple(WebhookEvent), None) == (webhook.events, webhook.secret)
    few = {"url": "https://a.example", "events": ["completed", "start", "start"], "secret": "s"}
    webhook = new_run({**QUERY, "webhook": few}).webhook
    assert webhook is not None
    assert (WebhookEvent.START, WebhookEvent.COMPLETED) == webhook.events
    assert "s" == webhook.secret
    assert "secret" not in repr(webhook)


def test_the_run_id_is_that_of_the_address() -> None:
    assert "r" == new_run({**QUERY, "runId": "r"}).run_id
    assert "r" == new_run(QUERY, "r").run_id
    assert "r" == new_run({**QUERY, "runId": "r"}, "r").run_id
    assert {"runId"} == set(faults({**QUERY, "runId": "s"}, "r"))


# -- a kernel of its own ---------------------------------------------------------------------------


def test_a_run_brings_files_and_variables() -> None:
    asked = new_run({**QUERY, "files": {"a/b.txt": "YQ=="}, "env": {"KERNEL_A": "hunter2"}})
    assert ({"a/b.txt": "YQ=="}, {"KERNEL_A": "hunter2"}) == (asked.files, asked.env)
    assert "hunter2" not in repr(asked)
    assert "YQ" not in repr(asked)
    assert {} == new_run({**QUERY, "files": {}}).files
    assert (None, {}, ()) == ((plain := new_run(QUERY)).files, plain.env, plain.secrets)


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../out", "a/../b", "a/.", "a//b", "a/", "n\0l", "\ud800", "x" * 256,
     "/".join(["xxx"] * 251)],
)  # fmt: skip
def test_a_file_has_a_path_below_its_folder(name: str) -> None:
    told = faults({**QUERY, "files": {name: "", "good": ""}})
    assert 1 == len(told)
    (path,) = told
    assert path.startswith("files.")


def test_a_name_is_of_a_file_or_of_a_folder() -> None:
    told = faults({**QUERY, "files": {"a": "", "a/b/c": "", "a/b": "", "d/e": ""}})
    assert {"files.a", "files.a/b"} == set(told)


def test_a_variable_must_be_let_through_by_the_gateway() -> None:
    body = {**QUERY, "env": {"KERNEL_A": "1", "PROJECT": "2", "PYTHONPATH": "3"}}
    assert {"env.PROJECT", "env.PYTHONPATH"} == set(faults(body))
    with pytest.raises(InvalidField) as fault:
        schemas.new_run(body, run_id=None, max_code_bytes=9, allowed_env=("*",))
    assert {"env.PYTHONPATH"} == set(fault.value.fields)


@pytest.mark.parametrize("shared", [{"kernel": "k"}, {"session": "s"}])
def test_what_is_for_a_kernel_of_its_own_is_for_no_other(shared: dict[str, str]) -> None:
    own = {"files": {}, "env": {}, "secrets": [], "options": {"quiet": 1}}
    assert {"files", "env", "secrets", "options.quiet"} == set(faults({**QUERY, **own, **shared}))
    assert new_run({**QUERY, **own, "kernel": {"name": "ir"}}).quiet_s == 1.0


# -- what may not stand in it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"mode"}),
        ({"mode": "cell"}, {"mode"}),
        ({"mode": ["query"]}, {"mode"}),
        ({"mode": "query"}, {"code"}),
        ({"mode": "query", "code": None}, {"code"}),
        ({"mode": "query", "code": "a\0"}, {"code"}),
        ({"mode": "query", "code": "\ud800"}, {"code"}),
        ({"mode": "notebook"}, {"notebook"}),
        ({"mode": "notebook", "notebook": "{}"}, {"notebook"}),
        ({**QUERY, "parameters": {}}, {"parameters"}),
        ({**QUERY, "steps": {}}, {"steps"}),
        ({**QUERY, "notebook": {}, "x": 1}, {"notebook", "x"}),
        ({**BATCH, "code": "x"}, {"code"}),
        ({**BATCH, "steps": {"test": "x", "exec": 1}}, {"steps.test", "steps.exec"}),
        ({**BATCH, "steps": {"exec": "a"}, "options": {"build": "b"}}, {"steps"}),
        ({**BATCH, "steps": {"exec": "*"}}, {"steps.exec"}),
        ({**BATCH, "options": {"build": "*", "exec": "a"}}, {"options.build"}),
        ({**QUERY, "kernel": "k", "session": "s"}, {"session"}),
        ({**QUERY, "kernel": 7, "session": ""}, {"kernel", "session"}),
        ({**QUERY, "kernel": ""}, {"kernel"}),
        ({**QUERY, "session": ""}, {"session"}),
        ({**QUERY, "kernel": {"id": "k"}}, {"kernel.id"}),
        ({**QUERY, "kernel": "x" * 5000}, {"kernel"}),
        ({**QUERY, "runId": "a\nb"}, {"runId"}),
        ({**QUERY, "labels": {"a b": "x"}}, {"labels"}),
        ({**QUERY, "labels": {"": "x"}}, {"labels"}),
        ({**QUERY, "labels": {"a": 1}}, {"labels.a"}),
        ({**QUERY, "labels": {"a": "x" * 501}}, {"labels.a"}),
        ({**QUERY, "labels": {str(n): "" for n in range(33)}}, {"labels"}),
        ({**QUERY, "context": {"a": 1}}, {"context.a"}),
        ({**QUERY, "context": {"a": "é" * 2**15}}, {"context"}),
        ({**QUERY, "context": ["a"]}, {"context"}),
        ({**QUERY, "timeout": 0}, {"timeout"}),
        ({**QUERY, "timeout": True}, {"timeout"}),
        ({**QUERY, "timeout": 10**400}, {"timeout"}),
        ({**QUERY, "timeout": json.loads("1e999")}, {"timeout"}),
        ({**QUERY, "timeout": 1, "limits": {"run": 1}}, {"timeout"}),
        ({**QUERY, "limits": {"run": -1, "cell": 1}}, {"limits.run", "limits.cell"}),
        ({**QUERY, "options": {"grace": -1, "wait": 1}}, {"options.grace", "options.wait"}),
        ({**QUERY, "options": {"allow_stdin": "yes"}}, {"options.allow_stdin"}),
        ({**QUERY, "webhook": {}}, {"webhook.url"}),
        ({**QUERY, "webhook": {"url": "", "secret": ""}}, {"webhook.url", "webhook.secret"}),
        ({**QUERY, "webhook": {"url": "u", "events": []}}, {"webhook.events"}),
        ({**QUERY, "webhook": {"url": "u", "events": ["end"]}}, {"webhook.events.0"}),
        ({**QUERY, "webhook": {"url": "u" * 2001}}, {"webhook.url"}),
        ({**QUERY, "cancel_on_disconnect": 1}, {"cancel_on_disconnect"}),
        ({**QUERY, "options": {"quiet": 11, "unread": 0}}, {"options.quiet", "options.unread"}),
        ({**QUERY, "options": {"until": "x"}}, {"options.until"}),
        ({**NOTEBOOK, "options": {"from": "", "only": [1]}}, {"options.from", "options.only.0"}),
        ({**QUERY, "files": {"a": 1}}, {"files.a"}),
        ({**QUERY, "env": {"KERNEL_A": 1}}, {"env.KERNEL_A"}),
        ({**QUERY, "env": {"KERNEL_A": "1"}, "secrets": ["KERNEL_B"]}, {"secrets"}),
        ({**QUERY, "secrets": ["KERNEL_B"]}, {"secrets"}),
        ({**QUERY, "secrets": [[1], {}]}, {"secrets.0", "secrets.1"}),
        ({**QUERY, "files": [], "env": 1, "secrets": "x"}, {"files", "env", "secrets"}),
    ],
)
def test_each_fault_is_told_by_its_path(body: dict[str, Any], fields: set[str]) -> None:
    assert fields == set(faults(body))


def test_all_faults_are_told_at_once_and_none_with_what_was_sent() -> None:
    told = faults({"mode": "query", "kernel": 1, "secret-x": "hunter2", "timeout": "hunter2"})
    assert {"code", "kernel", "secret-x", "timeout"} == set(told)
    assert "hunter2" not in str(told)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**QUERY, "context": {str(n): 7 for n in range(1001)}}, "context"),
        ({**QUERY, "labels": {f"b {n}": 7 for n in range(33)}}, "labels"),
        ({**QUERY, "files": {f"../{n}": 7 for n in range(1001)}}, "files"),
        ({**QUERY, "env": {f"b={n}": 7 for n in range(1001)}}, "env"),
        ({**QUERY, "webhook": {"url": "u", "events": ["no"] * 6}}, "webhook.events"),
    ],
)
def test_of_what_is_too_many_none_is_looked_at(body: dict[str, Any], field: str) -> None:
    told = faults(body)
    assert [field] == list(told)
    assert told[field].startswith("must have at most")


@pytest.mark.parametrize(
    "body",
    [
        {**QUERY, **{f"x{n}": 1 for n in range(1000)}},
        {**QUERY, "options": {f"x{n}": 1 for n in range(1000)}},
        {**QUERY, "context": {str(n): 7 for n in range(1000)}},
        {**QUERY, "files": {f"../{n}": "" for n in range(1000)}},
        {**QUERY, "env": {f"X{n}": "" for n in range(1000)}},
    ],
)
def test_of_very_many_faults_the_first_ones_are_told(body: dict[str, Any]) -> None:
    assert schemas.MAX_FAULTS == len(faults(body))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"mode": "query", "code": "é" * 51}, "code"),
        ({"mode": "batch", "options": {"exec": "x" * 101}}, "options.exec"),
    ],
)
def test_code_has_a_limit(body: dict[str, Any], field: str) -> None:
    with pytest.raises(TooLarge) as fault:
        new_run(body)
    assert field == fault.value.field


# -- notebooks -------------------------------------------------------------------------------------


def test_a_notebook_is_one_step_a_code_cell_and_is_kept_whole() -> None:
    made = notebook_plan(new_run(NOTEBOOK), 100)
    assert [("print(1)", "one")] == [(step.code, step.name) for step in made.steps]
    assert not made.allow_stdin
    assert made.document is not None
    kept = json.loads(made.document)
    assert ["# é", "print(1)"] == [cell["source"] for cell in kept["cells"]]
    assert None is kept["cells"][1]["execution_count"]
    assert {"x": 1} == kept["metadata"]


def test_errors_may_be_allowed_in_every_cell() -> None:
    made = notebook_plan(new_run({**NOTEBOOK, "options": {"allow_errors": True}}), 100)
    assert all(step.allow_error for step in made.steps)


def test_a_notebook_says_its_limit_and_the_caller_another() -> None:
    body = {**NOTEBOOK["notebook"], "metadata": {"execution": {"timeout": 30}}}
    assert 30.0 == notebook_plan(new_run({**NOTEBOOK, "notebook": body}), 100).limits.step
    asked = new_run({**NOTEBOOK, "notebook": body, "limits": {"step": 5}})
    assert 5.0 == notebook_plan(asked, 100).limits.step
    wrong = {**body, "metadata": {"execution": {"timeout": "soon"}}}
    with pytest.raises(InvalidField) as fault:
        notebook_plan(new_run({**NOTEBOOK, "notebook": wrong}), 100)
    assert {"notebook"} == set(fault.value.fields)


def test_a_selection_is_of_cells_that_are_there() -> None:
    with pytest.raises(InvalidField) as fault:
        notebook_plan(new_run({**NOTEBOOK, "options": {"from": "no", "only": ["no"]}}), 100)
    assert {"options.from", "options.only"} == set(fault.value.fields)


def test_threads_of_a_notebook_may_speak_for_a_while_on_a_kernel_of_its_own() -> None:
    assert 0.5 == notebook_plan(new_run(NOTEBOOK), 100).quiet_s
    assert 0.0 == notebook_plan(new_run({**NOTEBOOK, "kernel": "k"}), 100).quiet_s


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def with_source(source: str) -> dict[str, Any]:
    cell = {**NOTEBOOK["notebook"]["cells"][1], "source": source}
    return {"mode": "notebook", "notebook": {**NOTEBOOK["notebook"], "cells": [cell]}}


@pytest.mark.parametrize(
    "body",
    [
        {"mode": "notebook", "notebook": {}},
        {"mode": "notebook", "notebook": {"nbformat": 9}},
        {"mode": "notebook", "notebook": {"nbformat": 4, "cells": 7}},
        {"mode": "notebook", "notebook": {"nbformat": 4, "metadata": {"a": nested(300)}}},
        {"mode": "notebook", "notebook": {"nbformat": 4, "metadata": {"a": nested(900)}}},
        with_source("a\0b"),
    ],
    ids=["empty", "version", "cells", "deep", "deeper", "nul"],
)
def test_what_is_no_notebook_is_a_fault_of_that_field(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidField) as fault:
        notebook_plan(new_run(body), 100)
    assert ["notebook"] == list(fault.value.fields)


def test_the_code_of_all_cells_together_has_the_limit() -> None:
    with pytest.raises(TooLarge) as fault:
        notebook_plan(new_run(with_source("x" * 101)), 100)
    assert "notebook" == fault.value.field


def test_a_lone_surrogate_in_a_notebook_is_replaced() -> None:
    made = notebook_plan(new_run(with_source("a\ud800")), 100)
    assert "a\ufffd" == made.steps[0].code


# -- queries ---------------------------------------------------------------------------------------


def test_labels_of_a_list_are_names_or_names_with_values() -> None:
    query = schemas.run_query({"label": [b"a", b"b=", b"c=d=e"]})
    assert (("a", None), ("b", ""), ("c", "d=e")) == query.labels


@pytest.mark.parametrize("label", [b"", b"=x", b"a b", b"a=\xff", b"x" * 101])
def test_a_label_that_cannot_be_is_told(label: bytes) -> None:
    with pytest.raises(InvalidField) as fault:
        schemas.run_query({"label": [b"fine", label]})
    assert ["label.1"] == list(fault.value.fields)


def test_a_stream_is_resumed_by_its_last_id_before_its_address() -> None:
    assert 3 == schemas.resumed_after("", {"after": [b"3"]})
    assert 7 == schemas.resumed_after("7", {"after": [b"3"]})
    with pytest.raises(InvalidField) as fault:
        schemas.resumed_after("x", {})
    assert ["Last-Event-ID"] == list(fault.value.fields)


@pytest.mark.parametrize(("value", "expression"), [("1 == 1", "1 == 1"), (None, None), ("", None)])
def test_a_check_of_health_is_an_expression_or_none(
    value: str | None, expression: str | None
) -> None:
    assert expression == schemas.health_check({"expression": value})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "expression"),
        ({"expression": 1}, "expression"),
        ({"expression": "x" * 70_000}, "expression"),
        ({"expression": None, "x": 1}, "x"),
    ],
)
def test_of_a_check_of_health_the_expression_must_be_said(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as fault:
        schemas.health_check(body)
    assert [field] == list(fault.value.fields)
