"""What becomes of a body that asks for a kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.errors import InvalidField
from kernel_gateway.service import KernelRequest
from kernel_gateway.web.schemas import kernel_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def request(body: Mapping[str, Any], allowed_env: Sequence[str] = ()) -> KernelRequest:
    return kernel_request(body, allowed_env=allowed_env, max_start_limit_s=300.0)


def passed(env: Mapping[str, str], *allowed: str) -> set[str]:
    return set(request({"env": env}, allowed).env)


def test_nothing_asked_is_nothing_given() -> None:
    assert KernelRequest() == request({})
    assert KernelRequest() == request({"name": None, "env": None, "path": None})


def test_what_lab_sends_is_understood() -> None:
    env = {"KERNEL_LAUNCH_TIMEOUT": "40", "KERNEL_WORKING_DIR": "/home/ada"}
    assert request({"name": "python3", "env": env}) == KernelRequest(
        name="python3",
        env=env,
        cwd=Path("/home/ada"),
        start_limit_s=40.0,
        for_jupyter_server=True,
    )


def test_only_a_jupyter_server_says_how_long_it_waits() -> None:
    assert not request({"env": {"KERNEL_USERNAME": "ada"}}).for_jupyter_server
    assert request({"env": {"KERNEL_LAUNCH_TIMEOUT": "1"}}).for_jupyter_server


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0.0), ("600", 600.0), ("0.5", 0.5), ("1e3", 1000.0)]
)
def test_the_idle_time_is_seconds_and_zero_is_never(text: str, seconds: float) -> None:
    assert seconds == request({"env": {"KERNEL_CULL_IDLE_TIMEOUT": text}}).cull_idle_s


@pytest.mark.parametrize("text", ["", "soon", "-1", "nan", "inf", "1h"])
def test_an_idle_time_that_is_none_is_told_by_name(text: str) -> None:
    with pytest.raises(InvalidField) as fault:
        request({"env": {"KERNEL_CULL_IDLE_TIMEOUT": text}})
    assert ["env.KERNEL_CULL_IDLE_TIMEOUT"] == list(fault.value.fields)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": 5}, "name"),
        ({"name": ["python3"]}, "name"),
        ({"path": {}}, "path"),
        ({"env": []}, "env"),
        ({"env": "A=1"}, "env"),
        ({"env": {"A": 1}}, "env.A"),
        ({"env": {"A": None}}, "env.A"),
        ({"env": {"KERNEL_LAUNCH_TIMEOUT": 40}}, "env.KERNEL_LAUNCH_TIMEOUT"),
        ({"env": {"KERNEL_CULL_IDLE_TIMEOUT": 40}}, "env.KERNEL_CULL_IDLE_TIMEOUT"),
        ({"env": {"KERNEL_WORKING_DIR": "a\0b"}}, "env.KERNEL_WORKING_DIR"),
        ({"env": {"A=B": "1"}}, "env"),
        ({"env": {"": "1"}}, "env"),
    ],
)
def test_a_wrong_type_is_told_by_name(body: Mapping[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as fault:
        request(body)
    assert [field] == list(fault.value.fields)


def test_of_env_what_is_ours_and_what_is_allowed_is_passed() -> None:
    env = {"KERNEL_X": "1", "PROJECT": "2", "OMP_NUM_THREADS": "3", "OTHER": "4"}
    assert {"KERNEL_X"} == passed(env)
    assert {"KERNEL_X", "PROJECT"} == passed(env, "PROJECT")
    assert {"KERNEL_X", "OMP_NUM_THREADS"} == passed(env, "OMP_*")


LOADING = (
    "PATH LD_PRELOAD LD_LIBRARY_PATH PYTHONPATH PYTHONSTARTUP BASH_ENV HOME NODE_OPTIONS"
    " JAVA_TOOL_OPTIONS _JAVA_OPTIONS PERL5LIB RUBYOPT GCONV_PATH JUPYTER_PATH IPYTHONDIR"
    " XDG_CONFIG_HOME GIT_SSH_COMMAND R_LIBS_USER"
)


@pytest.mark.parametrize("name", LOADING.split())
def test_what_decides_which_programs_run_is_allowed_by_its_name_alone(name: str) -> None:
    env = {name: "/evil"}
    assert set() == passed(env, "*", f"{name[:2]}*", f"{name[:-1]}?")
    assert {name} == passed(env, name)


@pytest.mark.parametrize("name", ["GOOGLE_PROJECT", "path", "MY_PATH", "HOMEPAGE", "NODE_ENV"])
def test_a_pattern_means_all_others(name: str) -> None:
    assert {name} == passed({name: "1"}, "*")
