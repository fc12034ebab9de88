"""`kernel-gateway show`: how a run stands."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from traitlets import Bool

from kernel_gateway.client import protocol
from kernel_gateway.commands.base import FLAGS
from kernel_gateway.commands.server import EXITS, SERVER_ALIASES, ServerCommand
from kernel_gateway.commands.table import aligned, harmless, size

if TYPE_CHECKING:
    from kernel_gateway.client import Client
    from kernel_gateway.service import RunInfo


class ShowApp(ServerCommand):
    name = "kernel-gateway show"
    description = f"""
        Show how a run stands: its state, its end, its times.
        {EXITS}"""
    examples = """
        kernel-gateway show nightly-report
        kernel-gateway show --json nightly-report
    """
    as_json = Bool(False, config=True, help="All that is known, outputs too, as JSON.")
    aliases: dict[Any, Any] = SERVER_ALIASES
    flags: dict[Any, Any] = {**FLAGS, "json": ({"ShowApp": {"as_json": True}}, as_json.help)}

    def act(self, client: Client) -> int:
        call = protocol.run(self.one_argument("kernel-gateway show [--json] ID"))
        if self.as_json:
            print(json.dumps(client.ask(protocol.raw(call)), indent=2))
            return 0
        fields = _fields(client.ask(call))
        for line in aligned([(name, harmless(value)) for name, value in fields if value]):
            print(line)
        return 0


def _fields(run: RunInfo) -> list[tuple[str, str]]:
    """For people; empty ones are left out."""
    view = run.view
    return [
        ("id", run.id),
        ("uid", run.uid),
        ("mode", run.mode),
        ("state", view.state),
        ("queue position", _number(run.queue_position)),
        ("waits for", view.prompt.prompt or "input" if view.prompt else ""),
        ("outcome", view.outcome or ""),
        ("reason", _reason(run)),
        ("error", f"{view.error.ename}: {view.error.evalue}" if view.error else ""),
        ("exit code", _number(view.exit_code)),
        ("kernel", f"{run.kernel_name} {run.kernel_id}"),
        ("created", _time(view.created_at)),
        ("started", _time(view.started_at)),
        ("finished", _time(view.finished_at)),
        ("waited", _seconds(view.queue_time)),
        ("executed", _seconds(view.predict_time)),
        ("steps", ", ".join(f"{step.index} {step.state}" for step in view.steps)),
        ("labels", _pairs(run.labels)),
        ("metrics", json.dumps(view.metrics) if view.metrics else ""),
        ("log", size(run.log_bytes)),
        ("dropped", size(run.log_dropped) if run.log_dropped else ""),
        ("artifacts", _number(len(run.artifacts) or None)),
    ]


def _reason(run: RunInfo) -> str:
    reason = run.view.reason
    if reason is None:
        return ""
    return f"{reason.code}: {reason.message}" if reason.message else reason.code


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f} s"


def _time(at: float | None) -> str:
    return "" if at is None else dt.datetime.fromtimestamp(at, dt.UTC).isoformat(" ", "seconds")


def _pairs(values: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items()))
