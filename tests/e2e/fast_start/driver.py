"""Runs where Jupyter's own programs are, and has each make kernels of one kernelspec.

    driver.py PACKAGES FOLDER SPEC      PACKAGES: where those programs are

Prints as JSON what each was told by its kernels, and what became of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill as pm  # type: ignore[import-not-found]
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient  # type: ignore[import-not-found]
from nbclient.exceptions import DeadKernelError  # type: ignore[import-not-found]

#: A kernel's first words: who it is and where it comes from.
WHO = (
    "import json, os, pathlib\n"
    "server = pathlib.Path(f'/proc/{os.getppid()}/cmdline').read_text().split(chr(0))\n"
    "print(json.dumps([os.getpid(), os.getppid(), server[1:3]]))"
)
CELLS = (WHO, "x = 6 * 7", "x")
LIMIT_S = 30.0

# `jupyter execute`, as its script has it.
EXECUTE = "import sys; sys.path.append(sys.argv.pop(1)); from nbclient.cli import main; main()"


def main(packages: str, folder: Path, spec: str) -> None:
    told = {
        "nbclient": by_nbclient(spec),
        "papermill": by_papermill(folder, spec),
        "jupyter execute": by_a_command(packages, folder, spec),
        "jupyter_client": by_a_manager(spec),
        "dies": dies(spec),
    }
    sys.stdout.write(json.dumps(told))


def notebook(spec: str, *cells: str) -> Any:
    page = [nbformat.v4.new_code_cell(cell) for cell in cells]  # type: ignore[no-untyped-call]
    node: Any = nbformat.v4.new_notebook(cells=page)  # type: ignore[no-untyped-call]
    node.metadata.kernelspec = {"name": spec, "display_name": spec, "language": "python"}
    return node


def answers(node: Any) -> list[Any]:
    """Who has run it, and the value of its last cell."""
    return [
        json.loads(node.cells[0].outputs[0]["text"]),
        node.cells[-1].outputs[0]["data"]["text/plain"],
    ]


def by_nbclient(spec: str) -> list[Any]:
    return answers(NotebookClient(notebook(spec, *CELLS), timeout=LIMIT_S).execute())


def by_papermill(folder: Path, spec: str) -> list[Any]:
    given, out = str(folder / "given.ipynb"), str(folder / "papermill.ipynb")
    nbformat.write(notebook(spec, *CELLS), given)  # type: ignore[no-untyped-call]
    return answers(pm.execute_notebook(given, out, progress_bar=False))


def by_a_command(packages: str, folder: Path, spec: str) -> list[Any]:
    """In a process of its own, at the same time as this one."""
    file = folder / "executed.ipynb"
    nbformat.write(notebook(spec, *CELLS), file)  # type: ignore[no-untyped-call]
    command = [sys.executable, "-c", EXECUTE, packages, "--inplace", str(file)]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)
    return answers(nbformat.read(file, as_version=4))  # type: ignore[no-untyped-call]


def by_a_manager(spec: str) -> dict[str, Any]:
    """Interrupted, restarted, shut down; by the blocking classes, as a script uses them."""
    manager, client = start_new_kernel(kernel_name=spec)
    told: dict[str, Any] = {"first": json.loads(said(client, WHO))}
    said(client, "kept = 1")
    asked = client.execute("import time\nprint('begun', flush=True)\ntime.sleep(600)")
    while client.get_iopub_msg(timeout=LIMIT_S)["msg_type"] != "stream":
        pass
    manager.interrupt_kernel()
    told["interrupted"] = reply_to(client, asked)["ename"]
    manager.restart_kernel(now=True)
    client.wait_for_ready(timeout=LIMIT_S)
    told["second"] = json.loads(said(client, WHO))
    told["kept"] = said(client, "print('kept' in globals())")
    client.stop_channels()
    manager.shutdown_kernel()
    told["alive"] = [manager.is_alive(), *map(is_there, (told["first"][0], told["second"][0]))]
    return told


def said(client: Any, code: str) -> str:
    text: list[str] = []

    def hear(message: Any) -> None:
        if message["msg_type"] == "stream":
            text.append(message["content"]["text"])

    client.execute_interactive(code, timeout=LIMIT_S, output_hook=hear)
    return "".join(text)


def reply_to(client: Any, asked: str) -> Any:
    while (reply := client.get_shell_msg(timeout=LIMIT_S))["parent_header"]["msg_id"] != asked:
        pass
    return reply["content"]


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def dies(spec: str) -> str:
    try:
        NotebookClient(notebook(spec, "import os; os._exit(3)"), timeout=LIMIT_S).execute()
    except DeadKernelError as fault:
        return type(fault).__name__
    return "it lives"


main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
