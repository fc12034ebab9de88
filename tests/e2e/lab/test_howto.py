"""The how-to is true: its commands are those that the tests of this folder start, and its numbers
are those of the class."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

from tests.e2e.lab.browser import BIN, LIMIT_S, PYTHON
from tests.e2e.lab.server import OURS

ROOT = Path(__file__).parents[3]
HOWTO = (ROOT / "docs/how-to/jupyterlab.md").read_text()
README = (ROOT / "lab/README.md").read_text()

CLASS = OURS.partition("=")[2]
STOCK_COMMAND = ["jupyter", "lab", "--gateway-url=http://127.0.0.1:8888"]

TRAITS = """
import json
from kernel_gateway_lab.connection import GatewayV1Connection as Connection
traits = Connection.class_own_traits(config=True)
print(json.dumps({name: trait.default_value for name, trait in traits.items()}))
"""


def commands(page: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [shlex.split(line) for line in lines]


def said(*command: str | Path, folder: Path) -> str:
    env = {"HOME": str(folder), "PATH": str(BIN), "JUPYTER_CONFIG_DIR": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    return done.stdout


def test_its_commands_are_those_that_are_tested() -> None:
    assert STOCK_COMMAND in commands(HOWTO)
    assert [*STOCK_COMMAND, OURS] in commands(HOWTO)
    assert [*STOCK_COMMAND, OURS] in commands(README)
    assert ["pip", "install", "./lab"] in commands(HOWTO)
    assert ["export", "JUPYTER_GATEWAY_AUTH_TOKEN=a-secret-of-yours"] in commands(HOWTO)


def test_its_configuration_is_read_as_it_stands_there(tmp_path: Path) -> None:
    (lines,) = re.findall(r"^```python\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)
    (tmp_path / "jupyter_server_config.py").write_text(lines)
    text = said(BIN / "jupyter-lab", "--show-config-json", folder=tmp_path)
    config = json.loads(text)
    assert CLASS == config["ServerApp"]["kernel_websocket_connection_class"]
    assert "http://127.0.0.1:8888" == config["GatewayClient"]["url"]


def test_its_options_are_those_of_the_class_with_their_defaults(tmp_path: Path) -> None:
    expected = json.loads(said(PYTHON, "-c", TRAITS, folder=tmp_path))
    rows = re.findall(r"^\| `(\w+)` \| `?([\w.]+)`? \|", HOWTO, re.MULTILINE)
    assert {name: str(value) for name, value in expected.items()} == dict(rows)
