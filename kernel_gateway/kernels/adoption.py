"""An ipykernel that is up becomes the kernel of a request: what it is given, decided and not done.

A process that has started can be given another folder and other variables, but not those that it
has read while it started. These are part of the `Seed`; the others it is told before anybody else
speaks to it, and `becoming.py` sees to it that it understands. Kernels of other kinds cannot
be told: they are for requests that want nothing of their own.

Knows what ipykernel and IPython keep of their start. Must not know processes; reads no
global but what it is given.
"""

from __future__ import annotations

import json
from dataclasses import replace
from string import Template
from typing import TYPE_CHECKING

from kernel_gateway.kernels import becoming
from kernel_gateway.kernels.becoming import BECOME, TOLD
from kernel_gateway.kernels.environment import (
    READ_AT_IMPORT,
    is_ipykernel,
    matches,
    requested_environment,
)
from kernel_gateway.kernels.kernel import Seed
from kernel_gateway.kernels.prepared import preparation_by
from kernel_gateway.messaging.message import Channel, Request, execute_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.kernels.kernel import LaunchRequest
    from kernel_gateway.kernels.settings import KernelSettings
    from kernel_gateway.messaging.message import MsgId

#: Read when ipykernel and IPython start, beside what is read at import: folders of profiles and of
#: configuration, names of users, temporary files, code to be executed.
READ_AT_START = (
    *READ_AT_IMPORT,
    "IPYTHON*",
    "JPY_INTERRUPT_EVENT",
    "JPY_PARENT_PID",
    "JUPYTER_*",
    "PROGRAMDATA",
    "SOURCE_DATE_EPOCH",
    "TEMP",
    "TMP",
    "TMPDIR",
)

#: An error says why it can never be adopted.
preparation = preparation_by(becoming.__file__)


def rehearsal(msg_id: MsgId) -> Request:
    """A cell that does nothing: the first one takes twice as long as the second."""
    return execute_request(msg_id, "None", allow_stdin=False, store_history=False)


class Start:
    """How one kernelspec starts kernels: what a process of it finds in its environment."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        own: Mapping[str, str],
        settings: KernelSettings,
    ) -> None:
        """`argv` and `env` are the kernelspec's, `own` is the gateway's environment."""
        self._is_ipykernel = is_ipykernel(argv)
        self._env = env
        self._own = own
        self._settings = settings

    def seed(self, request: LaunchRequest, edition: str) -> Seed | None:
        spec_name = request.spec_name.lower()
        if not self._is_ipykernel:
            wants_its_own = request.env or request.cwd is not None
            plain = Seed(request.owner, spec_name, adopts=False, edition=edition)
            return None if wants_its_own else plain
        early = {name: value for name, value in request.env.items() if self._is_early(name)}
        started = replace(request, env=early, cwd=None, artifact_dir=None)
        if self._env and any(self._is_early(name) for name, *_ in self._changes(started, request)):
            return None  # the kernelspec makes such a variable from one that is none
        return Seed(request.owner, spec_name, tuple(sorted(early.items())), edition=edition)

    def adoption(self, msg_id: MsgId, started: LaunchRequest, wanted: LaunchRequest) -> Request:
        """Of a process that was started for the one request and prepared; it is to be of the
        other."""
        cwd = None if wanted.cwd is None else str(wanted.cwd)
        told = json.dumps({"cwd": cwd, "variables": self._changes(started, wanted)})
        return Request(channel=Channel.SHELL, msg_id=msg_id, msg_type=BECOME, content={TOLD: told})

    def environment(self, request: LaunchRequest) -> dict[str, str]:
        """As jupyter_client's provisioners make it, from what we give them."""
        ours = requested_environment(self._own, request, self._settings)
        return {**ours, **self._filled(ours)}

    def _filled(self, values: Mapping[str, str]) -> dict[str, str]:
        return {n: Template(value).safe_substitute(values) for n, value in self._env.items()}

    def _changes(
        self, started: LaunchRequest, wanted: LaunchRequest
    ) -> list[tuple[str, str | None, str | None]]:
        """Name, value before, value after; None: it is not there."""
        old, new = self.environment(started), self.environment(wanted)
        names = sorted(old.keys() | new.keys())
        return [
            (name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
        ]

    def _is_early(self, name: str) -> bool:
        more = self._settings.fork_environment
        return matches(name, (*READ_AT_START, *more))
