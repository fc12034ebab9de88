"""What can be said of a run that is to be created, as keyword arguments; and who is told of it."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypedDict

if TYPE_CHECKING:
    from kernel_gateway.client.values import Told
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import BatchCommands, Limits, Webhook


class RunWishes(TypedDict, total=False):
    """Where code is to be executed, and under which conditions."""

    kernel: str | None  # ID of one that is there; neither this nor the next two: one of its own
    kernel_name: str | None  # kernelspec of a kernel of its own
    session: str | None  # name or ID
    run_id: str | None  # None: the client makes one up
    labels: Mapping[str, str] | None  # to find the run by; no part of what is compared
    context: Mapping[str, str] | None  # readable by the code
    limits: Limits | None
    timeout: float | None  # seconds for the whole of it
    options: Mapping[str, Json] | None  # as in `docs/reference/http.md`
    webhook: Webhook | None
    cancel_on_disconnect: bool
    # Of a kernel of its own:
    files: Mapping[str, str] | None  # by path in a working folder of its own, in base64
    env: Mapping[str, str] | None
    secrets: Sequence[str] | None  # names in `env` whose values are masked


class NewRun(RunWishes, total=False):
    """Just one of the first three is given."""

    code: str | None
    notebook: Mapping[str, Json] | None
    commands: BatchCommands | None
    parameters: Mapping[str, Json] | None  # of the notebook
    wait: float | None  # seconds that the answer may take, for the end; up to 60


OnRecord: TypeAlias = "Callable[[Told], object]"
OnOutput: TypeAlias = Callable[[str, str], object]  # stream and text
OnInput: TypeAlias = Callable[[str, bool], str]  # prompt, and whether it is for a password
OnInputAsync: TypeAlias = Callable[[str, bool], "str | Awaitable[str]"]


def named(run: NewRun) -> NewRun:
    """With an ID of its own, so that it can be asked for twice and is made once."""
    if run.get("run_id") is not None:
        return run
    return {**run, "run_id": str(uuid.uuid4())}


def asking(wishes: RunWishes, *, allowed: bool) -> RunWishes:
    """Code that nobody would answer is told so when it asks."""
    options = {"allow_stdin": allowed, **(wishes.get("options") or {})}
    return {**wishes, "options": options}
