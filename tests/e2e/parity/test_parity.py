"""A notebook in this process, on a gateway and by nbclient: the same cells, and the same end."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.faults import notebooks
from tests.e2e.parity.ways import ROOT, Ran, by_nbclient, in_process, on_a_gateway
from tests.shared.notebooks import code_notebook, in_common

if TYPE_CHECKING:
    from collections.abc import Mapping


def _notebook(*cells: str) -> bytes:
    spec = {"name": "python3", "display_name": "Python 3"}
    return json.dumps(code_notebook(*cells, metadata={"kernelspec": spec})).encode()


EXAMPLES = {path.stem: path.read_bytes() for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
#: The first that ends for this reason, by nobody's hand. Nobody but us empties what is of old.
FAULTS = {
    fault.reason: fault
    for fault in reversed(notebooks.FAULTS)
    if fault.reason != "done" and fault.deed is None and not fault.options
}
FILES = {
    "files": _notebook(
        "text = open('given.txt').read()\nopen('given.txt', 'w').write(text + ', and changed')",
        "import os\nos.makedirs('sub/deep')\nopen('sub/deep/made.txt', 'w').write('made')",
        "import pathlib\n"
        "folder = os.environ.get('KERNEL_GATEWAY_ARTIFACT_DIR')\n"
        "_ = folder and pathlib.Path(folder, 'left.txt').write_text('left')",
    )
}
NOTEBOOKS = {
    **EXAMPLES,
    **{reason: _notebook(*fault.cells) for reason, fault in FAULTS.items()},
    **FILES,
}
LIMITS = {reason: fault.limit_s for reason, fault in FAULTS.items() if fault.limit_s is not None}
EXITS = {reason: fault.exit_code for reason, fault in FAULTS.items()}

_COUNT = re.compile(r"In (\[ \]|\[\d+\])")
_PLACE = re.compile(r"/\S+(?=/site-packages/)")  # of whose Python it is
#: Without limits: what nbclient makes of them is that no notebook is written.
OF_NBCLIENT = {name: source for name, source in NOTEBOOKS.items() if name not in LIMITS}
#: What nbclient lacks of a cell: text of threads behind the last one; why the kernel has died.
LACKING = {
    ("long_log", "thread"): "".join(f"late line {n}\n" for n in range(5)),
    ("kernel_died", "c1"): "The kernel died (killed by SIGKILL).\n",
}
#: Where a terminal shows what we show: nbclient folds a line once, and leaves what that brings up.
UNFOLDED = {("outputs", "progress-line")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    here: Mapping[str, Ran]
    there: Mapping[str, Ran]
    nbclient: Mapping[str, dict[str, Any]]


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Ways:
    """All notebooks on all ways, once for all tests: nothing of them goes on behind this."""
    folder = tmp_path_factory.mktemp("parity")
    for name in ("here", "there", "nbclient"):
        (folder / name).mkdir()
    return Ways(
        here=in_process(NOTEBOOKS, LIMITS, folder / "here"),
        there=on_a_gateway(NOTEBOOKS, LIMITS, folder / "there"),
        nbclient=by_nbclient(OF_NBCLIENT, folder / "nbclient"),
    )


each = pytest.mark.parametrize("name", NOTEBOOKS)


@each
def test_the_notebook_is_the_same_here_and_there(ways: Ways, name: str) -> None:
    """Its outputs, and all metadata but for IDs and times."""
    here, there = in_common(ways.here[name].notebook), in_common(ways.there[name].notebook)
    if name in LIMITS:
        here, there = _uncounted(here), _uncounted(there)
    assert here == there


def _uncounted(value: Any) -> Any:
    """A kernel's reply has the count. One that was interrupted may be known to be idle before."""
    if isinstance(value, list):
        return [_uncounted(item) for item in value]
    if isinstance(value, dict):
        return {name: _uncounted(one) for name, one in value.items() if name != "execution_count"}
    return _COUNT.sub("In []", value) if isinstance(value, str) else value


@each
def test_it_ends_the_same_here_and_there(ways: Ways, name: str) -> None:
    assert ways.here[name].end == ways.there[name].end
    assert EXITS.get(name, 0) == ways.there[name].end[0]


@each
def test_its_records_are_of_the_same_kinds_in_the_same_order(ways: Ways, name: str) -> None:
    """But for files of the folder that is made for it there: here it is the caller's own."""
    here, there = [
        [one for one in ran[name].told if one != ("artifact", None, False)]
        for ran in (ways.here, ways.there)
    ]
    assert here == there


def test_files_are_where_the_run_would_have_put_them_here(ways: Ways) -> None:
    expected = {
        "files/given.txt": "given, and changed",
        "files/sub/deep/made.txt": "made",
        "files_artifacts/left.txt": "left",
    }
    assert expected == ways.here["files"].files
    assert expected == ways.there["files"].files


@pytest.mark.parametrize("name", OF_NBCLIENT)
def test_each_cell_has_the_outputs_that_nbclient_gives_it(ways: Ways, name: str) -> None:
    ours, theirs = _cells(ways.there[name].notebook), _cells(ways.nbclient[name])
    assert [cell for cell in ours if cell in theirs] == list(theirs)
    for cell, outputs in theirs.items():
        if (name, cell) in UNFOLDED:
            assert "\b" in _text(outputs)
        elif (name, cell) in LACKING:
            assert _text(outputs) + LACKING[name, cell] == _text(ours[cell])
        else:
            assert outputs == ours[cell], cell


def _cells(notebook: dict[str, Any]) -> dict[str, list[Any]]:
    """Of code, by their IDs: what a reader sees of their outputs."""
    return {
        cell["id"]: [_seen(output) for output in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    }


def _seen(output: dict[str, Any]) -> tuple[Any, ...]:
    if output["output_type"] == "stream":
        text = _PLACE.sub("", "".join(output["text"]))
        return ("stream", output["name"], text)
    if output["output_type"] == "error":
        return ("error", output["ename"], output["evalue"])
    data = {mime: "".join(value) for mime, value in output["data"].items()}
    return (output["output_type"], data)


def _text(outputs: list[Any]) -> str:
    return "".join(text for _, _, text in outputs)
