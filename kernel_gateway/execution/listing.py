"""A page of the list of runs: what is stored, merged with what memory knows better.

Knows runs as readers do. Must not know kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_gateway.execution.past import PastRun
from kernel_gateway.runs.state import RunState
from kernel_gateway.service import RunPlace
from kernel_gateway.store.values import RunFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kernel_gateway.execution.answering import Found
    from kernel_gateway.execution.live import LiveRun
    from kernel_gateway.service import Owner, RunQuery
    from kernel_gateway.store.store import Store


async def list_runs(
    store: Store, live: Iterable[LiveRun], owner: Owner, query: RunQuery
) -> tuple[list[Found], RunPlace | None]:
    """The page, and the place to go on behind it if there is more.

    Memory is looked at first: what it does not hold then, and what is no newer, is stored. It has
    every run that has not ended, and knows of it what the store does not know yet.
    """
    held = {one.identity.uid: one for one in live if one.identity.owner == owner}
    found: list[Found] = [one for one in held.values() if _is_wanted(one, query)]
    if query.state in {None, RunState.FINISHED}:
        stored = await store.list_runs(owner, _filter_of(query), limit=query.limit + 1)
        found.extend(PastRun(run, store) for run in stored if run.uid not in held)
    found.sort(key=place_of, reverse=True)
    page, rest = found[: query.limit], found[query.limit :]
    return page, place_of(page[-1]) if rest else None


def place_of(found: Found) -> RunPlace:
    if isinstance(found, PastRun):
        return RunPlace(found.identity.view.created_at, found.identity.uid)
    return RunPlace(found.machine.created.wall, found.identity.uid)


def _is_wanted(live: LiveRun, query: RunQuery) -> bool:
    return (
        query.kernel_id in {None, live.identity.kernel_id}
        and query.state in {None, live.state}
        and query.outcome in {None, live.outcome}
        and all(_has(live.identity.labels, *label) for label in query.labels)
        and (query.before is None or place_of(live) < query.before)
    )


def _has(labels: Mapping[str, str], name: str, value: str | None) -> bool:
    return name in labels and value in {None, labels[name]}


def _filter_of(query: RunQuery) -> RunFilter:
    before = query.before
    return RunFilter(
        kernel_id=query.kernel_id,
        labels=query.labels,
        finished=True if query.state is RunState.FINISHED else None,
        outcome=query.outcome,
        before=None if before is None else (before.created_at, before.uid),
    )
