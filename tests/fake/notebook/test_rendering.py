"""`notebook/rendering.py`: pages by nbconvert; here a stand-in that says how it was called."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.errors import Refused
from kernel_gateway.notebook import rendering
from kernel_gateway.notebook.rendering import Form, check_installed, render

if TYPE_CHECKING:
    from pathlib import Path

STAND_IN = """
import signal
import sys
from pathlib import Path
*words, name = sys.argv[1:]
source = Path(name)
notebook = source.read_text()
if notebook == "bad":
    sys.exit("Traceback\\n  File: x\\nOSError: LaTeX is\\n   not there.\\n\\n  Install it.")
if notebook == "worse":
    sys.exit("one\\nlast\\n")
if notebook == "silent":
    sys.exit(1)
if notebook == "hangs":
    signal.pause()
assert sys.flags.safe_path
source.with_suffix(f".{words[1]}").write_text(f"{words} {source.name} {notebook}")
"""


@pytest.fixture
def nbconvert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "nbconvert"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


@pytest.mark.usefixtures("nbconvert")
async def test_a_page_is_made_of_a_notebook(tmp_path: Path) -> None:
    await render(b"{}", Form.HTML, tmp_path / "a.b.html")
    expected = "['--to', 'html'] a.b.ipynb {}"
    assert expected == (tmp_path / "a.b.html").read_text()


@pytest.mark.usefixtures("nbconvert")
@pytest.mark.parametrize(
    ("notebook", "why"),
    [
        (b"bad", "OSError: LaTeX is not there. Install it."),
        (b"worse", "last"),
        (b"silent", "nbconvert gives no reason."),
    ],
)
async def test_why_it_fails_is_told(tmp_path: Path, notebook: bytes, why: str) -> None:
    with pytest.raises(Refused) as caught:
        await render(notebook, Form.PDF, tmp_path / "page.pdf")
    assert f"{tmp_path}/page.pdf was not made: {why}" == str(caught.value)


@pytest.mark.usefixtures("nbconvert")
async def test_a_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"cannot be written: Is a directory"):
        await render(b"{}", Form.HTML, tmp_path)


@pytest.mark.usefixtures("nbconvert")
async def test_a_page_has_a_folder(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"page.html has no folder: make .*/no first"):
        await render(b"{}", Form.HTML, tmp_path / "no" / "page.html")


@pytest.mark.usefixtures("nbconvert")
async def test_it_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "LIMIT_S", 0.5)
    with pytest.raises(Refused, match=r"nbconvert took longer than 0\.5 s"):
        await render(b"hangs", Form.HTML, tmp_path / "page.html")


def test_what_is_to_be_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(Refused, match=r"--html needs nbconvert, .*: pip install nbconvert"):
        check_installed(Form.HTML)


def test_what_is_installed_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nbconvert").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    check_installed(Form.PDF)
