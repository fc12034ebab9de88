"""What is asked of a notebook run. Values only."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - for `get_type_hints`
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel_gateway.notebook.plan import PlanOptions

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.notebook.document import Source
    from kernel_gateway.runs.records import Reason
    from kernel_gateway.runs.view import Outcome
    from kernel_gateway.service import RunUid

QUIET_S = 0.5  # without a word after the end: threads have nothing more to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A run that came to an end for which there was to be another one."""

    uid: RunUid
    outcome: Outcome
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookJob:
    source: Source
    version: str  # of this program, for the metadata
    input_name: str | None = None  # where the notebook was, for the metadata
    output_name: str | None = None
    options: PlanOptions = field(default_factory=PlanOptions)
    parameters: Mapping[str, Json] = field(default_factory=dict)
    allow_unknown_parameters: bool = False
    kernel_name: str | None = None  # None: what the notebook asks for
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = ()  # names in `env` whose values nobody is to see
    #: For a working folder of the run's own, by path; None: it works in `cwd`.
    files: Mapping[str, bytes] | None = field(default=None, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    start_limit_s: float | None = None  # None: the service's own
    quiet_s: float = QUIET_S
    earlier: tuple[Attempt, ...] = ()  # that have failed; this one is made in their place

    @property
    def attempt(self) -> int:
        return len(self.earlier) + 1
