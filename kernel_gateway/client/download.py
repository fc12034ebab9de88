"""An artifact's bytes, over as many connections as it takes, and whether they are the right ones.

Decides what to ask for and where the bytes belong; the clients carry them to a file.
"""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.client import protocol
from kernel_gateway.client.patience import Patience, Tries, may_come_back, retry_after_s
from kernel_gateway.errors import (
    ArtifactNotFound,
    GatewayError,
    UnexpectedAnswer,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel_gateway.client.protocol import Answer, Call
    from kernel_gateway.runs.records import Artifact

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def named_artifact(known: Iterable[Artifact], wanted: str) -> Artifact:
    """By ID. Raises `ArtifactNotFound`."""
    for artifact in known:
        if artifact.id == wanted:
            return artifact
    raise ArtifactNotFound(f"The run has no artifact {wanted!r}.")


class Download:
    """Until `turn` is None: wait so long, send `call`, give `opened` the answer, and, if it wants
    them, `take` all bytes. `start` is where the first of them belongs."""

    def __init__(self, run_id: str, artifact: Artifact, patience: Patience) -> None:
        self.start = 0
        self._run_id = run_id
        self._artifact = artifact
        self._tries = Tries(patience)
        self._hash = hashlib.sha256()
        self._have = 0
        self._complete = False
        self._pause_s: float | None = 0.0

    def turn(self) -> float | None:
        """Seconds to wait before the next connection; None: all is there, and right. Raises when
        too many have come to nothing, or when it is not."""
        if self._complete:
            self._check()
            return None
        if self._pause_s is None:
            self.lost(Unreachable("The connection ended before the artifact was complete."))
        pause_s, self._pause_s = self._pause_s, None
        return pause_s

    def call(self) -> Call[None]:
        return protocol.artifact(self._run_id, self._artifact, self._have)

    def opened(self, answer: Answer) -> bool:
        """Whether bytes follow. Raises the gateway's error when that is the last word."""
        if may_come_back(answer):
            fault = protocol.fault_of(answer)
            self._pause_s = self._tries.failed(fault, retry_after_s(answer))
            return False
        protocol.settled(self.call(), answer)
        self.start = self._start_of(answer)
        if self.start == 0:
            self._hash, self._have = hashlib.sha256(), 0
        if self.start != self._have:
            raise UnexpectedAnswer("Other bytes of the artifact have come than were asked for.")
        self._complete = self._have == self._artifact.size
        return True

    def take(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self._have += len(chunk)
        self._complete = self._have == self._artifact.size
        if self._have > self._artifact.size:
            raise UnexpectedAnswer("The artifact is longer than the gateway says.")
        self._tries.progress()

    def lost(self, fault: GatewayError) -> None:
        """Raises it when it is one too many."""
        if not self._complete:
            self._pause_s = self._tries.failed(fault)

    def _start_of(self, answer: Answer) -> int:
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            return 0  # all of it, whatever was asked for
        found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        if found is None:
            raise UnexpectedAnswer("A part of the artifact has come, and not which one.")
        return int(found[1])

    def _check(self) -> None:
        digest = f"sha256:{self._hash.hexdigest()}"
        if digest != self._artifact.digest:
            raise UnexpectedAnswer(
                f"The artifact {self._artifact.name!r} is not what the gateway keeps: its digest is"
                f" {digest}, not {self._artifact.digest}."
            )
