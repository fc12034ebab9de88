"""The how-to on fast starts is true: its options, its kernelspec, and what it says of both."""

from __future__ import annotations

import json
import re
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from traitlets.config import Config

from kernel_gateway.config import Kernels
from kernel_gateway.kernels.environment import READ_AT_IMPORT
from kernel_gateway.kernels.provisioners.fork import PROVISIONER, ForkProvisioner

ROOT = Path(__file__).parents[2]
HOWTO = (ROOT / "docs/how-to/fast-start.md").read_text()
SPEC = ROOT / "kernelspec/kernel-gateway-python/kernel.json"


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)
    return str(found)


def test_its_options_are_taken_and_described() -> None:
    config = Config()
    exec(block("python"), {"c": config})
    settings = Kernels(config=config).settings()
    assert ("numpy", "pandas") == settings.fork_preload
    assert settings.fork_server  # who copies the lines does not turn off what they are for
    told = set(re.findall(r"^\| `(\w+)` \|", HOWTO, re.MULTILINE))
    assert {*config.Kernels, "fork_server"} == told


def test_its_kernelspec_sets_what_the_provisioner_takes() -> None:
    spec = KernelSpec(**json.loads(block("json")))
    told = spec.metadata["kernel_provisioner"]
    assert PROVISIONER == told["provisioner_name"]
    made = ForkProvisioner(kernel_id="", kernel_spec=spec, parent=None, **told["config"])
    assert (["pandas"], ["MYLIB_*"]) == (made.preload, made.environment)


def test_its_line_for_jupyterlab_is_taken() -> None:
    (line,) = re.findall(r"^    (c\.ForkProvisioner.*)$", HOWTO, re.MULTILINE)
    config = Config()
    exec(line, {"c": config})
    assert ["pandas"] == ForkProvisioner(config=config).preload


def test_the_kernelspec_that_comes_with_us_is_named_as_it_says() -> None:
    spec = json.loads(SPEC.read_text())
    assert f"*{spec['display_name']}*\n(`{SPEC.parent.name}`)" in HOWTO
    assert PROVISIONER == spec["metadata"]["kernel_provisioner"]["provisioner_name"]


def test_variables_that_it_names_are_known() -> None:
    (named,) = re.findall(r"Many are known: (.*) and more", HOWTO)
    assert set(re.findall(r"`(.*?)`", named)) <= set(READ_AT_IMPORT)
