"""`commands/secrets.py`: what `--secret` gives, and that no value is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.secrets import read_secrets

if TYPE_CHECKING:
    from pathlib import Path

ENV = {"TOKEN": "s3cr3t", "SHORT": "abc"}


def refusal(*options: str) -> str:
    with pytest.raises(UsageError) as refused:
        read_secrets(options, ENV)
    return str(refused.value)


def test_a_value_comes_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"of a file\r\n")
    assert {"A": "s3cr3t", "B": "of a file"} == read_secrets(["A=env:TOKEN", f"B=file:{file}"], ENV)


def test_what_is_not_there_is_said() -> None:
    assert "--secret A: the environment has no variable NONE." == refusal("A=env:NONE")
    missing = "--secret A: /no/where cannot be read: No such file or directory."
    assert missing == refusal("A=file:/no/where")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\xff\xfe\xfd\xfc")
    assert f"--secret A: {file} is no text in UTF-8." == refusal(f"A=file:{file}")


@pytest.mark.parametrize(
    "option", ["A=s3cr3t", "A", "=env:TOKEN", "1A=env:TOKEN", "A=env:", "A=keyring:s3cr3t"]
)
def test_what_might_be_the_value_itself_is_not_said(option: str) -> None:
    sentence = "--secret takes NAME=env:VARIABLE or NAME=file:PATH, and no value."
    assert sentence == refusal(option)


def test_a_name_is_given_once() -> None:
    assert "--secret A is given twice." == refusal("A=env:TOKEN", "A=env:TOKEN")


def test_a_value_that_cannot_be_hidden_is_refused() -> None:
    assert refusal("A=env:SHORT").startswith(
        "--secret A cannot be hidden: its value has fewer than 4 characters"
    )
