"""`kernel-gateway serve` as a process: its first line, its end, what it refuses."""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
import subprocess
import threading
import urllib.parse
import urllib.request
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.commands import LIMIT_S, ROOT, run, served
from tests.shared.processes import is_alive
from tests.shared.programs import needs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.commands import Served

#: Runs until the file is there.
UNTIL = "import os, time\nwhile not os.path.exists({!r}): time.sleep(0.01)\nprint('went on')"


class Call(threading.Thread):
    """A call that is held while the test does something else."""

    def __init__(self, gateway: Served, kernel_id: str, **body: Any) -> None:
        super().__init__()
        self._call = (gateway, kernel_id, body)
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        gateway, kernel_id, body = self._call
        self.answer = gateway.execute(kernel_id, **body)

    def result(self) -> Any:
        self.join(60)
        return self.answer


def follow(gateway: Served, run_id: str) -> str:
    """The text of a run up to its first piece."""
    items = gateway.call("GET", f"/api/runs/{run_id}/log?wait=60")[1]["items"]
    return "".join(text for _, _, text in items)


def test_the_first_line_opens_the_door_and_sigterm_ends_it(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        assert gateway.url.startswith("http://127.0.0.1:")
        assert gateway.shown_token is not None
        assert len(gateway.shown_token) == 48
        kernel_id = gateway.new_kernel()
        code, wait = "import os\nos.getpid()", {"wait": 60}
        status, result = gateway.execute(kernel_id, mode="query", code=code, options=wait)
        assert (status, result["status"]) == (200, "finished")
        pid = int(result["console"][0][1])
        exit_code, said = gateway.stop()
    assert exit_code == 0
    assert gateway.token not in said
    assert "Traceback" not in said
    assert not is_alive(pid)


def test_a_token_that_was_chosen_is_not_shown(tmp_path: Path) -> None:
    for name in ("KERNEL_GATEWAY_TOKEN", "JUPYTER_TOKEN"):
        with served(tmp_path, env={name: "chosen"}) as gateway:
            assert gateway.shown_token is None
            gateway.token = "chosen"
            assert gateway.call("GET", "/api")[0] == 200
            gateway.token = "other"
            assert gateway.call("GET", "/api")[0] == 401
            assert gateway.stop()[0] == 0


def test_no_kernel_sees_the_token(tmp_path: Path) -> None:
    with served(tmp_path, env={"KERNEL_GATEWAY_TOKEN": "t0p-s3cret"}) as gateway:
        code = "import os\nprint([k for k, v in os.environ.items() if 't0p-s3cret' in v])"
        wait = {"wait": 60}
        _, result = gateway.execute(gateway.new_kernel(), mode="query", code=code, options=wait)
        assert result["console"] == [["stdout", "[]\n"]]
        gateway.stop()


def test_running_code_may_end_before_the_gateway_does(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    with served(tmp_path) as gateway:
        kernel_id = gateway.new_kernel()
        code = "print('begun')\n" + UNTIL.format(str(flag))
        held = Call(gateway, kernel_id, mode="query", runId="r", code=code, options={"wait": 60})
        while gateway.call("GET", "/api/runs/r")[0] == 404:
            pass
        assert follow(gateway, "r") == "begun\n"
        gateway.process.send_signal(signal.SIGTERM)
        while (refused := gateway.execute(kernel_id, mode="query", code="1"))[0] == 200:
            pass
        assert (refused[0], refused[1]["error"]["code"]) == (503, "draining")
        flag.touch()
        status, result = held.result()
        assert (status, result["status"], result["exitCode"]) == (200, "finished", 0)
        assert result["console"] == [["stdout", "begun\nwent on\n"]]
        assert gateway.process.wait(60) == 0
        _, said = gateway.process.communicate()
    assert "Traceback" not in said


def test_what_does_not_end_in_time_is_cancelled(tmp_path: Path) -> None:
    with served(tmp_path, "--drain=0.1") as gateway:
        kernel_id = gateway.new_kernel()
        code = "print('begun')\n" + UNTIL.format("never")
        held = Call(gateway, kernel_id, mode="query", runId="r", code=code, options={"wait": 60})
        while gateway.call("GET", "/api/runs/r")[0] == 404:
            pass
        follow(gateway, "r")
        assert gateway.stop()[0] == 0
        status, result = held.result()
        assert (status, result["status"]) == (200, "finished")
    with served(tmp_path) as gateway:
        _, after = gateway.call("GET", "/api/runs/r")
        assert (after["outcome"], after["log"]["bytes"]) == ("cancelled", 6)
        gateway.stop()


def test_the_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        kernel_id = gateway.new_kernel()
        code = "print('begun')\n" + UNTIL.format("never")
        gateway.execute(kernel_id, mode="query", runId="r", code=code, options={"wait": 0})
        follow(gateway, "r")
        gateway.process.send_signal(signal.SIGINT)
        while gateway.execute(kernel_id, mode="query", code="1", options={"wait": 0})[0] == 200:
            pass
        assert gateway.stop(signal.SIGINT)[0] == 130


def test_runs_of_a_gateway_that_was_killed_are_lost_with_their_log_kept(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        kernel_id = gateway.new_kernel()
        code = "import os\nprint(os.getpid())\n" + UNTIL.format("never")
        gateway.execute(kernel_id, mode="query", runId="r", code=code, options={"wait": 0})
        pid = int(follow(gateway, "r"))
        gateway.process.kill()
        gateway.process.communicate()
    with served(tmp_path) as gateway:
        _, lost = gateway.call("GET", "/api/runs/r")
        assert (lost["outcome"], lost["reason"]["code"]) == ("lost", "gateway_lost")
        assert follow(gateway, "r") == f"{pid}\n"
        gateway.stop()
    while is_alive(pid):  # it watches its parent, once a second
        pass


# -- where it listens ----------------------------------------------------------------------------


def ask_on_path(path: Path, target: str, token: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LIMIT_S)
        client.connect(str(path))
        client.sendall(
            f"GET {target} HTTP/1.1\r\nHost: any\r\nAuthorization: token {token}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        with client.makefile("rb") as answer:
            return answer.read()


def test_a_unix_socket_below_a_path_is_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with served(tmp_path, f"--sock={path}", "--base-url=gw/") as gateway:
        assert f"http+unix://{str(path).replace('/', '%2F')}/gw/" == gateway.url
        assert 0o600 == path.stat().st_mode & 0o777
        assert b" 200 " in ask_on_path(path, "/gw/api", gateway.token)[:16]
        assert b" 404 " in ask_on_path(path, "/api", gateway.token)[:16]
        other = {"KERNEL_GATEWAY_DATA_DIR": str(tmp_path / "other")}
        assert "another server" in refusal(run(tmp_path, "serve", f"--sock={path}", env=other))
        code, said = gateway.stop()
    assert 0 == code
    assert gateway.token not in said
    assert not path.exists()


def test_the_socket_that_a_killed_gateway_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    for _ in range(2):
        with served(tmp_path, f"--sock={path}") as gateway:
            assert b" 200 " in ask_on_path(path, "/api", gateway.token)[:16]
            gateway.process.kill()
            gateway.process.communicate()
        assert path.exists()


def test_tls_is_spoken_and_junk_costs_a_line_at_most(tmp_path: Path) -> None:
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = "-addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    openssl = [needs("openssl"), *command.split(), *names.split()]
    subprocess.run(openssl, cwd=tmp_path, check=True, capture_output=True)
    files = [f"--certfile={tmp_path}/cert.pem", f"--keyfile={tmp_path}/key.pem"]
    with served(tmp_path, *files, "--ip=localhost") as gateway:
        address = urllib.parse.urlsplit(gateway.url)
        assert ("https", "localhost") == (address.scheme, address.hostname)
        where = (address.hostname or "", address.port or 0)
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"):
            with socket.create_connection(where, LIMIT_S) as plain, suppress(ConnectionError):
                plain.sendall(junk)
                assert b"HTTP" not in plain.recv(100)
        context = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        request = urllib.request.Request(
            f"{gateway.url}api", headers={"Authorization": f"token {gateway.token}"}
        )
        with urllib.request.urlopen(request, timeout=LIMIT_S, context=context) as answer:
            assert 200 == answer.status
        code, said = gateway.stop()
    assert 0 == code
    assert "Traceback" not in said
    assert said.count("\n") <= 2 + 2  # and one for the room that there is, one for the signal


def test_600_idle_connections_and_heads_stop_nobody(tmp_path: Path) -> None:
    with served(tmp_path) as gateway, ExitStack() as stack:
        address = urllib.parse.urlsplit(gateway.url)
        where = (address.hostname or "", address.port or 0)
        for n in range(600):
            idle = stack.enter_context(socket.create_connection(where, LIMIT_S))
            if n % 2:
                idle.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\nX: ")
        status, result = gateway.execute(
            gateway.new_kernel(), mode="query", code="6 * 7", options={"wait": 60}
        )
        assert (200, "finished") == (status, result["status"])
        stack.close()
        code, said = gateway.stop()
    assert 0 == code
    assert len(said.splitlines()) <= 2  # how much room there is, and that it ends


def test_each_owner_has_a_token_and_no_token_is_shown(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "kernel_gateway_config.py").write_text(
        "c.Web.owner_tokens = {'ada': 'of-ada', 'alan': 'of-alan'}\n"
    )
    with served(tmp_path) as gateway:
        made = gateway.token
        for token, owner in ((made, "local"), ("of-ada", "ada"), ("of-alan", "alan")):
            gateway.token = token
            me = gateway.call("GET", "/api/me")[1]
            assert owner == me["identity"]["username"]
        code, said = gateway.stop()
    assert (0, False) == (code, "of-a" in said)


# -- what it refuses -----------------------------------------------------------------------------


def refusal(process: Any) -> str:
    """The one line of a start that was refused."""
    assert process.returncode == 1
    assert process.stdout == ""
    lines = process.stderr.splitlines()
    assert len(lines) == 1, process.stderr
    assert lines[0].startswith("kernel-gateway serve: ")
    return lines[0]  # type: ignore[no-any-return]


def test_a_port_that_is_taken_is_passed_over_or_refused(tmp_path: Path) -> None:
    with served(tmp_path) as first:
        port = int(first.url.rstrip("/").rpartition(":")[2])
        other = {"KERNEL_GATEWAY_DATA_DIR": str(tmp_path / "other")}
        with served(tmp_path, f"--port={port}", env=other) as second:
            assert int(second.url.rstrip("/").rpartition(":")[2]) > port
            second.stop()
        none = run(tmp_path, "serve", f"--port={port}", "--Web.port_retries=0", env=other)
        assert f"port {port} is taken" in refusal(none)
        first.stop()


def test_a_data_folder_belongs_to_one_gateway(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        line = refusal(run(tmp_path, "serve", "--port=0"))
        assert str(tmp_path / "data") in line
        gateway.stop()


@pytest.mark.parametrize("files", ["RECORD", "top_level.txt"])
def test_a_twin_of_the_package_is_refused(tmp_path: Path, files: str) -> None:
    info = tmp_path / "site" / "jupyter_kernel_gateway-3.0.1.dist-info"
    info.mkdir(parents=True)
    lists = {"RECORD": "kernel_gateway/__init__.py,,\n", "top_level.txt": "kernel_gateway\n"}
    (info / files).write_text(lists[files])
    path = os.pathsep.join([str(info.parent), str(ROOT)])
    for command in (["serve", "--port=0"], ["exec", "print(1)"]):
        process = run(tmp_path, *command, env={"PYTHONPATH": path})
        assert (process.returncode, process.stdout) == (1, "")
        assert process.stderr.count("\n") == 1
        assert "pip uninstall jupyter-kernel-gateway" in process.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "told"),
    [
        (["--token="], {}, "token may not be empty"),
        ([], {"KERNEL_GATEWAY_TOKEN": ""}, "token may not be empty"),
        ([], {"JUPYTER_TOKEN": " "}, "token may not be empty"),
        ([], {"KERNEL_GATEWAY_PORT": "http"}, "KERNEL_GATEWAY_PORT"),
        (["--ip=203.0.113.7"], {}, "203.0.113.7"),
        (["--base-url=/a b"], {}, "Web.base_url"),
        (["--certfile=none.pem"], {}, "none.pem"),
        (["--sock=none/sock"], {}, "No such file"),
        (["--Web.sock_mode=rw"], {}, "Web.sock_mode"),
        (["--Web.allow_origin_pat=("], {}, "Web.allow_origin_pat"),
        (["--token=a", "--Web.owner_tokens=ada=a"], {}, "the same"),
        ([], {"KERNEL_GATEWAY_DATA_DIR": "/proc/nowhere"}, "/proc/nowhere"),
    ],
)
def test_a_start_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, arguments: list[str], env: dict[str, str], told: str
) -> None:
    assert told in refusal(run(tmp_path, "serve", *arguments, env=env))


# -- the command itself --------------------------------------------------------------------------


def test_a_configuration_file_is_read_and_the_command_line_wins(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "kernel_gateway_config.py").write_text(
        "c.Web.token = 'of-the-file'\nc.Web.ip = '203.0.113.7'\n"
    )
    with served(tmp_path, "--ip=127.0.0.1", env={"KERNEL_GATEWAY_TOKEN": "of-env"}) as gateway:
        gateway.token = "of-the-file"
        assert gateway.call("GET", "/api")[0] == 200
        gateway.stop()


def test_the_data_folder_is_private(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        gateway.stop()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--help"], ["serve", "run", "exec", "Subcommands"]),
        (["serve", "--help"], ["--port", "--token", "SIGTERM"]),
        (["serve", "--help-all"], ["--Web.allowed_hosts", "--Runs.queue_bound", "--Kernels."]),
        (["exec", "--help"], ["--timeout", "standard input"]),
    ],
)
def test_help_is_given(tmp_path: Path, arguments: list[str], told: list[str]) -> None:
    process = run(tmp_path, *arguments)
    assert (process.returncode, process.stderr) == (0, "")
    assert all(words in process.stdout for words in told)


def test_the_version_is_told(tmp_path: Path) -> None:
    for arguments in (["--version"], ["serve", "--version"], ["exec", "--version"]):
        process = run(tmp_path, *arguments)
        assert process.returncode == 0
        assert process.stdout[0].isdigit()


def test_a_configuration_file_is_written(tmp_path: Path) -> None:
    for command in ([], ["serve"]):
        process = run(tmp_path, *command, "--generate-config", "-y")
        assert process.returncode == 0, process.stderr
        written = (tmp_path / "config" / "kernel_gateway_config.py").read_text()
        assert "# c.Web.port = " in written
        assert "# c.Gateway.drain_s = 30.0" in written


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["srve"], "there is no command 'srve', only serve, run, inspect"),
        (["serve", "now"], "'now'"),
        (["serve", "--port=http"], "port"),
        (["serve", "--Web.port=70000"], "port"),
        ([], ""),
    ],
)
def test_what_makes_no_sense_is_exit_2(tmp_path: Path, arguments: list[str], told: str) -> None:
    process = run(tmp_path, *arguments)
    assert process.returncode == 2, process.stderr
    assert told in process.stderr
    assert "Traceback" not in process.stderr


def test_without_descriptors_it_takes_a_rest_and_goes_on_when_there_are_some(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as gateway:
        pid = gateway.process.pid
        in_use = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use + 4, in_use + 4))
        address = urllib.parse.urlsplit(gateway.url)
        crowd = [
            socket.create_connection((address.hostname or "", address.port or 0)) for _ in range(20)
        ]
        for one in crowd:
            one.close()
        assert 200 == gateway.call("GET", "/healthz")[0]
        code, said = gateway.stop()
    assert 0 == code
    assert "no connection is taken" in said
    assert len(said) < 5_000
