"""What a deployer says, and what becomes of it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config, Configurable

from kernel_gateway import config
from kernel_gateway.config import CLASSES, Settings, read_settings
from kernel_gateway.errors import Refused
from kernel_gateway.execution.settings import CullingSettings, EngineSettings
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.runs.log import LogLimits
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.web.settings import (
    BackendAISettings,
    ChannelSettings,
    OriginSettings,
    TlsSettings,
    WebSettings,
)
from kernel_gateway.webhooks.settings import WebhookSettings

_OF_CHANNELS = {"absence_s", "absent_clients", "max_cells", "max_clients", "spool_bytes"}

#: Settings, the class whose traits they come from, and what comes from elsewhere.
PAIRS: list[tuple[type[Any], type[Configurable], set[str]]] = [
    (
        WebSettings,
        config.Web,
        {"backendai", "channels", "limits", "origins", "owner", "show_token", "tls"},
    ),
    (OriginSettings, config.Web, set()),
    (TlsSettings, config.Web, set()),
    (BackendAISettings, config.BackendAI, set()),
    (KernelSettings, config.Kernels, set()),
    (ChannelSettings, config.Channels, set()),
    (
        EngineSettings,
        config.Runs,
        {
            *("artifacts_dir", "culling", "images", "languages", "log", "sessions_dir", "webhooks"),
            *_OF_CHANNELS,
        },
    ),
    (CullingSettings, config.Culling, set()),
    (LogLimits, config.Runs, set()),
    (StoreSettings, config.Store, {"folder"}),
    (WebhookSettings, config.Webhooks, set()),
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


def test_settings_of_the_engine_that_concern_channels_are_traits_of_theirs() -> None:
    assert set(config.Channels.class_trait_names(config=True)) >= _OF_CHANNELS
    assert 7 == read("Channels.max_cells = 7").engine.max_cells
    assert 9.0 == read("Channels.ping_s = 9").web.channels.ping_s


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
    assert made == WebSettings(token=made.token, show_token=True, limits=made.limits)
    assert settings.data_dir == tmp_path
    assert settings.drain_s == 30.0


def test_callers_are_told_the_limits_in_force() -> None:
    told = read("Runs.line_bytes = 2048").web.limits
    assert 2048 == told["line_bytes"]
    assert 6 * 2**20 == told["inline_bytes"]
    assert 1000 == told["queue"]


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


def test_values_of_the_door_reach_their_settings(tmp_path: Path) -> None:
    assert "/gw" == read("Web.base_url = 'gw/'").web.base_url
    assert tmp_path / "s" == read(f"Web.sock = '{tmp_path}/s'").web.sock
    assert 0o660 == read("Web.sock_mode = '0660'").web.sock_mode
    assert {"ada": "of-ada"} == read("Web.owner_tokens = {'ada': 'of-ada'}").web.owner_tokens
    assert (Path("/c"),) == read("Web.allowed_working_dirs = ['/c']").web.allowed_working_dirs
    assert TlsSettings(certfile=Path("/c.pem")) == read("Web.certfile = '/c.pem'").web.tls
    assert Path("~").expanduser() / "k" == read("Web.keyfile = '~/k'").web.tls.keyfile
    assert ("*",) == read("Web.allow_origin = ['*']").web.origins.allow_origin
    assert 60 == read("Web.max_age_s = 60").web.origins.max_age_s


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Web.sock_mode = 'rw'", "sock_mode"),
        ("Web.sock_mode = '0x1'", "sock_mode"),
        ("Web.base_url = 'http://x/gw'", "base_url"),
        ("Web.allow_origin_pat = '('", "allow_origin_pat"),
        ("Web.owner_tokens = {'ada': ''}", "may not be empty"),
        ("Web.owner_tokens = {'ada': 'x', 'alan': 'x'}", "the same"),
    ],
)
def test_a_door_that_cannot_be_is_refused(line: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        read(line)


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
