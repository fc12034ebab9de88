"""JupyterLab's own server before a gateway, and the line between the two.

Knows processes, their options and their REST API. Must not import the gateway.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tornado.httpclient import HTTPRequest

from tests.e2e.lab.browser import BIN, LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOKEN = "a-token-of-the-browser"
LINE = Path(__file__).with_name("line.py")

#: What is switched on for our class of connections, as the how-to says.
OURS = (
    "--ServerApp.kernel_websocket_connection_class="
    "kernel_gateway_lab.connection.GatewayV1Connection"
)

# Nothing may ask the world; and the tests see the application in the page.
_QUIET = {
    "LabApp": {
        "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "expose_app_in_browser": True,
        "extension_manager": "readonly",
        "news_url": None,
    },
}
_NO_NEWS = {"checkForUpdates": False, "fetchNews": "false"}


class Line:
    """What lies between Jupyter's server and the gateway, and can be cut."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, LINE, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it has nothing to tidy up
        self._process.communicate()

    def do(self, word: str) -> None:
        """`cut`, `mend`, `plain` or `whole`: see the program."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert word == self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class Lab:
    """JupyterLab's server, with kernels of its own: listening when it is entered."""

    def __init__(
        self, folder: Path, program: Sequence[str | Path], *options: str, env: Mapping[str, str]
    ) -> None:
        self.folder = folder / "notebooks"
        self.folder.mkdir()
        config = folder / "config"
        config.mkdir()
        (config / "jupyter_lab_config.json").write_text(json.dumps(_QUIET))
        notices = config / "lab/user-settings/@jupyterlab/apputils-extension"
        notices.mkdir(parents=True)
        (notices / "notification.jupyterlab-settings").write_text(json.dumps(_NO_NEWS))
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.lines: list[str] = []
        self._told = threading.Condition()
        self._over = False
        self._process = subprocess.Popen(
            [
                *program,
                f"--port={port}",
                "--ServerApp.port_retries=0",
                f"--ServerApp.root_dir={self.folder}",
                "--no-browser",
                "--allow-root",
                *options,
            ],
            cwd=folder,
            env={**_environment(folder), **env},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="log of JupyterLab")
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self.logged(re.compile(r"is running at"))
            self._listens()
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """As a service is stopped."""
        self._process.terminate()
        try:
            assert 0 == self._process.wait(LIMIT_S)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._reader.join(LIMIT_S)

    def _listens(self) -> None:
        """Some moments after it has said so."""
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                self.call("GET", "/api")
            except urllib.error.URLError:
                assert not self._over, "".join(self.lines)
                assert time.monotonic() < end
            else:
                return

    def logged(self, pattern: re.Pattern[str], since: int = 0) -> str:
        """The first line that holds it, once it is there."""

        def found() -> str | None:
            return next((line for line in self.lines[since:] if pattern.search(line)), None)

        with self._told:
            self._told.wait_for(lambda: found() or self._over, LIMIT_S)
            line = found()
        assert line is not None, f"{pattern.pattern!r} is not in the log:\n{''.join(self.lines)}"
        return line

    def channels(self, kernel_id: str, session_id: str) -> HTTPRequest:
        """Where a browser's socket is opened."""
        path = f"/api/kernels/{kernel_id}/channels?session_id={session_id}"
        headers = {"Authorization": f"token {TOKEN}"}
        return HTTPRequest(self.url.replace("http", "ws") + path, headers=headers)

    def call(self, verb: str, path: str, body: Any = None) -> Any:
        return call(self.url, TOKEN, verb, path, body)

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as log:
            for line in log:
                with self._told:
                    self.lines.append(line)
                    self._told.notify_all()
        with self._told:
            self._over = True
            self._told.notify_all()


class LabServer(Lab):
    """`jupyter lab --gateway-url=...`."""

    def __init__(self, folder: Path, line: Line, gateway_token: str, *options: str) -> None:
        self.line = line
        gateway = f"--gateway-url=http://127.0.0.1:{line.port}"
        env = {"JUPYTER_GATEWAY_AUTH_TOKEN": gateway_token}
        super().__init__(folder, [BIN / "jupyter-lab"], gateway, *options, env=env)


def call(url: str, token: str, verb: str, path: str, body: Any = None) -> Any:
    """What a server answers, as JSON."""
    request = urllib.request.Request(
        url + path,
        method=verb,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refused:
        with refused:
            raise AssertionError(f"{verb} {path}: {refused.code} {refused.read()!r}") from None


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the person who runs the tests."""
    return {
        "HOME": str(folder),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_TOKEN": TOKEN,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
