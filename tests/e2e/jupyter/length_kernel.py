"""A kernel that says how long a cell is: a parser of Python takes seconds for some MiB."""

from __future__ import annotations

from typing import Any

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel


class LengthKernel(Kernel):
    implementation = "length"
    implementation_version = "1"
    banner = "How long is it?"
    language_info = {"name": "length", "mimetype": "text/plain", "file_extension": ".txt"}  # noqa: RUF012

    async def do_execute(self, code: str, *_: Any, **__: Any) -> dict[str, Any]:
        text = {"name": "stdout", "text": str(len(code))}
        self.send_response(self.iopub_socket, "stream", text)  # type: ignore[no-untyped-call]
        return {
            "status": "ok",
            "execution_count": self.execution_count,
            "payload": [],
            "user_expressions": {},
        }


if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=LengthKernel)
