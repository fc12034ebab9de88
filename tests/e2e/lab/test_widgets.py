"""Widgets: the page and the kernel tell each other what has changed, in JSON and in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab.browser import cell

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.lab.browser import Notebook

    Opening = Callable[..., Notebook]

PICTURE = """
import io
import ipywidgets
from PIL import Image
file = io.BytesIO()
Image.new('RGB', (120, 40), 'green').save(file, 'png')
ipywidgets.Image(value=file.getvalue(), format='png')
"""

_PICTURE_SHOWN = "selector => document.querySelector(selector)?.naturalWidth === 120"


def test_a_slider_is_moved_in_the_page_and_read_in_the_kernel(notebook: Opening) -> None:
    page = notebook(
        "import ipywidgets\nslider = ipywidgets.IntSlider(value=5)\nslider",
        "slider.value",
        "slider.value = 40",
    ).run(0, 1)
    page.page.click(f"{cell(0)} .noUi-handle")
    page.page.press("ArrowRight")
    page.page.until(_READOUT, [f"{cell(0)} .widget-readout", "6"])
    page.run(1, 2).shown(1, "6")
    page.run(2, 3)
    page.page.until(_READOUT, [f"{cell(0)} .widget-readout", "40"])


_READOUT = """
([selector, wanted]) => document.querySelector(selector)?.textContent === wanted
"""


@pytest.mark.parametrize("lab", ["ours"], indirect=True)
def test_a_widget_with_bytes_is_shown_also_when_the_page_is_loaded_again(
    notebook: Opening,
) -> None:
    page = notebook(PICTURE, "'still there'").run(0, 1)
    page.page.until(_PICTURE_SHOWN, f"{cell(0)} img")
    page.saved()
    page.reload()
    page.page.until(_PICTURE_SHOWN, f"{cell(0)} img")
    page.run(1, 2).shown(1, "still there")
