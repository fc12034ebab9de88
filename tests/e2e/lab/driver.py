"""Lets the tests use a browser: a program for the environment of JupyterLab, which has Playwright.

    python driver.py PATH_OF_CHROMIUM

A line of standard input asks for something, `["new"]`, `["close", PAGE]` or
`["call", PAGE, METHOD, ARGUMENTS, OPTIONS]`; its answer is a line of standard output:
`{"value": ...}` or `{"failed": ...}`. METHOD is one of Playwright's page, or of a part of it as
`keyboard.press`. One after the other. Knows Playwright and nothing of Jupyter.
"""

from __future__ import annotations

import functools
import json
import sys
from itertools import count
from typing import Any

# It is in the environment of JupyterLab, where the type checker is not.
from playwright.sync_api import Error, sync_playwright  # type: ignore[import-not-found]

#: Whatever is waited for here comes much sooner, or never.
LIMIT_S = 60

# Nothing of the browser's own may ask the world.
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class Driver:
    """What can be asked for, by its name."""

    def __init__(self, browser: Any) -> None:
        # One for all: what the pages are made of is loaded once.
        self._context = browser.new_context(viewport={"width": 1200, "height": 1000})
        self._context.set_default_timeout(1000 * LIMIT_S)
        self._pages: dict[int, Any] = {}
        self._numbers = count(1)

    def new(self) -> int:
        number = next(self._numbers)
        self._pages[number] = self._context.new_page()
        return number

    def close(self, page: int) -> None:
        self._pages.pop(page).close()

    def call(self, page: int, method: str, args: list[Any], options: dict[str, Any]) -> Any:
        value = functools.reduce(getattr, method.split("."), self._pages[page])(*args, **options)
        return value if isinstance(value, (str, int, float, list, dict)) else None


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=sys.argv[1], args=FLAGS)
        driver = Driver(browser)
        for line in sys.stdin:
            what, *arguments = json.loads(line)
            try:
                answer = {"value": getattr(driver, what)(*arguments)}
            except Error as error:
                answer = {"failed": str(error)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        browser.close()


if __name__ == "__main__":
    main()
