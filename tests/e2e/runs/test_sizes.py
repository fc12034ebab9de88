"""The limits of a line and of a value, to the byte: what is above them is cut with a word, or comes
by another way, and is never lost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.main_job.gateway import Kernel, Server
    from tests.e2e.runs.caller import Caller

MIB = 2**20
LINE_BYTES = 4 * MIB
INLINE_BYTES = 6 * MIB
NOTICE = "[**** LOG LINE TRUNCATED AT 4 MiB ****]"
WIDE = "🐍"  # four bytes
SHORT_LINES = 100_000
MOST_MB = 250  # of memory for one value: a few times its size

SHOW = """
from IPython.display import display
display({{"text/x-sized": "v" * {size}}}, raw=True)
"""


async def test_lines_just_below_and_at_the_limit_are_whole_and_one_above_is_cut(
    caller: Caller, shared: Kernel
) -> None:
    sizes = LINE_BYTES - 1, LINE_BYTES, LINE_BYTES + 1
    run = await caller.done(kernel=shared.id, code=f"for n in {sizes}: print('x' * n)")
    below, at, above, rest = (await caller.text(run["uid"])).split("\n")
    assert ["x" * size for size in sizes[:2]] == [below, at]
    assert "x" * (LINE_BYTES - len(NOTICE)) + NOTICE == above
    assert "" == rest
    (dropped,) = [one for one in await caller.records(run["uid"]) if one["kind"] == "dropped"]
    assert 1 + len(NOTICE) == dropped["bytes"] == run["log"]["dropped"]


async def test_a_line_is_cut_between_characters_and_an_artifact_has_all_of_it(
    caller: Caller, shared: Kernel
) -> None:
    count = 5 * MIB // 4
    code = f"print('before'); print('.' + {WIDE!r} * {count}); print('after')"
    run = await caller.done(kernel=shared.id, code=code)
    before, line, after, rest = (await caller.text(run["uid"])).split("\n")
    assert ("before", "after", "") == (before, after, rest)
    assert line.endswith(WIDE + NOTICE)
    assert LINE_BYTES - 4 < len(line.encode()) <= LINE_BYTES
    assert {".", WIDE} == set(line.removesuffix(NOTICE))
    (artifact,) = run["artifacts"]
    whole = ("." + WIDE * count).encode()
    assert ("oversized", len(whole)) == (artifact["kind"], artifact["size"])
    assert whole == await caller.download(run["uid"], artifact["id"])


async def test_a_limit_of_lines_is_none_of_prints(caller: Caller, shared: Kernel) -> None:
    code = f"print('\\n'.join(f'line {{n}}' for n in range({SHORT_LINES})))"
    run = await caller.done(kernel=shared.id, code=code)
    assert "".join(f"line {n}\n" for n in range(SHORT_LINES)) == await caller.text(run["uid"])
    assert 0 == run["log"]["dropped"]


@pytest.mark.parametrize(
    "size", [1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, 30 * MIB], ids=str
)
async def test_a_value_of_any_size_comes_back(
    caller: Caller, shared: Kernel, server: Server, size: int
) -> None:
    """Inline, or by the artifact that stands in its place."""
    _forget_the_most_memory(server)
    before = server.memory_mb()
    run = await caller.done(kernel=shared.id, code=SHOW.format(size=size))
    (output,) = [one for one in await caller.records(run["uid"]) if one["kind"] == "output"]
    whole = b"v" * size
    if size <= INLINE_BYTES:
        assert [] == run["artifacts"]
        assert "spilled" not in output
        assert whole == output["data"]["text/x-sized"].encode()
    else:
        (artifact,) = run["artifacts"]
        spilled = output["spilled"]["text/x-sized"]
        assert {} == output["data"]
        assert artifact["id"] == spilled["artifact"]
        assert ("oversized", size) == (artifact["kind"], artifact["size"])
        assert artifact["preview"] == spilled["preview"] == "v" * len(spilled["preview"])
        assert len(json.dumps(output)) < 64 * 1024
        digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
        assert digest == artifact["digest"] == spilled["digest"]
        assert whole == await caller.download(run["uid"], artifact["id"])
    assert server.memory_mb("VmHWM") - before < MOST_MB


def _forget_the_most_memory(server: Server) -> None:
    """`VmHWM` begins anew."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
