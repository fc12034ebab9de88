"""`commands/parameters.py`: papermill's options on our command line."""

from __future__ import annotations

import pytest

from kernel_gateway.commands.base import UsageError
from kernel_gateway.commands.ordered import taken
from kernel_gateway.commands.parameters import OPTIONS, given_parameters


def test_all_of_papermills_options_are_read() -> None:
    argv = ["-p", "a", "1", "--parameters_raw", "b", "1", "--parameters_yaml=c: 2", "nb"]
    given, rest = taken([*argv, "-b", "ZDogMw=="], OPTIONS)
    assert ["nb"] == rest
    assert {"a": 1, "b": "1", "c": 2, "d": 3} == given_parameters(given)


def test_a_file_that_is_not_there_is_a_matter_of_usage() -> None:
    given, _ = taken(["-f", "/no/such/file.yaml"], OPTIONS)
    with pytest.raises(UsageError, match=r"-f: /no/such/file\.yaml cannot be read: No such file"):
        given_parameters(given)
