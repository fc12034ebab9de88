"""`kernel-gateway cancel`: end a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from traitlets import Bool, Float

from kernel_gateway.commands.base import FLAGS, UsageError
from kernel_gateway.commands.server import EXITS, SERVER_ALIASES, ServerCommand
from kernel_gateway.runs.state import RunState

if TYPE_CHECKING:
    from kernel_gateway.client import Client
    from kernel_gateway.service import RunInfo


class CancelApp(ServerCommand):
    name = "kernel-gateway cancel"
    description = f"""
        End a run, and print how it stands then: its state and, once it is over, its outcome.

        Code that is executed is interrupted; when it does not end, its kernel is terminated.
        Repeating it is harmless.
        {EXITS}"""
    examples = """
        kernel-gateway cancel nightly-report
        kernel-gateway cancel --wait --grace=1 nightly-report
    """
    wait = Bool(False, config=True, help="Return when the run is over.")
    grace = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds between the first interrupt and the end of the kernel. Default: the run's.",
    )
    aliases: dict[Any, Any] = {**SERVER_ALIASES, "grace": "CancelApp.grace"}
    flags: dict[Any, Any] = {**FLAGS, "wait": ({"CancelApp": {"wait": True}}, wait.help)}

    def act(self, client: Client) -> int:
        if self.grace is not None and not self.grace >= 0:  # nan is not
            raise UsageError("--grace must not be below 0.")
        run_id = self.one_argument("kernel-gateway cancel ID")
        info = client.cancel(run_id, grace=self.grace)
        if self.wait and info.view.state is not RunState.FINISHED:
            with self.client() as patient:  # it has answered once: now it may be away for a while
                info = patient.follow(info.uid)
        print(_state(info))
        return 0


def _state(info: RunInfo) -> str:
    outcome = info.view.outcome
    return info.view.state if outcome is None else f"{info.view.state} {outcome}"
