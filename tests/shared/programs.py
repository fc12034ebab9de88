"""Programs that tests run and do not bring along: compilers and interpreters of other languages."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def needs(program: str) -> str:
    """Its path. Where it is not installed the test is skipped, but not in CI."""
    path = shutil.which(program)
    if path is None:
        _missing(program)
    return path


def _missing(program: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{program} is not installed")
    pytest.skip(f"{program} is not installed")
