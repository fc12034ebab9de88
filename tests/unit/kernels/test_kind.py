"""Which kernels can come from one fork server."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.kernels.environment import read_at_import
from kernel_gateway.kernels.provisioners.kind import ServerKind, interpreter_of

PYTHON = "/env/bin/python"
LAUNCHER = ["-m", "ipykernel_launcher", "-f", "/run/kernel.json"]
KIND = ServerKind(
    python=PYTHON,
    flags=("-O",),
    preload=("json",),
    owner="ada",
    env=(("HOME", "/home/ada"),),
    surroundings="here",
    stamp="now",
)

# Also what is not UTF-8, as variables of Linux may be.
TEXTS = st.text(st.characters(codec=None), max_size=3)
KINDS = st.builds(
    ServerKind,
    python=TEXTS,
    flags=st.lists(TEXTS, max_size=2).map(tuple),
    preload=st.lists(TEXTS, max_size=2).map(tuple),
    owner=TEXTS,
    env=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
    surroundings=TEXTS,
    stamp=TEXTS,
)


@given(KINDS, KINDS)
def test_two_kinds_have_one_name_only_if_they_are_equal(one: ServerKind, other: ServerKind) -> None:
    assert (one == other) == (one.name == other.name)


@given(KINDS)
def test_a_name_is_that_of_a_file(kind: ServerKind) -> None:
    assert 24 == len(kind.name)
    assert kind.name.isalnum()


def test_a_server_with_old_packages_is_superseded_and_no_other() -> None:
    new = replace(KIND, stamp="later")
    assert new.supersedes(KIND)
    assert not KIND.supersedes(KIND)
    assert not replace(new, owner="bob").supersedes(KIND)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["-Xfrozen_modules=off"],
        ["-X", "frozen_modules=off"],
        ["-OO", "-W", "error", "-Wignore", "-sPE"],
    ],
)
def test_flags_of_the_interpreter_are_told_from_its_module(flags: list[str]) -> None:
    assert (PYTHON, tuple(flags)) == interpreter_of([PYTHON, *flags, *LAUNCHER])


@pytest.mark.parametrize(
    "command",
    [
        [],
        [PYTHON],
        [PYTHON, "-m"],
        [PYTHON, "-m", "ipykernel", "-f", "/run/kernel.json"],
        [PYTHON, "-c", "pass", *LAUNCHER],
        [PYTHON, "script.py", *LAUNCHER],
        [PYTHON, "-X", *LAUNCHER[:1]],
        [PYTHON, "-i", *LAUNCHER],
        [PYTHON, "--help", *LAUNCHER],
        [PYTHON, "-", *LAUNCHER],
        ["nice", PYTHON, *LAUNCHER],
    ],
)
def test_whatever_does_more_than_to_start_ipykernel_is_not_forked(command: list[str]) -> None:
    assert interpreter_of(command) is None


def test_variables_are_told_by_name_when_something_reads_them_at_import() -> None:
    env = {"OMP_NUM_THREADS": "2", "A": "1", "PYTHONPATH": "/lib", "MYLIB_MODE": "x", "LANGS": ""}
    assert (("OMP_NUM_THREADS", "2"), ("PYTHONPATH", "/lib")) == read_at_import(env)
    assert ("MYLIB_MODE", "x") in read_at_import(env, ["MYLIB_*"])


@pytest.mark.parametrize("name", ["HF_TOKEN", "NVIDIA_API_KEY", "TF_TOKEN_HOST", "TF_VAR_PASSWORD"])
def test_no_server_keeps_a_secret_that_is_read_when_it_is_needed(name: str) -> None:
    assert () == read_at_import({name: "x"})


@pytest.mark.parametrize("name", ["HF_HOME", "HF_TOKEN_PATH", "NVIDIA_TF32_OVERRIDE", "TF_CONFIG"])
def test_neighbours_of_such_secrets_are_read_at_import(name: str) -> None:
    assert ((name, "x"),) == read_at_import({name: "x"})
