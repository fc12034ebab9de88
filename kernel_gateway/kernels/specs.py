"""Kernelspecs by name, as jupyter_client finds them.

Knows jupyter_client's KernelSpecManager. Must not know what a kernelspec is used for.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_core.paths import jupyter_path

from kernel_gateway.errors import KernelSpecNotFound
from kernel_gateway.kernels.kernel import SpecEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel_gateway.kernels.settings import KernelSettings

_USUAL_DEFAULT = "python3"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_SHOWN_CHARS = 200  # of a name that somebody has made up


def _usual_folders() -> list[str]:
    """As jupyter_client has them, which imports the whole of IPython to know the last one."""
    ipython = Path(os.environ.get("IPYTHONDIR", "~/.ipython")).expanduser()
    return [*jupyter_path("kernels"), str(ipython / "kernels")]


class KernelSpecs:
    """Reads the folders at each call: a kernelspec that was just installed is there."""

    def __init__(self, settings: KernelSettings) -> None:
        self._configured = settings.default_spec
        own = [str(folder) for folder in settings.spec_folders]
        self._manager = KernelSpecManager(kernel_dirs=[*own, *_usual_folders()])

    def get(self, name: str) -> KernelSpec:
        """A fresh copy that the caller may change. Raises `KernelSpecNotFound`."""
        shown = repr(name[:_SHOWN_CHARS])
        try:
            if _NAME.fullmatch(name):  # else jupyter_client logs it
                return self._manager.get_kernel_spec(name)
        except NoSuchKernel:
            if name.lower() in self._manager.find_kernel_specs():
                raise KernelSpecNotFound(
                    f"Kernelspec {shown} asks for a kernel provisioner that is not installed."
                ) from None
        except Exception as fault:  # the boundary: a kernel.json can be anything
            raise KernelSpecNotFound(f"Kernelspec {shown} is unreadable: {fault}") from fault
        raise KernelSpecNotFound(f"There is no kernelspec {shown}.")

    def entry(self, name: str) -> SpecEntry:
        """The same for those who are told of it. Raises `KernelSpecNotFound`."""
        spec = self.get(name)
        return SpecEntry(
            name=name.lower(), resource_dir=Path(spec.resource_dir), spec=spec.to_dict()
        )

    def list(self) -> Sequence[SpecEntry]:
        """All that can be read, by name; jupyter_client logs the others."""
        return [
            SpecEntry(name=name, resource_dir=Path(entry["resource_dir"]), spec=entry["spec"])
            for name, entry in sorted(self._manager.get_all_specs().items())
        ]

    def default_spec(self) -> str:
        """The configured one, else `python3`, else the first."""
        if self._configured:
            return self._configured
        names = sorted(self._manager.find_kernel_specs())
        return names[0] if names and _USUAL_DEFAULT not in names else _USUAL_DEFAULT
