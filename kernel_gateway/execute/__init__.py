"""`execute_notebook` for programs: papermill's function with papermill's arguments, on our engine.

from kernel_gateway.execute import execute_notebook
notebook = execute_notebook("in.ipynb", "out.ipynb", parameters={"region": "north"})
"""

from kernel_gateway.execute.call import execute_notebook
from kernel_gateway.notebook.papermill.failure import NotebookFailed

__all__ = ["NotebookFailed", "execute_notebook"]
