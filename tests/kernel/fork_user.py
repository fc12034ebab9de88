"""A program that has a kernel from the fork server of its user, as any client of Jupyter has one.

Says which, until its stdin ends; then it shuts the kernel down.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from kernel_gateway.kernels.provisioners.fork import PROVISIONER

# The tests run without one that is installed.
ENTRY = EntryPoint(
    name=PROVISIONER,
    value="kernel_gateway.kernels.provisioners.fork:ForkProvisioner",
    group=KernelProvisionerFactory.GROUP_NAME,
)


def manager() -> KernelManager:
    """Of jupyter_client, with a kernelspec that names the provisioner."""
    KernelProvisionerFactory.instance().provisioners[PROVISIONER] = ENTRY
    made = KernelManager()
    made._kernel_spec = KernelSpec(
        argv=["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        metadata={"kernel_provisioner": {"provisioner_name": PROVISIONER}},
    )
    return made


def parent_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))


if __name__ == "__main__":
    kernel = manager()
    kernel.start_kernel()
    pid = kernel.provisioner.pid  # type: ignore[union-attr]
    sys.stdout.write(json.dumps({"kernel": pid, "server": parent_of(pid)}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    kernel.shutdown_kernel(now=True)
