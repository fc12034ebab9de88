"""JSON as gateways answer it."""

from __future__ import annotations

from typing import Any

AT = "2027-01-15T08:00:00.250000Z"
AT_S = 1_800_000_000.25


def run_json(**more: Any) -> dict[str, Any]:
    """A run that has just begun."""
    run = {
        "id": "r",
        "uid": "u",
        "owner": "local",
        "mode": "query",
        "kernel": {"id": "k", "name": "python3", "generation": 1},
        "queue_position": None,
        "state": "running",
        "outcome": None,
        "reason": None,
        "phase": None,
        "created_at": AT,
        "started_at": None,
        "finished_at": None,
        "queue_time": None,
        "predict_time": None,
        "execution_count": None,
        "exit_code": None,
        "error": None,
        "input_request": None,
        "steps": [],
        "is_stream": False,
        "history": [{"state": "queued", "at": AT}],
        "log": {"first": 1, "next": 3, "bytes": 10, "dropped": 0},
        "links": {"self": "/api/runs/u"},
    }
    return {**run, **more}


def record_json(seq: int, kind: str, **fields: Any) -> dict[str, Any]:
    names = {"run_id": "r", "uid": "u", "seq": seq, "at": AT, "step": 0, "kind": kind}
    return {**names, **fields}


def completed_json(seq: int) -> dict[str, Any]:
    reason = {"code": "done", "message": ""}
    return record_json(seq, "completed", outcome="ok", reason=reason, run=run_json())
