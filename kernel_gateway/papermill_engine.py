"""papermill's engine `kernel_gateway`: papermill reads and writes the notebook, we run its cells.

    papermill --engine kernel_gateway in.ipynb out.ipynb

papermill loads the engines of all that is installed whenever it starts, also for who uses none of
them, so this module imports nothing before it is needed.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which is an import too
if TYPE_CHECKING:
    from typing import Any

    from nbformat import NotebookNode


class KernelGatewayEngine:
    """Has the methods of `papermill.engines.Engine`."""

    @classmethod
    def execute_notebook(cls, nb: NotebookNode, kernel_name: str, **options: Any) -> NotebookNode:
        from kernel_gateway.execute.engine import executed

        return executed(nb, kernel_name, **options)

    @classmethod
    def nb_kernel_name(cls, nb: NotebookNode, name: str | None = None) -> str:
        """Empty where nobody names one: then one of the notebook's language will do."""
        found: str = name or nb.metadata.get("kernelspec", {}).get("name") or ""
        return found

    @classmethod
    def nb_language(cls, nb: NotebookNode, language: str | None = None) -> str:
        of_kernel = nb.metadata.get("kernelspec", {}).get("language")
        found: str = language or nb.metadata.get("language_info", {}).get("name") or of_kernel or ""
        return found
