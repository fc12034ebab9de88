"""The kernelspecs of a launcher, as callers are told of them.

Knows what lies beside a kernel.json. Must not know how kernels are started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from kernel_gateway.execution.resources import resource_names
from kernel_gateway.service import KernelSpecsView, KernelSpecView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.kernels.kernel import Launcher, SpecEntry
    from kernel_gateway.messaging.strict_json import Json


def specs_view(launcher: Launcher) -> KernelSpecsView:
    """Reads files."""
    return KernelSpecsView(
        default=launcher.default_spec(),
        specs=tuple(map(spec_view, launcher.kernelspecs())),
    )


def spec_view(entry: SpecEntry) -> KernelSpecView:
    """Reads files."""
    return KernelSpecView(
        name=entry.name,
        display_name=str(entry.spec.get("display_name", entry.name)),
        language=str(entry.spec.get("language", "")),
        spec=cast("Mapping[str, Json]", entry.spec),  # it was read from JSON
        resources=resource_names(entry.resource_dir),
    )
