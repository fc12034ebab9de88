"""Examples of bodies and answers: by the name of their shape, each with a name of its own.

Knows shapes. A test holds every one of them to its schema.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json

_UID = "6f1d2c52-7b0e-4a53-9d0a-4f1f5c2b8a11"
_KERNEL_ID = "0b6f4f3e-5c58-4f0e-8f0b-2d9a0c3f7e55"
_SESSION_ID = "f3a1c9b0-2a57-4c39-8a8e-6c1f8f2d4b77"
_HERE = f"/api/runs/{_UID}"
_DIGEST = "sha256:b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"
_BEGUN = "2026-03-01T12:00:00.250000Z"
_ENDED = "2026-03-01T12:00:01.750000Z"

_KERNEL: dict[str, Json] = {
    "id": _KERNEL_ID,
    "name": "python3",
    "last_activity": _ENDED,
    "execution_state": "idle",
    "connections": 0,
    "generation": 1,
    "isolation": "none",
    "queue_length": 0,
    "owner": "local",
}

_SESSION: dict[str, Json] = {
    "id": _SESSION_ID,
    "path": "reports/march.ipynb",
    "name": "march.ipynb",
    "type": "notebook",
    "kernel": _KERNEL,
    "notebook": {"path": "reports/march.ipynb", "name": "march.ipynb"},
}

_REASON: Json = {"code": "done", "message": ""}

_ARTIFACT: Json = {
    "id": "a1",
    "name": "plots/loss.png",
    "kind": "file",
    "mime": "image/png",
    "size": 18231,
    "digest": _DIGEST,
}

_STEP: dict[str, Json] = {
    "index": 0,
    "name": "",
    "state": "ok",
    "started_at": _BEGUN,
    "finished_at": _ENDED,
    "exit_code": 0,
    "execution_count": 1,
    "duration": 1.5,
    "msg_id": "a3b0f9d2-54c7-4d0e-9a55-1b7f7a5c0f10",
}

_RUN: dict[str, Json] = {
    "id": "nightly-17",
    "uid": _UID,
    "owner": "local",
    "mode": "query",
    "kernel": {"id": _KERNEL_ID, "name": "python3", "generation": 1},
    "state": "finished",
    "outcome": "ok",
    "reason": _REASON,
    "phase": None,
    "queue_position": None,
    "created_at": "2026-03-01T12:00:00.000000Z",
    "started_at": _BEGUN,
    "finished_at": _ENDED,
    "queue_time": 0.25,
    "predict_time": 1.5,
    "execution_count": 1,
    "exit_code": 0,
    "error": None,
    "input_request": None,
    "steps": [_STEP],
    "outputs": [{"output_type": "stream", "name": "stdout", "text": "42\n"}],
    "is_stream": False,
    "metrics": {"loss": {"train": 0.12}},
    "artifacts": [_ARTIFACT],
    "context": {"customer": "ada"},
    "labels": {"team": "risk"},
    "log": {"first": 1, "next": 6, "bytes": 3, "dropped": 0},
    "history": [
        {"state": "queued", "at": "2026-03-01T12:00:00.000000Z"},
        {"state": "running", "at": _BEGUN},
        {"state": "finished", "at": _ENDED},
    ],
    "attempt": 1,
    "webhook": {
        "url": "https://hooks.example/runs",
        "events": ["completed"],
        "deliveries": [
            {"id": "d1", "attempt": 1, "status": 200, "at": _ENDED, "first": 5, "last": 5}
        ],
    },
    "links": {
        "self": _HERE,
        **{
            name: f"{_HERE}/{name}"
            for name in ("events", "log", "records", "artifacts", "input", "cancel", "notebook")
        },
    },
}

_QUEUED: dict[str, Json] = {
    **_RUN,
    "state": "queued",
    "outcome": None,
    "reason": None,
    "queue_position": 0,
    "started_at": None,
    "finished_at": None,
    "queue_time": None,
    "predict_time": None,
    "execution_count": None,
    "exit_code": None,
    "steps": [
        {"index": 0, "name": "", "state": "pending", "started_at": None, "finished_at": None}
    ],
    "outputs": [],
    "metrics": {},
    "artifacts": [],
    "log": {"first": 1, "next": 2, "bytes": 0, "dropped": 0},
    "history": [{"state": "queued", "at": "2026-03-01T12:00:00.000000Z"}],
    "webhook": None,
}


def _without(values: Mapping[str, Json], name: str) -> dict[str, Json]:
    return {key: value for key, value in values.items() if key != name}


def _record(seq: int, kind: str, step: int | None = 0, **fields: Json) -> dict[str, Json]:
    of_run: dict[str, Json] = {"run_id": "nightly-17", "uid": _UID, "seq": seq, "at": _ENDED}
    return {**of_run, "step": step, "kind": kind, **fields}


#: One of each kind.
_RECORDS: list[Json] = [
    _record(1, "state", None, state="running"),
    _record(2, "step", state="running"),
    _record(3, "log", stream="stdout", text="42\n"),
    _record(
        4,
        "output",
        index=0,
        output_type="execute_result",
        data={"text/plain": "42"},
        metadata={},
        execution_count=1,
    ),
    _record(5, "update", display_id="bar", data={"text/plain": "50 %"}, metadata={}),
    _record(6, "clear", wait=True),
    _record(7, "error", ename="ValueError", evalue="no", traceback=["ValueError: no"]),
    _record(8, "metric", name="loss.train", value=0.12, mode="replace"),
    _record(9, "artifact", artifact=_ARTIFACT),
    _record(10, "input_request", prompt_id=1, prompt="Name? ", password=False),
    _record(11, "input_reply", prompt_id=1, value="Ada"),
    _record(12, "phase_finished", phase="build", exit_code=0),
    _record(13, "kernel", None, what="died", message="It was killed."),
    _record(14, "dropped", why="line_too_long", bytes=1024, stream="stdout"),
    _record(
        15,
        "kernel_info",
        None,
        name="python3",
        implementation="ipython",
        version="9.2.0",
        language_info={"name": "python", "file_extension": ".py"},
    ),
    _record(
        16,
        "comm",
        what="msg",
        comm_id="3f2a",
        data={"method": "update", "state": {"value": 7}, "buffer_paths": [["icon"]]},
        buffers=["AAE="],
    ),
    _record(
        17,
        "completed",
        None,
        outcome="ok",
        reason=_REASON,
        exit_code=0,
        run=_without(_RUN, "outputs"),
    ),
]

_NOTEBOOK: Json = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {
            "id": "c1",
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": "print(6 * 7)",
        }
    ],
}

#: By the name of a shape: examples by their own names.
EXAMPLES: Mapping[str, Mapping[str, Json]] = MappingProxyType(
    {
        # -- what is sent
        "RunRequest": {
            "aQuery": {
                "mode": "query",
                "code": "print(6 * 7)",
                "labels": {"team": "risk"},
                "context": {"customer": "ada"},
                "timeout": 60,
            },
            "aBatch": {
                "mode": "batch",
                "runId": "build-3",
                "steps": {"build": "make", "exec": "./main"},
                "limits": {"step": 60},
            },
            "aNotebook": {
                "mode": "notebook",
                "notebook": _NOTEBOOK,
                "parameters": {"alpha": 0.5, "names": ["a", "b"]},
                "kernel": {"name": None},
                "options": {"allow_errors": True, "allow_unknown_parameters": True},
            },
        },
        "NamedRunRequest": {
            "aNamedQuery": {"mode": "query", "code": "print(6 * 7)", "cancel_on_disconnect": True},
            "aNotebookWithFiles": {
                "mode": "notebook",
                "notebook": _NOTEBOOK,
                "files": {"data/numbers.csv": "MSwyLDMK"},
                "env": {"KERNEL_REGION": "north", "KERNEL_KEY": "s3cret"},
                "secrets": ["KERNEL_KEY"],
                "options": {"until": "c1", "only": None, "quiet": 1, "unread": 120},
            },
        },
        "ExecuteRequest": {
            "executeQuery": {"mode": "query", "code": "print(6 * 7)", "runId": "nightly-17"},
            "executeBatch": {"mode": "batch", "options": {"build": "make", "exec": "./main"}},
            "goOn": {"mode": "continue", "runId": "nightly-17", "options": {"wait": 10}},
            "answerPrompt": {
                "mode": "input",
                "runId": "nightly-17",
                "code": "Ada",
                "options": {"prompt_id": 1},
            },
        },
        "InspectionRequest": {"aNotebookToInspect": {"notebook": _NOTEBOOK}},
        "InputRequest": {"anInput": {"value": "Ada", "prompt_id": 1}},
        "CancelRequest": {
            "aCancel": {"grace": 2, "escalate": "kill", "message": "interrupted by ada"}
        },
        "KernelRequest": {"aKernelRequest": {"name": "python3", "env": {"KERNEL_USERNAME": "ada"}}},
        "HealthCheck": {
            "aCheck": {"expression": "len(connections) < 10"},
            "noCheck": {"expression": None},
        },
        "SessionRequest": {
            "aSessionRequest": {
                "path": "reports/march.ipynb",
                "name": "march.ipynb",
                "type": "notebook",
                "kernel": {"name": "python3"},
            }
        },
        "SessionChange": {"aRename": {"path": "reports/april.ipynb", "name": "april.ipynb"}},
        "ComputeSessionRequest": {
            "aComputeSession": {"image": "python", "name": "work-1", "reuseIfExists": True}
        },
        "ComputeExecuteRequest": {
            "computeQuery": {"mode": "query", "code": "print(6 * 7)", "runId": None}
        },
        "CompleteRequest": {"aPlace": {"code": "impo", "options": {"post": ""}}},
        "GraphQuery": {"aQuestion": {"query": "{ compute_session_list { total_count } }"}},
        # -- what is answered
        "Run": {"finishedRun": _RUN, "queuedRun": _QUEUED},
        "RunPage": {"lastPage": {"items": [_without(_RUN, "outputs")], "next": None}},
        "LogPage": {
            "allOfIt": {
                "items": [[3, "stdout", "42\n"], [4, "stderr", "careful\n"]],
                "next": 5,
                "finished": True,
            }
        },
        "RecordPage": {
            "oneOfEachKind": {"items": _RECORDS, "next": 16, "finished": True, "sealed": True}
        },
        "ArtifactList": {"anArtifact": {"items": [_ARTIFACT]}},
        "Inspection": {
            "itsParameters": {
                "parameters": [
                    {"name": "alpha", "type": "float", "default": "0.5", "help": "How fast."},
                    {"name": "names", "type": None, "default": "list()", "help": ""},
                ],
                "inspectable": True,
            }
        },
        "Result": {
            "theEnd": {
                "runId": "nightly-17",
                "status": "finished",
                "exitCode": 0,
                "console": [["stdout", "42\n"], ["media", ["image/png", "iVBORw0KGgo="]]],
                "options": None,
                "files": [],
                "cursor": 5,
            },
            "aPrompt": {
                "runId": "nightly-17",
                "status": "waiting-input",
                "exitCode": None,
                "console": [["stdout", "Name? "]],
                "options": {"is_password": False, "prompt_id": 1},
                "files": [],
                "cursor": 5,
            },
        },
        "Kernel": {
            "idleKernel": _KERNEL,
            "deadKernel": {**_KERNEL, "execution_state": "dead", "reason": "It was killed."},
        },
        "KernelList": {"oneKernel": [_KERNEL]},
        "KernelSpecs": {
            "oneKernelSpec": {
                "default": "python3",
                "kernelspecs": {
                    "python3": {
                        "name": "python3",
                        "spec": {"display_name": "Python 3", "language": "python", "argv": []},
                        "resources": {"logo-svg": "/kernelspecs/python3/logo-svg.svg"},
                    }
                },
            }
        },
        "Session": {"aSession": _SESSION},
        "SessionList": {"oneSession": [_SESSION]},
        "Version": {"aVersion": {"version": "0.1.0"}},
        "Error422": {
            "invalidField": {
                "error": {
                    "code": "invalid_field",
                    "message": "code: is needed",
                    "field": "code",
                    "fields": {"code": "is needed"},
                }
            }
        },
    }
)
