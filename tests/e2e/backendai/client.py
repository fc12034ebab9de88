"""Backend.AI's own client, unchanged: its command line, and its SDK in a process of its own.

Knows where scripts/client-env has put it, and how it is told whom to call. Must not import the
gateway: what is tested here is what a user of that client sees.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.shared.told import Told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[3]
BIN = ROOT / ".clients/backendai/bin"
PYTHON = BIN / "python"
DRIVER = Path(__file__).with_name("sdk_driver.py")

#: Whatever is waited for here comes much sooner, or never.
LIMIT_S = 30.0

IMAGE = "python:3.11"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who calls, and whom: what the client is told by its environment."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "BACKEND_ENDPOINT": self.endpoint,
            "BACKEND_ENDPOINT_TYPE": "api",
            "BACKEND_ACCESS_KEY": self.access_key,
            "BACKEND_SECRET_KEY": self.secret_key,
        }


def environment(account: Account, home: Path) -> dict[str, str]:
    """Nothing of the person who runs the tests but the path to their programs."""
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "COLUMNS": "400",
        **account.environment,
    }


# -- the command line -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cli:
    """`backend.ai` as somebody types it in a folder of theirs."""

    account: Account
    folder: Path

    def __call__(
        self, *arguments: str, text: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """To its end; `text` is its standard input. Without a terminal, for password prompts."""
        return subprocess.run(
            [BIN / "backend.ai", *arguments],
            cwd=self.folder,
            env={**environment(self.account, self.folder), **(env or {})},
            input=text,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            start_new_session=True,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """It can be spoken to, and read."""
        return subprocess.Popen(
            [BIN / "backend.ai", *arguments],
            cwd=self.folder,
            env={**environment(self.account, self.folder), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


# -- the SDK --------------------------------------------------------------------------------------


class RefusedError(Exception):
    """The client has raised its `BackendAPIError`."""

    def __init__(self, status: int, data: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {data}")
        self.status = status
        self.data = data

    @property
    def kind(self) -> str:
        return str(self.data["type"]).rpartition("/")[2]


class Sdk:
    """An `AsyncSession` that is open, in a process of its own."""

    def __init__(self, account: Account, folder: Path) -> None:
        self.account = account
        self._errors = folder / "stderr"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [PYTHON, DRIVER],
                cwd=folder,
                env=environment(account, folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._numbers = count(1)
        self._asked: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="answers of the SDK")
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """It must not have complained of anything."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reader.join(LIMIT_S)
        if kind is None:
            said = self._errors.read_text()
            assert (0, "") == (code, said), f"exit code {code}: {said}"

    def begin(self, do: str, *args: Any, **more: Any) -> Future[Any]:
        """What it gives is there later; many may be under way."""
        answer: Future[Any] = Future()
        assert self._process.stdin is not None
        with self._lock:
            number = next(self._numbers)
            self._asked[number] = answer
            line = json.dumps({"id": number, "do": do, "args": args, "with": more})
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return answer

    def ask(self, do: str, *args: Any, **more: Any) -> Any:
        """Raises `RefusedError`."""
        return self.begin(do, *args, **more).result(LIMIT_S)

    def create(self, name: str, image: str = IMAGE, **options: Any) -> Session:
        made = self.ask("create", image, name, **options)
        assert "RUNNING" == made["status"]
        return Session(self, made["name"], made["id"], made["created"])

    def session(self, name: str) -> Session:
        """One that this client has not made; it knows no ID of it."""
        return Session(self, name, "", False)

    def names(self) -> set[str]:
        return {item["name"] for item in self.ask("list", "name")}

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                self._settle(json.loads(line))
        with self._lock:
            left = list(self._asked.values())
        for answer in left:
            answer.set_exception(AssertionError(f"the SDK is gone: {self._errors.read_text()}"))

    def _settle(self, answer: dict[str, Any]) -> None:
        with self._lock:
            asked = self._asked.pop(answer["id"])
        if "refused" in answer:
            asked.set_exception(RefusedError(*answer["refused"]))
        elif "failed" in answer:
            asked.set_exception(AssertionError(answer["failed"]))
        else:
            asked.set_result(answer["value"])


@dataclass(frozen=True, slots=True)
class Session:
    """A `ComputeSession` as one client has it."""

    sdk: Sdk
    name: str
    id: str
    created: bool

    def begin(self, method: str, *args: Any, **more: Any) -> Future[Any]:
        return self.sdk.begin("call", self.name, method, list(args), more)

    def call(self, method: str, *args: Any, **more: Any) -> Any:
        """Any of its methods. Raises `RefusedError`."""
        return self.begin(method, *args, **more).result(LIMIT_S)

    def execute(self, run_id: str | None, code: str, mode: str, **opts: Any) -> Any:
        """One call, as it stands."""
        return self.call("execute", run_id, code, mode=mode, opts=opts)

    def query(self, code: str, run_id: str | None = None) -> Talk:
        return Talk(self, [self.execute(run_id, code, "query")])

    def batch(self, run_id: str | None = None, **steps: str) -> Talk:
        return Talk(self, [self.execute(run_id, "", "batch", **steps)])

    def run(self, code: str) -> Talk:
        return self.query(code).to_the_end()

    def value(self, expression: str) -> str:
        """What the expression prints, of a run that must succeed."""
        talk = self.run(f"print({expression})")
        assert 0 == talk.exit_code, talk.answers
        return talk.text().strip()

    def stream(self, code: str = "", mode: str = "query", **opts: str) -> Stream:
        return Stream(self.sdk, self.sdk.ask("stream", self.name, code=code, mode=mode, opts=opts))

    def events(self, scope: str = "*") -> Events:
        return Events(self.sdk, self.sdk.ask("events", self.name, scope=scope))

    def write(self, **files: str) -> None:
        """Files at the top of its folder; a name's last underscore stands for its dot."""
        for name, text in files.items():
            path = ".".join(name.rsplit("_", 1))
            assert 0 == self.run(f"_ = open({path!r}, 'w').write({text!r})").exit_code


