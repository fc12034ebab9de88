"""`kernel-gateway recover`: outputs of runs that were killed, finished from their logs."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool

from kernel_gateway import app
from kernel_gateway.commands.base import FLAGS, REFUSED, Command, UsageError
from kernel_gateway.commands.leftovers import leftovers, taken
from kernel_gateway.commands.summary import reason
from kernel_gateway.commands.table import aligned, harmless
from kernel_gateway.errors import GatewayError
from kernel_gateway.notebook.recovery import finish, left_behind
from kernel_gateway.runs.view import Outcome
from kernel_gateway.service import LOCAL_OWNER
from kernel_gateway.store.lock import is_held

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kernel_gateway.config import Settings
    from kernel_gateway.notebook.recovery import Kept
    from kernel_gateway.service import Service


class RecoverApp(Command):
    name = "kernel-gateway recover"
    description = """
        Finish the output notebooks of runs that were killed, or whose output could not be written.

        kernel-gateway recover [FOLDER...]

        A run of kernel-gateway run that is killed leaves its log behind. From it the output gets
        everything that was received; it says that the run was lost, in which cell, and which cells
        were never run. Files that the code has left are brought home. Then the log is removed, but
        not when one of them could not be brought. Without names all such runs are finished; FOLDER
        is one that kernel-gateway run has named. An output that somebody has written since is left
        as it is, and ours is put beside it.

        Exit codes: 0 all are finished, or there was nothing to do · 1 one could not be finished ·
        2 usage.
    """
    examples = """
        kernel-gateway recover --list
        kernel-gateway recover
    """
    list_only = Bool(False, config=True, help="Show what could be finished, and do nothing.")
    flags: dict[Any, Any] = {
        **FLAGS,
        "list": ({"RecoverApp": {"list_only": True}}, list_only.help),
    }

    def run(self) -> int:
        settings = self.read_settings()
        found = self._found(settings)
        if self.list_only:
            _show(found)
            return 0
        if not found:
            print("There is nothing to finish.", file=sys.stderr)
        done = [asyncio.run(finish_all(settings, folder)) for folder in found]
        return 0 if all(done) else REFUSED

    def _found(self, settings: Settings) -> Mapping[Path, Sequence[Kept]]:
        if not self.extra_args:
            return leftovers(settings)
        folders = [Path(name).expanduser().absolute() for name in self.extra_args]
        found = {folder: left_behind(folder) for folder in folders}
        empty = next((folder for folder, jobs in found.items() if not jobs), None)
        if empty is not None:
            raise UsageError(f"There is nothing to finish in {empty}.")
        alive = next(filter(is_held, found), None)
        if alive is not None:
            raise UsageError(f"The run in {alive} goes on; there is nothing to finish yet.")
        return found


def _show(found: Mapping[Path, Sequence[Kept]]) -> None:
    rows = [
        (harmless(str(kept.output)), harmless(str(folder)))
        for folder, jobs in found.items()
        for kept in jobs
    ]
    for line in aligned([("OUTPUT", "FOLDER"), *rows]):
        print(line)


async def finish_all(settings: Settings, folder: Path) -> bool:
    """Of one runner: whether all of its outputs are complete; its folder goes then."""
    others = await asyncio.to_thread(taken, settings)
    try:
        async with app.left_service(settings, folder) as service:
            # Somebody else may have finished them before it was ours.
            jobs = await asyncio.to_thread(left_behind, folder)
            done = [await _finish(service, kept, others) for kept in jobs]
    except GatewayError as fault:  # somebody else is at it, or its store is broken
        if not await asyncio.to_thread(left_behind, folder):
            return True  # or has done it
        print(f"{folder}: {fault.message}", file=sys.stderr)
        return False
    if done and all(done):
        kept = await asyncio.to_thread(app.left_files, folder)
        if kept is None:
            await asyncio.to_thread(shutil.rmtree, folder)
        else:
            print(f"Files that the code had left when it was killed are in {kept}", file=sys.stderr)
    return all(done)


async def _finish(service: Service, kept: Kept, others: Collection[Path]) -> bool:
    """A job that cannot be finished is no reason not to finish the others."""
    try:
        finished = await finish(service, LOCAL_OWNER, kept, others)
    except GatewayError as fault:
        print(f"{kept.output}: {fault.message}", file=sys.stderr)
        return False
    result = finished.result
    why = "" if result.outcome is Outcome.OK else f" {harmless(reason(result))}"
    print(f"{result.outcome}:{why} -> {harmless(str(finished.output))}")
    if line := finished.brought.line(finished.homes):
        print(harmless(line), file=sys.stderr)
    return finished.is_whole
