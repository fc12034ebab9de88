"""What a run leaves beside its log: pictures, files, values too big to be inline."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.main_job.gateway import Kernel
    from tests.e2e.runs.caller import Caller

PNG = b"\x89PNG\r\n\x1a\n"
MIB = 2**20

PLOT = """
import struct, zlib
from IPython.display import Image, display

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

def plot(width):
    head = struct.pack(">IIBBBBB", width, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1 + width))
    parts = chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(parts)
"""
FOLDER = "from kernel_gateway.scope import current_run; folder = current_run().artifact_dir"


async def test_a_plot_is_inline_and_an_artifact_that_is_a_png(
    caller: Caller, shared: Kernel
) -> None:
    run = await caller.done(kernel=shared.id, code=f"{PLOT}\ndisplay(Image(plot(3)))")
    [artifact] = await caller.artifacts(run["uid"])
    assert [artifact] == run["artifacts"]
    assert ("file", "image/png") == (artifact["kind"], artifact["mime"])
    data = await caller.download(run["uid"], artifact["id"])
    assert PNG == data[: len(PNG)]
    assert (len(data), _digest(data)) == (artifact["size"], artifact["digest"])
    [output] = run["outputs"]
    assert {"image/png", "text/plain"} == output["data"].keys()
    answer = await caller.call("GET", f"{run['links']['artifacts']}/{artifact['id']}")
    assert "image/png" == answer.headers["Content-Type"]
    assert "nosniff" == answer.headers["X-Content-Type-Options"]
    assert answer.headers["Content-Disposition"].startswith("attachment;")


async def test_the_type_that_a_display_says_goes_before_every_name(
    caller: Caller, shared: Kernel
) -> None:
    code = (
        f"{PLOT}\nimport base64\n"
        "data = base64.b64encode(plot(1)).decode()\n"
        "display({'image/jpeg': data}, metadata={'filename': 'plot.png'}, raw=True)"
    )
    [artifact] = (await caller.done(kernel=shared.id, code=code))["artifacts"]
    assert ("image/jpeg", "output-0.jpg") == (artifact["mime"], artifact["name"])


async def test_a_file_of_the_runs_folder_is_listed_and_downloads_as_it_was(
    caller: Caller, shared: Kernel
) -> None:
    written = bytes(range(256)) * 4096
    code = (
        f"{FOLDER}\n(folder / 'table.csv').write_text('a,b\\n1,2\\n')\n"
        "(folder / 'raw').write_bytes(bytes(range(256)) * 4096)"
    )
    run = await caller.done(kernel=shared.id, code=code)
    raw, table = run["artifacts"]
    expected = {"name": "raw", "kind": "file", "mime": "application/octet-stream"}
    assert {**expected, "size": len(written), "digest": _digest(written)} == _without_id(raw)
    assert ("table.csv", "text/csv", 8) == (table["name"], table["mime"], table["size"])
    assert written == await caller.download(run["uid"], raw["id"])
    assert b"a,b\n1,2\n" == await caller.download(run["uid"], table["id"])
    assert [] == (await caller.done(kernel=shared.id, code="pass"))["artifacts"]


async def test_two_files_of_one_name_and_two_plots_are_all_readable(
    caller: Caller, shared: Kernel
) -> None:
    code = (
        f"{PLOT}\n{FOLDER}\n"
        "for name in ('one', 'two'):\n"
        "    (folder / name).mkdir()\n"
        "    (folder / name / 'result.txt').write_text(name)\n"
        "display(Image(plot(1)), Image(plot(2)))\n"
    )
    run = await caller.done(kernel=shared.id, code=code)
    artifacts = run["artifacts"]
    assert 4 == len({artifact["id"] for artifact in artifacts})
    found = {one["name"]: await caller.download(run["uid"], one["id"]) for one in artifacts}
    assert (b"one", b"two") == (found.pop("one/result.txt"), found.pop("two/result.txt"))
    assert [PNG, PNG] == [data[: len(PNG)] for data in found.values()]
    assert 2 == len(set(found.values()))


async def test_a_value_above_the_limit_is_an_artifact_with_a_preview(
    caller: Caller, shared: Kernel
) -> None:
    code = (
        f"from IPython.display import display; text = 'ab' * {4 * MIB}\n"
        "display({'text/plain': text, 'text/html': 'small'}, raw=True); del text"
    )
    run = await caller.done(kernel=shared.id, code=code)
    [artifact] = run["artifacts"]
    assert ("oversized", "text/plain") == (artifact["kind"], artifact["mime"])
    assert (8 * MIB, "abab") == (artifact["size"], artifact["preview"][:4])
    assert b"ab" * 4 * MIB == await caller.download(run["uid"], artifact["id"])
    [record] = [one for one in await caller.records(run["uid"]) if one["kind"] == "output"]
    assert {"text/html": "small"} == record["data"]
    assert artifact["id"] == record["spilled"]["text/plain"]["artifact"]


async def test_a_save_that_fails_is_told_and_what_can_be_saved_is(
    caller: Caller, shared: Kernel
) -> None:
    code = (
        f"{FOLDER}\nimport os\nos.mkfifo(folder / 'pipe')\n(folder / 'fine.txt').write_text('fine')"
    )
    run = await caller.done(kernel=shared.id, code=code)
    assert ("ok", ["fine.txt"]) == (run["outcome"], [one["name"] for one in run["artifacts"]])
    assert [("ArtifactNotSaved", "pipe: neither a file nor a link")] == await _errors(caller, run)


async def test_a_folder_that_nobody_can_write_to_is_told_and_the_next_run_has_one(
    caller: Caller, kernel: Kernel
) -> None:
    """A file in its place: not even the administrator can write there."""
    code = f"{FOLDER}\nfolder.rmdir(); folder.write_text('no folder')"
    run = await caller.done(kernel=kernel.id, code=code)
    assert "ok" == run["outcome"]
    [(name, _)] = await _errors(caller, run)
    assert "ArtifactNotSaved" == name
    again = await caller.done(kernel=kernel.id, code=f"{FOLDER}\n(folder / 'x').write_text('x')")
    assert ["x"] == [one["name"] for one in again["artifacts"]]


async def _errors(caller: Caller, run: dict[str, str]) -> list[tuple[str, str]]:
    records = await caller.records(run["uid"])
    return [(one["ename"], one["evalue"]) for one in records if one["kind"] == "error"]


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def _without_id(artifact: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in artifact.items() if name != "id"}
