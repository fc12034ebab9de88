"""The how-to on secrets and answers is true: its options are there, its body is taken."""

from __future__ import annotations

import json
import re
from pathlib import Path

from kernel_gateway.commands.run import RunApp
from kernel_gateway.runs.masking import HIDDEN, LEAST_CHARS
from kernel_gateway.web import schemas

HOWTO = (Path(__file__).parents[2] / "docs/how-to/secrets.md").read_text()


def test_its_options_are_there() -> None:
    known = {name for names in (*RunApp.aliases, *RunApp.flags) for name in _all(names)}
    named = set(re.findall(r"--([a-z][a-z-]+)", HOWTO))
    assert {"secret", "stdin", "answers", "input-timeout"} <= named
    assert set() == named - known


def test_its_body_is_taken() -> None:
    (body,) = re.findall(r"^```json\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)
    assert ("KERNEL_PASSWORD",) == schemas.new_run(
        json.loads(body), run_id=None, max_code_bytes=100
    ).secrets


def test_it_says_what_is_shown_and_what_is_too_short() -> None:
    assert f"`{HIDDEN}` stands in its place" in HOWTO
    assert f"fewer than {LEAST_CHARS} characters" in HOWTO


def _all(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
