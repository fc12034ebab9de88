"""What `notebook/parameters` writes for bash, read by bash."""

from __future__ import annotations

import subprocess
from itertools import product
from typing import TYPE_CHECKING

from kernel_gateway.notebook.parameters.languages import assignments

if TYPE_CHECKING:
    from kernel_gateway.messaging.strict_json import Json

DANGEROUS = "'\"`$\\{}#!\n\r\t\x07é\u2028 a0("


def test_bash_gets_back_all_text_that_was_given() -> None:
    texts: list[Json] = [
        "",
        *map("".join, product(DANGEROUS, repeat=2)),
        "a$(id)`id`${HOME}'\"\\ b",
    ]
    values: dict[str, Json] = {f"v{number}": text for number, text in enumerate(texts)}
    source = assignments({**values, "l": texts}, kernel="bash", language="bash")
    quoted = " ".join(f'"${name}"' for name in values)
    done = subprocess.run(
        ["bash"],
        input=(f'{source}printf "%s\\0" {quoted} "${{l[@]}}"\n').encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert (b"", [*texts, *texts]) == (done.stderr, done.stdout.decode().split("\0")[:-1])
