"""What callers ask for in papermill's words, as what our engine takes.

Knows papermill's and nbclient's names of options. Must not know how a notebook is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel_gateway.notebook.plan import PlanOptions
from kernel_gateway.runs.plan import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How papermill saves and nbclient waits for messages. There is nothing to set about either here.
_NEEDLESS = frozenset(
    {
        "autosave_cell_every",
        "iopub_timeout",
        "nest_asyncio",
        "raise_on_iopub_timeout",
        "shutdown_kernel",
        "store_widget_state",
    }
)
KNOWN = ("execution_timeout", "timeout", "idle_timeout", "total_timeout", "allow_errors")


def plan_options(engine_kwargs: Mapping[str, Any]) -> PlanOptions:
    """Of all that is not papermill's own. Raises `TypeError` for what nobody knows: a limit that is
    misspelt would be none."""
    if unknown := sorted(set(engine_kwargs) - set(KNOWN) - _NEEDLESS):
        raise TypeError(
            f"There is no option {', '.join(unknown)} of this engine, only {', '.join(KNOWN)}."
        )
    per_cell = "execution_timeout" if engine_kwargs.get("execution_timeout") else "timeout"
    return PlanOptions(
        allow_errors=bool(engine_kwargs.get("allow_errors")),
        limits=Limits(
            step=_seconds(engine_kwargs, per_cell),
            run=_seconds(engine_kwargs, "total_timeout"),
            idle=_seconds(engine_kwargs, "idle_timeout"),
        ),
    )


def _seconds(options: Mapping[str, Any], name: str) -> float | None:
    """None, 0 and, as with nbclient, less stand for no limit."""
    value = options.get(name)
    return float(value) if value is not None and value > 0 else None