class _Told(Told):
    """With what a batch has, and a client of this API looks at."""

    @property
    def last_status(self) -> str:
        """Empty before the first."""
        return self.answers[-1]["status"] if self.answers else ""

    @property
    def phases(self) -> list[tuple[str, int]]:
        """Each end of a part of it, with its exit code."""
        ends = ("clean-finished", "build-finished", "finished")
        return [(one["status"], one["exitCode"]) for one in self.answers if one["status"] in ends]

    def text(self, stream: str = "stdout") -> str:
        return "".join(printed(answer, stream) for answer in self.answers)

    def text_of(self, phase: str, stream: str = "stdout") -> str:
        """What was told from the end of the part before, to the end of this one."""
        text = ""
        for answer in self.answers:
            text += printed(answer, stream)
            if answer["status"] == phase:
                return text
            if answer["status"] in {"clean-finished", "build-finished"}:
                text = ""
        raise AssertionError(f"no {phase} in {self.statuses}")


@dataclass(slots=True)
class Talk(_Told):
    """One run, as somebody hears of it who calls again and again."""

    session: Session
    answers: list[Any]

    @property
    def run_id(self) -> str:
        run_id: str = self.last["runId"]
        return run_id

    def go_on(self) -> Any:
        self.answers.append(self.session.execute(self.run_id, "", "continue"))
        return self.last

    def give(self, text: str) -> Talk:
        """The answer to a prompt."""
        assert "waiting-input" == self.last["status"], self.answers
        self.answers.append(self.session.execute(self.run_id, text, "input"))
        return self

    def until(self, status: str) -> Talk:
        while self.last["status"] != status:
            assert self.last["status"] not in {"finished", "waiting-input"}, self.answers
            self.go_on()
        return self

    def to_the_end(self) -> Talk:
        return self.until("finished")

    def to_the_prompt(self) -> Talk:
        self.until("waiting-input")
        assert isinstance(self.last["options"], dict)
        return self

    @property
    def is_password(self) -> bool:
        told: bool = self.last["options"]["is_password"]
        return told


@dataclass(slots=True)
class Stream(_Told):
    """One run, as it is told over a WebSocket."""

    sdk: Sdk
    number: int
    answers: list[Any] = field(default_factory=list)

    def frame(self) -> Any:
        """The next; None when the server has closed."""
        frame = self.sdk.ask("frame", self.number)
        if frame is not None:
            self.answers.append(frame)
        return frame

    def until(self, status: str) -> Stream:
        while self.last_status != status:
            assert self.last_status != "finished", self.answers
            assert self.frame() is not None, self.answers
        return self

    def to_the_prompt(self) -> Stream:
        """The next that comes."""
        self.frame()
        return self.until("waiting-input")

    def until_told(self, text: str) -> Stream:
        while text not in self.text():
            assert self.frame() is not None, self.answers
        return self

    def to_the_end(self) -> Stream:
        self.until("finished")
        assert self.frame() is None, "the connection is over with its run"
        self.leave()
        return self

    def send(self, text: str) -> None:
        self.sdk.ask("send", self.number, text)

    def leave(self) -> None:
        self.sdk.ask("leave", self.number)


@dataclass(frozen=True, slots=True)
class Events:
    """What happens to a session, as it is told."""

    sdk: Sdk
    number: int

    def next(self) -> tuple[str, Any] | None:
        """None when the server has ended it."""
        event = self.sdk.ask("event", self.number)
        return None if event is None else (event[0], event[1])

    def until(self, name: str) -> list[tuple[str, Any]]:
        """All that comes, up to this one."""
        events: list[tuple[str, Any]] = []
        while not events or events[-1][0] != name:
            event = self.next()
            assert event is not None, events
            events.append(event)
        return events

    def leave(self) -> None:
        self.sdk.ask("leave", self.number)


def printed(answer: Any, stream: str = "stdout") -> str:
    return "".join(value for kind, value in answer["console"] if kind == stream)


def merged_text(answers: Sequence[Any]) -> str:
    """Both streams, in the order they were told in."""
    return "".join(
        value
        for answer in answers
        for kind, value in answer["console"]
        if kind in {"stdout", "stderr"}
    )


def plain(text: str) -> str:
    """Without what is for terminals alone."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def processes_with(mark: str) -> list[str]:
    """Command lines that have it in them, of whatever runs on this machine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if mark in line]
