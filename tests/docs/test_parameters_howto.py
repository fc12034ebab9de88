"""The how-to on parameters is true: its table is printed so, and it knows options and languages."""

from __future__ import annotations

import re
from pathlib import Path

from kernel_gateway.commands.inspect import table
from kernel_gateway.commands.parameters import OPTIONS
from kernel_gateway.notebook.parameters.inspection import inspected
from kernel_gateway.notebook.parameters.languages import DIALECTS

HOWTO = (Path(__file__).parents[2] / "docs/how-to/parameters.md").read_text()


def test_its_cell_is_inspected_as_it_says() -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(r"\$ kernel-gateway inspect.*\n((?:    .*\n)+)", HOWTO)
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    found = inspected({"cells": [cell]}, kernel="python3", language="python")
    assert [line[4:] for line in shown.splitlines()] == table(found)


def test_every_option_is_in_its_table() -> None:
    for option in OPTIONS:
        assert f"| `-{option.names[0]} {' '.join(option.values)}` |" in HOWTO
        assert f"`--{option.names[1]}`" in HOWTO


def test_every_language_is_in_its_table() -> None:
    rows = " ".join(re.findall(r"^\| ([^|`]+) \| [^-]", HOWTO, re.MULTILINE))
    assert set() == {one.title for one in DIALECTS.values() if one.title not in rows}
