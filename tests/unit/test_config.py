"""What a deployer says, and what becomes of it."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from traitlets import TraitError
from traitlets.config import Config, Configurable

from kernel_gateway import config
from kernel_gateway.config import CLASSES, Settings, read_settings
from kernel_gateway.errors import Refused
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.runs.log import LogLimits
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.web.settings import BackendAISettings, WebSettings

if TYPE_CHECKING:
    from pathlib import Path

#: Settings, the class whose traits they come from, and what comes from elsewhere.
PAIRS: list[tuple[type[Any], type[Configurable], set[str]]] = [
    (WebSettings, config.Web, {"backendai", "owner", "show_token"}),
    (BackendAISettings, config.BackendAI, set()),
    (KernelSettings, config.Kernels, set()),
    (EngineSettings, config.Runs, {"languages", "images", "log", "sessions_dir"}),
    (LogLimits, config.Runs, set()),
    (StoreSettings, config.Store, {"folder"}),
]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOKEN", "IP", "PORT"):
        monkeypatch.delenv(f"KERNEL_GATEWAY_{name}", raising=False)
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)
    monkeypatch.setenv("KERNEL_GATEWAY_DATA_DIR", str(tmp_path))


def read(text: str = "") -> Settings:
    """As a line of a configuration file says it: `Web.port = 1`."""
    given = Config()
    if text:
        exec(f"c.{text}", {"c": given})
    return read_settings(given)


@pytest.mark.parametrize(("settings", "traits", "elsewhere"), PAIRS)
def test_each_setting_has_a_trait(
    settings: type[Any], traits: type[Configurable], elsewhere: set[str]
) -> None:
    missing = {field.name for field in fields(settings)} - set(traits.class_traits(config=True))
    assert missing == elsewhere


@pytest.mark.parametrize("traits", CLASSES)
def test_each_trait_has_help_that_is_a_sentence_and_a_unit(traits: type[Configurable]) -> None:
    for name, trait in traits.class_own_traits(config=True).items():
        assert re.fullmatch(r"[A-Z0-9a-z].*\.", trait.help), name
        if name.endswith("_s"):
            assert "econds" in trait.help, name
        if name.endswith("_bytes"):
            assert "ytes" in trait.help, name


def test_defaults_are_those_of_the_packages(tmp_path: Path) -> None:
    settings = read()
    assert settings.kernels == KernelSettings()
    assert settings.engine == EngineSettings()
    assert settings.store == StoreSettings(folder=tmp_path)
    made = settings.web
    assert made == WebSettings(token=made.token, show_token=True)
    assert settings.data_dir == tmp_path
    assert settings.drain_s == 30.0


def test_values_reach_their_settings(tmp_path: Path) -> None:
    assert read("Web.allowed_hosts = ['a', 'b']").web.allowed_hosts == ("a", "b")
    assert read(f"Kernels.spec_folders = [{str(tmp_path)!r}]").kernels.spec_folders == (tmp_path,)
    assert read("Runs.line_bytes = 2048").engine.log.line_bytes == 2048
    assert read("Gateway.data_dir = '/x'").store.folder.as_posix() == "/x"
    assert read("Gateway.drain_s = 1").drain_s == 1.0
    assert read("BackendAI.base_path = '/bai'").web.backendai.base_path == "/bai"
    assert read("Languages.images = {'a': 'c'}").engine.images == {"a": "c"}
    language = read("Languages.languages = {'python': {'kernelspec': 'x'}}").engine.languages[0]
    assert (language.name, language.kernelspec) == ("python", "x")


@pytest.mark.parametrize(
    "line",
    [
        "Web.port = 70000",
        "Web.port = '80'",
        "Kernels.transport = 'udp'",
        "Runs.queue_bound = 0",
        "Gateway.drain_s = -1.0",
        "Store.durability = 'some'",
        "Languages.images = ['c']",
    ],
)
def test_a_value_that_cannot_be_is_an_error(line: str) -> None:
    with pytest.raises(TraitError):
        read(line)


def test_a_language_that_cannot_be_is_refused() -> None:
    with pytest.raises(Refused, match="needs a kernelspec"):
        read("Languages.languages = {'new': {}}")


def test_the_environment_stands_below_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNEL_GATEWAY_IP", "::1")
    monkeypatch.setenv("KERNEL_GATEWAY_PORT", "9000")
    assert (read().web.ip, read().web.port) == ("::1", 9000)
    assert read("Web.port = 1").web.port == 1


# -- the token -----------------------------------------------------------------------------------


def test_a_made_token_is_new_each_time_and_shown() -> None:
    tokens = {read().web.token for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) == 48 for token in tokens)
    assert read().web.show_token


def test_a_chosen_token_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "jupyter's")
    assert (read().web.token, read().web.show_token) == ("jupyter's", False)
    monkeypatch.setenv("KERNEL_GATEWAY_TOKEN", "ours")
    assert (read().web.token, read().web.show_token) == ("ours", False)
    web = read("Web.token = 'file'").web
    assert (web.token, web.show_token) == ("file", False)


def test_an_empty_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in ("Web.token = ''", "Web.token = ' '"):
        with pytest.raises(Refused, match="may not be empty"):
            read(line)
    for name in ("JUPYTER_TOKEN", "KERNEL_GATEWAY_TOKEN"):
        monkeypatch.setenv(name, "")
        with pytest.raises(Refused, match="may not be empty"):
            read()


@pytest.mark.parametrize("port", ["http", "-1", "65536", "1.5"])
def test_a_port_of_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("KERNEL_GATEWAY_PORT", port)
    with pytest.raises(Refused, match="KERNEL_GATEWAY_PORT"):
        read()
