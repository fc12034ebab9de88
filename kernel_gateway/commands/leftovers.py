"""What commands that were killed have left behind.

Knows where their folders are, and which of them live. Must not know how an output is finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway import app
from kernel_gateway.notebook.recovery import left_behind
from kernel_gateway.store.lock import is_held

if TYPE_CHECKING:
    from pathlib import Path

    from kernel_gateway.config import Settings
    from kernel_gateway.notebook.recovery import Kept


def leftovers(settings: Settings) -> dict[Path, list[Kept]]:
    """Jobs whose outputs are not complete and whose runner is dead, by its folder. Blocks.

    The file of a job is written by who holds the lock already: nobody who lives is mistaken.
    """
    found: dict[Path, list[Kept]] = {}
    for folder in sorted(app.headless_folders(settings).glob("*/")):
        if left_behind(folder) and not is_held(folder) and (jobs := left_behind(folder)):
            found[folder] = jobs  # those that were there when it was not held any more
    return found


def taken(settings: Settings) -> frozenset[Path]:
    """Outputs that commands write which live. Blocks."""
    folders = filter(is_held, app.headless_folders(settings).glob("*/"))
    return frozenset(kept.output for folder in folders for kept in left_behind(folder))
