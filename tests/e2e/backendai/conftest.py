"""One gateway for all tests of this folder, two key pairs, and the real client of each.

Sessions are named by their test. The gateway must have made no mistake in all of them.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from tests.e2e.backendai.client import BIN, LIMIT_S, Account, Cli, Sdk, Session
from tests.e2e.backendai.gate import Gate
from tests.e2e.backendai.raw import Raw
from tests.e2e.main_job.gateway import COMMAND, Server, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


#: Where the routes are served, too, beside the root.
BASE_PATH = "/mounted/here"


@pytest.fixture(scope="package", autouse=True)
def client_is_there() -> None:
    """Missing is a failure, but where the client cannot run at all."""
    if not (BIN / "backend.ai").exists():
        if sys.version_info[:2] != (3, 11) and shutil.which("python3.11") is None:
            pytest.skip("Backend.AI's client needs Python 3.11, which is not here")
        pytest.fail("there is no client: run scripts/client-env", pytrace=False)


class Gateway:
    """The server, with the command that makes its keys."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.made: list[Account] = []

    def keys(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`kernel-gateway keys ...`, on the folder of the server."""
        return subprocess.run(
            [COMMAND, "keys", *arguments, f"--data-dir={self.server.data_dir}"],
            cwd=self.server.data_dir.parent,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def new_account(self, *arguments: str) -> Account:
        """By what the command prints, read as a shell does."""
        done = self.keys("add", *arguments)
        assert 0 == done.returncode, done.stderr
        lines = [shlex.split(line) for line in done.stdout.splitlines()]
        assert ["export", "export"] == [command for command, _ in lines]
        exported = dict(setting.split("=", 1) for _, setting in lines)
        account = Account(
            endpoint=self.server.url,
            access_key=exported["BACKEND_ACCESS_KEY"],
            secret_key=exported["BACKEND_SECRET_KEY"],
        )
        self.made.append(account)
        return account

    def log(self) -> str:
        return "".join(self.server.lines)


@pytest.fixture(scope="package")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    data = tmp_path_factory.mktemp("gateway") / "data"
    with serving(data, f"--BackendAI.base_path={BASE_PATH}") as server:
        gateway = Gateway(server)
        yield gateway
    assert [] == [one for one in gateway.made if one.secret_key in gateway.log()]


@pytest.fixture(scope="package")
def account(gateway: Gateway) -> Account:
    return gateway.new_account()


@pytest.fixture(scope="package")
def other_account(gateway: Gateway) -> Account:
    return gateway.new_account()


@pytest.fixture(scope="package")
def sdk(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with Sdk(account, tmp_path_factory.mktemp("sdk")) as sdk:
        yield sdk


@pytest.fixture(scope="package")
def other_sdk(other_account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with Sdk(other_account, tmp_path_factory.mktemp("sdk")) as sdk:
        yield sdk


@pytest.fixture
def raw(account: Account) -> Raw:
    return Raw(account)


@pytest.fixture
def cli(account: Account, tmp_path: Path) -> Cli:
    home = tmp_path / "home"
    home.mkdir()
    return Cli(account=account, folder=home)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of a session or a run: one that no other test takes, and that says which test it is of."""
    return _name(request.node.name.removeprefix("test_"), request.node.nodeid)


@pytest.fixture(scope="module")
def session(sdk: Sdk, request: pytest.FixtureRequest) -> Iterator[Session]:
    """One for all tests of a module, for those who do not mind what others have left in it."""
    session = sdk.create(_name(request.node.path.stem, request.node.nodeid))
    yield session
    session.call("destroy")


@pytest.fixture
def emptied(session: Session) -> Session:
    """The same, with nothing in its folder."""
    session.run(
        "import os, shutil\n"
        "for entry in list(os.scandir()):\n"
        "    if entry.is_dir(follow_symlinks=False): shutil.rmtree(entry)\n"
        "    else: os.unlink(entry)"
    )
    return session


@pytest.fixture
def own(sdk: Sdk, name: str) -> Iterator[Session]:
    """A new one, of this test alone. It may have been destroyed."""
    session = sdk.create(name)
    assert session.created
    yield session
    if name in sdk.names():
        session.call("destroy")


def _name(words: str, whole: str) -> str:
    begin = re.sub(r"\W+", "-", words, flags=re.ASCII)[:50]
    return f"{begin}-{crc32(whole.encode()):08x}"


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Callable[[str], Gate]]:
    """A new gate of a name."""
    gates: list[Gate] = []

    def made(name: str) -> Gate:
        gates.append(Gate(tmp_path, name))
        return gates[-1]

    yield made
    for gate in gates:
        gate.close()
