"""The end of all that the runs of a session have put on their consoles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.runs.answer import console_items
from kernel_gateway.store.values import RunFilter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel_gateway.runs.records import Record
    from kernel_gateway.service import Owner
    from kernel_gateway.store.store import Store

RUNS = 200  # are looked at, at most
RECORDS = 1000  # of each
_STREAMS = {"stdout", "stderr"}


async def printed(store: Store, owner: Owner, session_id: str, limit_chars: int) -> str:
    """At most so many characters, oldest first; each run ends its line."""
    texts: list[str] = []
    left = limit_chars
    for run in await store.list_runs(owner, RunFilter(kernel_id=session_id), limit=RUNS):
        text = _shown(await store.last_records(run.uid, limit=RECORDS))[-left:]
        texts.append(text)
        left -= len(text)
        if left <= 0:
            break
    return "".join(reversed(texts))


def _shown(log: Iterable[Record]) -> str:
    items = (item for record in log for item in console_items(record))
    text = "".join(str(item.value) for item in items if item.type in _STREAMS)
    return text if text.endswith("\n") or not text else f"{text}\n"
