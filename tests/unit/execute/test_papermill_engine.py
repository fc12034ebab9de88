"""`papermill_engine.py`: what papermill loads whenever it starts."""

from __future__ import annotations

import ast
import inspect
from importlib.metadata import entry_points
from typing import Any

import pytest
from nbformat import NotebookNode

from kernel_gateway import papermill_engine
from kernel_gateway.papermill_engine import KernelGatewayEngine


def notebook(**metadata: Any) -> NotebookNode:
    return NotebookNode({"metadata": metadata})  # type: ignore[no-untyped-call]


def test_papermill_finds_it_by_its_name() -> None:
    (found,) = entry_points(group="papermill.engine", name="kernel_gateway")
    assert KernelGatewayEngine is found.load()


def test_loading_it_imports_nothing() -> None:
    """For all who use papermill with another engine."""
    body = ast.parse(inspect.getsource(papermill_engine)).body
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert ["from __future__ import annotations"] == [ast.unparse(node) for node in imports]


@pytest.mark.parametrize(
    ("metadata", "option", "expected"),
    [
        ({"kernelspec": {"name": "ir"}}, None, "ir"),
        ({"kernelspec": {"name": "ir"}}, "python3", "python3"),
        ({"kernelspec": {"display_name": "R"}}, None, ""),
        ({}, None, ""),
    ],
)
def test_a_notebook_need_not_name_its_kernel(
    metadata: dict[str, Any], option: str | None, expected: str
) -> None:
    assert expected == KernelGatewayEngine.nb_kernel_name(notebook(**metadata), option)


@pytest.mark.parametrize(
    ("metadata", "option", "expected"),
    [
        ({"language_info": {"name": "R"}, "kernelspec": {"language": "r"}}, None, "R"),
        ({"kernelspec": {"language": "r"}}, None, "r"),
        ({"kernelspec": {"language": "r"}}, "python", "python"),
        ({}, None, ""),
    ],
)
def test_a_notebook_need_not_name_its_language(
    metadata: dict[str, Any], option: str | None, expected: str
) -> None:
    assert expected == KernelGatewayEngine.nb_language(notebook(**metadata), option)
