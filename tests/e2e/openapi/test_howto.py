"""The commands of the how-to do what it says, against a running gateway."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.e2e.main_job.gateway import TOKEN
from tests.e2e.openapi.caller import ROOT, said
from tests.shared.programs import needs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.main_job.gateway import Server

HOWTO = (ROOT / "docs/how-to/openapi.md").read_text()


def test_its_commands_run_as_they_stand_there(server: Server, tmp_path: Path) -> None:
    needs("curl")
    blocks = re.findall(r"^```sh\n(.*?)^```$", HOWTO, re.MULTILINE | re.DOTALL)
    script = "".join(blocks).replace("http://127.0.0.1:8888", server.url)
    told = said("sh", "-euc", script.replace("a-secret-of-yours", TOKEN), folder=tmp_path)
    assert "No issues found" in told
    assert (tmp_path / "openapi.json").exists()
