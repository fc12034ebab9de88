"""The client for programs without a loop. Its twin is `asynchronous.py`.

Carries calls and bytes and waits; what is to be done is decided in `patience.py`, `following.py`
and `download.py`.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from kernel_gateway.client import protocol, wire
from kernel_gateway.client.address import address
from kernel_gateway.client.download import Download, named_artifact
from kernel_gateway.client.files import PartFile
from kernel_gateway.client.following import Following
from kernel_gateway.client.patience import Again, Attempts, Patience
from kernel_gateway.client.wishes import asking, named
from kernel_gateway.errors import Conflict, Unreachable
from kernel_gateway.runs.records import InputAsked, LogText, Seq

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from typing import Self, Unpack

    from kernel_gateway.client.address import Address
    from kernel_gateway.client.protocol import Answer, Call
    from kernel_gateway.client.values import RecordPage, Told
    from kernel_gateway.client.wishes import NewRun, OnInput, OnOutput, OnRecord, RunWishes
    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.runs.state import RunState
    from kernel_gateway.runs.view import Outcome
    from kernel_gateway.service import Artifact, KernelInfoView, KernelSpecsView, RunInfo

T = TypeVar("T")


class Client:
    """A gateway, over HTTP. Close it, or use it in a `with`; threads may share one.

    `url` may have a base path, be what `kernel-gateway serve` prints, or be `http+unix://...`;
    without it KERNEL_GATEWAY_URL counts, and for `token` KERNEL_GATEWAY_TOKEN. All methods raise
    the errors of `kernel_gateway.errors`; a failure of the code that was run is none of them.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        uds: str | None = None,
        timeout_s: float = 30.0,
        patience: Patience | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address(url, token, uds=uds, env=os.environ)
        self._timeout_s = timeout_s
        self._patience = patience or Patience()
        self._http = _http(self._address, tls)

    def __repr__(self) -> str:
        return f"<Client of {self._address}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # -- runs ------------------------------------------------------------------------------------

    def create(self, **run: Unpack[NewRun]) -> RunInfo:
        """Of `code`, a `notebook` or `commands`; the same ID and body give the same run again."""
        return self.ask(protocol.create(**named(run)))

    def execute(
        self,
        code: str,
        *,
        on_output: OnOutput | None = None,
        on_record: OnRecord | None = None,
        on_input: OnInput | None = None,
        **wishes: Unpack[RunWishes],
    ) -> RunInfo:
        """Create a run and follow it to its end. Without `on_input` the code cannot ask."""
        info = self.create(code=code, **asking(wishes, allowed=on_input is not None))
        return self.follow(info.uid, on_output=on_output, on_record=on_record, on_input=on_input)

    def follow(
        self,
        run_id: str,
        *,
        on_output: OnOutput | None = None,
        on_record: OnRecord | None = None,
        on_input: OnInput | None = None,
    ) -> RunInfo:
        """Everything from the beginning on, until the run is over."""
        for told in self.records(run_id):
            if on_record is not None:
                on_record(told)
            if on_output is not None and isinstance(told.body, LogText):
                on_output(told.body.stream, told.body.text)
            if on_input is not None and isinstance(told.body, InputAsked):
                self._answer(run_id, told.body, on_input)
        return self.run(run_id)

    def _answer(self, run_id: str, asked: InputAsked, on_input: OnInput) -> None:
        prompt = self.run(run_id).view.prompt
        if prompt is None or prompt.prompt_id != asked.prompt_id:
            return  # it was answered before we came to it
        value = on_input(asked.prompt, asked.password)
        with suppress(Conflict):  # the prompt has gone meanwhile
            self.input(run_id, value, asked.prompt_id)

    def run(self, run_id: str) -> RunInfo:
        """By run ID or uid."""
        return self.ask(protocol.run(run_id))

    def outputs(self, run_id: str) -> list[dict[str, Json]] | None:
        """As in a notebook. None: they are too big for one answer; `records` has them."""
        return self.ask(protocol.outputs(run_id))

    def runs(
        self,
        *,
        state: RunState | str | None = None,
        outcome: Outcome | str | None = None,
        kernel: str | None = None,
        labels: Mapping[str, str | None] | None = None,
    ) -> Iterator[RunInfo]:
        """Newest first, page by page. A label that is None may have any value."""
        call = protocol.runs(state=state, outcome=outcome, kernel=kernel, labels=labels)
        while True:
            page = self.ask(call)
            yield from page.runs
            if page.next is None:
                return
            call = protocol.runs(
                state=state, outcome=outcome, kernel=kernel, labels=labels, before=page.next
            )

    def records(self, run_id: str, *, after: int = 0) -> Iterator[Told]:
        """Each record behind `after` once, as it comes, until the run is over."""
        following = Following(run_id, Seq(after), self._patience)
        while (pause_s := following.turn()) is not None:
            time.sleep(pause_s)
            try:
                with self._stream(following.call()) as response:
                    if following.opened(_head(response)):
                        for chunk in response.iter_bytes():
                            yield from following.take(chunk)
            except Unreachable as fault:
                following.lost(fault)

    def page(
        self, run_id: str, *, after: int = 0, wait: float = 0.0, limit: int | None = None
    ) -> RecordPage:
        """What is there behind `after`, late records too; waits for the first of it."""
        return self.ask(protocol.records(run_id, after=after, wait=wait, limit=limit))

    def log(self, run_id: str, stream: str | None = None) -> Iterator[tuple[str, str]]:
        """Stream and text of all that is printed, as it comes, until the run is over."""
        for told in self.records(run_id):
            if isinstance(told.body, LogText) and stream in (None, told.body.stream):
                yield told.body.stream, told.body.text

    def text(self, run_id: str, stream: str | None = None) -> str:
        """All that was printed so far."""
        return self.ask(protocol.text(run_id, stream))

    def notebook(self, run_id: str) -> dict[str, Json]:
        """What has become of it so far, as a notebook."""
        return self.ask(protocol.notebook(run_id))

    def inspect(self, notebook: Mapping[str, Json]) -> dict[str, Json]:
        """`parameters`, each with `name`, `type`, `default`, `help`; and whether the notebook is
        `inspectable`."""
        return self.ask(protocol.inspect(notebook))

    def input(self, run_id: str, value: str | None, prompt_id: int | None = None) -> None:
        """`NotWaiting`, `WrongPrompt`. None: nobody has an answer, and the run ends with
        `no_input`."""
        self.ask(protocol.give_input(run_id, value, prompt_id))

    def cancel(
        self,
        run_id: str,
        *,
        grace: float | None = None,
        escalate: bool = True,
        message: str | None = None,
    ) -> RunInfo:
        """Returns at once; a run that is executed is `cancelling` until it ends."""
        call = protocol.cancel(run_id, grace=grace, escalate=escalate, message=message)
        return self.ask(call)

    def delete(self, run_id: str) -> None:
        """With its log and its artifacts. `RunActive` before it is over."""
        self.ask(protocol.delete_run(run_id))

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        return self.ask(protocol.artifacts(run_id))

    def content(self, run_id: str, artifact_id: str) -> bytes:
        """All of an artifact, in memory; `download` is for big ones."""
        return self.ask(protocol.content(run_id, artifact_id))

    def download(self, run_id: str, artifact: Artifact | str, path: str | Path) -> None:
        """To this file, which is there when it is complete and its digest right."""
        if isinstance(artifact, str):
            artifact = named_artifact(self.artifacts(run_id), artifact)
        download = Download(run_id, artifact, self._patience)
        file = PartFile(Path(path))
        try:
            while (pause_s := download.turn()) is not None:
                time.sleep(pause_s)
                try:
                    self._carry(download, file)
                except Unreachable as fault:
                    download.lost(fault)
            file.finish()
        finally:
            file.abandon()

    def _carry(self, download: Download, file: PartFile) -> None:
        with self._stream(download.call()) as response:
            if not download.opened(_head(response)):
                return
            file.begin_at(download.start)
            for chunk in response.iter_bytes():
                download.take(chunk)
                file.write(chunk)

    # -- kernels, and the gateway as a whole -----------------------------------------------------

    def kernels(self) -> tuple[KernelInfoView, ...]:
        return self.ask(protocol.kernels())

    def kernelspecs(self) -> KernelSpecsView:
        return self.ask(protocol.kernelspecs())

    def create_kernel(
        self, name: str | None = None, env: Mapping[str, str] | None = None
    ) -> KernelInfoView:
        """At once, before it is there. Never sent twice: each time would start one more."""
        return self.ask(protocol.create_kernel(name, env))

    def delete_kernel(self, kernel_id: str) -> None:
        """Its runs end as cancelled; returns when the process is gone."""
        self.ask(protocol.delete_kernel(kernel_id))

    def limits(self) -> dict[str, Json]:
        return self.ask(protocol.limits())

    def health(self) -> dict[str, Json]:
        """How the gateway is, also when it can take nothing new."""
        return self.ask(protocol.health())

    # -- calls -----------------------------------------------------------------------------------

    def ask(self, call: Call[T]) -> T:
        """Any call of `protocol`; sent again where that is harmless."""
        attempts = Attempts(call, self._patience)
        result: T | Again
        while True:
            try:
                with wire.wire_faults(self._address):
                    response = self._http.send(self._request(call, self._timeout_s))
            except Unreachable as fault:
                result = attempts.lost(fault, time.monotonic())
            else:
                result = attempts.answered(wire.answer_of(response), time.monotonic())
            if not isinstance(result, Again):
                return result
            time.sleep(result.pause_s)

    @contextmanager
    def _stream(self, call: Call[Any]) -> Iterator[httpx.Response]:
        request = self._request(call, wire.SILENCE_S)
        with wire.wire_faults(self._address):
            response = self._http.send(request, stream=True)
            try:
                yield response
            finally:
                response.close()

    def _request(self, call: Call[Any], read_s: float) -> httpx.Request:
        return self._http.build_request(**wire.request_options(self._address, call, read_s))


def _http(address: Address, tls: ssl.SSLContext | None) -> httpx.Client:
    options = wire.http_options(address, tls)
    if address.is_on_this_machine:
        options["transport"] = httpx.HTTPTransport(**wire.transport_options(address, tls))
    return httpx.Client(**options)


def _head(response: httpx.Response) -> Answer:
    if wire.streams(response):
        return wire.head_of(response)
    response.read()
    return wire.answer_of(response)
