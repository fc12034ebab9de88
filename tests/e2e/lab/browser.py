"""Chromium, by a driver in a process of its own, and JupyterLab's page of a notebook in it.

Knows what a person sees and does there: cells, buttons, dialogs. Must not import the gateway.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]
BIN = ROOT / ".clients/lab/bin"
PYTHON = BIN / "python"
DRIVER = Path(__file__).with_name("driver.py")

#: Whatever is waited for here comes much sooner, or never.
LIMIT_S = 30.0


class BrowserError(AssertionError):
    """What was asked of the page has not come about."""


class Browser:
    """One Chromium, with a page for each who asks."""

    def __init__(self, chromium: str, folder: Path) -> None:
        self._errors = folder / "stderr"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [PYTHON, DRIVER, chromium],
                cwd=folder,
                env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            assert 0 == self._process.wait(LIMIT_S), self._errors.read_text()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()

    def ask(self, *what: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BrowserError(f"the driver is gone: {self._errors.read_text()}")
        answer = json.loads(line)
        if "failed" in answer:
            raise BrowserError(answer["failed"])
        return answer["value"]

    def new_page(self) -> Page:
        return Page(self, self.ask("new"))


class Page:
    """Any method of Playwright's page, and some of our own."""

    def __init__(self, browser: Browser, number: int) -> None:
        self._browser = browser
        self._number = number

    def close(self) -> None:
        self._browser.ask("close", self._number)

    def do(self, method: str, *args: Any, **options: Any) -> Any:
        return self._browser.ask("call", self._number, method, args, options)

    def click(self, selector: str) -> None:
        self.do("click", selector)

    def press(self, keys: str) -> None:
        self.do("keyboard.press", keys)

    def type(self, text: str) -> None:
        self.do("keyboard.type", text)

    def see(self, selector: str) -> None:
        """Returns when it is shown."""
        self.do("wait_for_selector", selector)

    def shows(self, selector: str) -> bool:
        """At this moment."""
        shown: bool = self.do("is_visible", selector)
        return shown

    def text(self, selector: str) -> str:
        text: str = self.do("inner_text", selector)
        return text

    def value(self, script: str, argument: Any = None) -> Any:
        return self.do("evaluate", script, argument)

    def until(self, script: str, argument: Any = None) -> None:
        """Returns when the script gives something that is true."""
        self.do("wait_for_function", script, arg=argument)


#: The text of an output is waited for, and read, without what is for the screen alone.
_OUTPUT = """
([cell, wanted]) => {
  const outputs = document.querySelector(cell + ' .jp-Cell-outputArea');
  return outputs !== null && outputs.textContent.includes(wanted);
}
"""
_PROMPT = """
([cell, wanted]) =>
  document.querySelector(cell + ' .jp-InputPrompt')?.textContent.trim() === wanted
"""
_READY = """
() => {
  const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
  return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
}
"""
_WATCH = """
() => {
  window.statuses = [];
  const context = window.jupyterapp.shell.currentWidget.sessionContext;
  context.statusChanged.connect((_, status) => window.statuses.push(status));
}
"""
_KERNEL_ID = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.id"
_SAVED = """
async () => {
  await window.jupyterapp.commands.execute('docmanager:save');
  return true;
}
"""


class Notebook:
    """A notebook in JupyterLab, that a page shows."""

    def __init__(self, page: Page, url: str, file: Path) -> None:
        self.page = page
        self._url = url
        self._file = file

    def open(self) -> Notebook:
        self.page.do("goto", self._url)
        return self.ready()

    def reload(self) -> Notebook:
        self.page.do("reload")
        return self.ready()

    def ready(self) -> Notebook:
        """When its kernel waits for something to do."""
        self.page.see(f"{cell(0)} .cm-content")
        self.page.until(_READY)
        return self

    # -- cells

    def start(self, number: int) -> None:
        """As somebody does who clicks into the cell and presses the keys."""
        self.page.click(f"{cell(number)} .cm-content")
        self.page.press("Control+Enter")

    def run(self, number: int, prompt: int) -> Notebook:
        """To its end, when its prompt has that number."""
        self.start(number)
        return self.ended(number, prompt)

    def ended(self, number: int, prompt: int) -> Notebook:
        return self.prompted(number, f"[{prompt}]:")

    def prompted(self, number: int, prompt: str) -> Notebook:
        self.page.until(_PROMPT, [cell(number), prompt])
        return self

    def shown(self, number: int, text: str) -> Notebook:
        """When the output has that in it."""
        self.page.until(_OUTPUT, [cell(number), text])
        return self

    def answer(self, text: str) -> Notebook:
        """What the cell that runs asks for."""
        self.page.see(".jp-Stdin-input")
        self.page.type(text)
        self.page.press("Enter")
        return self

    def output(self, number: int) -> str:
        """The text that is shown at this moment."""
        return self.page.text(f"{cell(number)} .jp-Cell-outputArea")

    # -- the whole

    def button(self, name: str) -> None:
        """Of its toolbar."""
        item = f'.jp-NotebookPanel-toolbar [data-jp-item-name="{name}"]'
        self.page.click(f"{item} jp-button:not([disabled])")

    def command(self, name: str) -> None:
        """Of the menus and of the palette; does not wait for its end."""
        self.page.value("name => void window.jupyterapp.commands.execute(name)", name)

    def restart(self) -> Notebook:
        """By its button; when it is done."""
        self.page.value(_WATCH)
        self.button("restart")
        self.accept("Restart Kernel?")
        self.page.until("() => window.statuses.includes('restarting')")
        return self.ready()

    def accept(self, words: str) -> None:
        """A dialog that says these words."""
        dialog = f".jp-Dialog:has-text({json.dumps(words)})"
        self.page.click(f"{dialog} .jp-mod-accept")

    def kernel_id(self) -> str:
        kernel_id: str = self.page.value(_KERNEL_ID)
        return kernel_id

    def saved(self) -> list[Any]:
        """Its cells as the file has them."""
        self.page.until(_SAVED)
        cells: list[Any] = json.loads(self._file.read_text())["cells"]
        return cells


def cell(number: int) -> str:
    """The selector of a cell. By its index: those far away are not in the page."""
    return f'.jp-NotebookPanel .jp-Cell[data-windowed-list-index="{number}"]'


def written(file: Path, kernelspec: str, cells: Sequence[str]) -> None:
    """A notebook that nobody has run yet."""
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": kernelspec, "display_name": kernelspec, "language": "python"}
        },
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "source": source,
                "metadata": {},
                "execution_count": None,
                "outputs": [],
            }
            for number, source in enumerate(cells)
        ],
    }
    file.write_text(json.dumps(content))
