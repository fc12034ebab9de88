"""Which kernels are warm, for whom, and which go first: bookkeeping, no input or output.

There is a shelf for each seed that somebody has used. What lies on all of them together is bounded
by its memory; of the owner who has not come for the longest time it goes first, the oldest first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kernel_gateway.kernels.kernel import Seed
    from kernel_gateway.kernels.pool.spare import Spare

LOG = logging.getLogger("kernel_gateway.kernels")

#: Failures in a row after which no more are started, until the kernelspec changes.
FAILURES = 5
#: Each value of a variable that is read at the start has one of its own; the shelf that nobody has
#: used for the longest time goes.
MOST_SHELVES = 64


@dataclass(slots=True, eq=False)
class Shelf:
    """Of one seed."""

    seed: Seed
    wanted: int
    used: int = 0  # the higher the later
    ready: list[Spare] = field(default_factory=list)  # the oldest first
    edition: str = ""  # of the last start
    failures: int = 0  # in a row
    each: int = 0  # bytes of the last one
    #: Its owner has had to give one up for want of memory: he gets no other before he comes again.
    gave_up: bool = False

    def __repr__(self) -> str:
        return f"<Shelf {self.seed.spec_name} of {self.seed.owner!r} {len(self.ready)}>"

    @property
    def wants_more(self) -> bool:
        return len(self.ready) < self.wanted and self.failures < FAILURES and not self.gave_up

    @property
    def memory(self) -> int:
        return sum(spare.memory for spare in self.ready)

    def fail(self, why: object) -> None:
        self.failures += 1
        more = "none is started any more" if self.failures == FAILURES else "another is started"
        name = self.seed.spec_name
        LOG.warning("a warm kernel of kernelspec %r failed, %s: %s", name, more, why)

    def refuse(self, why: str) -> None:
        self.failures = FAILURES
        LOG.warning("no kernel is kept warm of kernelspec %r: %s", self.seed.spec_name, why)

    def see(self, edition: str) -> None:
        """What is on disk now: it may work again."""
        if edition != self.edition:
            self.edition = edition
            self.failures = 0


class Shelves:
    """`warm` is how many of which kernelspec each owner gets."""

    def __init__(self, warm: Mapping[str, int], *, memory: int) -> None:
        self._warm = {name.lower(): wanted for name, wanted in warm.items() if wanted > 0}
        self._memory = memory
        self._by_seed: dict[Seed, Shelf] = {}
        self._uses = 0

    def __iter__(self) -> Iterator[Shelf]:
        return iter(list(self._by_seed.values()))

    def __contains__(self, shelf: Shelf) -> bool:
        return self._by_seed.get(shelf.seed) is shelf

    @property
    def spec_names(self) -> list[str]:
        return list(self._warm)

    @property
    def memory(self) -> int:
        return sum(shelf.memory for shelf in self)

    def keeps(self, spec_name: str) -> bool:
        return spec_name.lower() in self._warm

    def ready(self) -> dict[str, int]:
        """How many are waiting, by kernelspec."""
        return {
            name: sum(len(shelf.ready) for shelf in self if shelf.seed.spec_name == name)
            for name in self._warm
        }

    def used(self, seed: Seed) -> Shelf:
        """Somebody has come for this one."""
        shelf = self._by_seed.get(seed)
        if shelf is None:
            shelf = self._by_seed[seed] = Shelf(seed, self._warm[seed.spec_name])
        self._uses += 1
        shelf.used = self._uses
        for one in self._of(seed.owner):
            one.gave_up = False
        return shelf

    def too_many(self) -> Shelf | None:
        """One that has to go as a whole. It is forgotten now."""
        if len(self._by_seed) <= MOST_SHELVES:
            return None
        oldest = min(self, key=lambda shelf: shelf.used)
        del self._by_seed[oldest.seed]
        return oldest

    def has_room(self, shelf: Shelf) -> bool:
        """For one more; those of owners who have come before this one would make room."""
        mine = self._last_use(shelf.seed.owner)
        kept = sum(one.memory for one in self if self._last_use(one.seed.owner) >= mine)
        return shelf.wants_more and kept + shelf.each <= self._memory

    def over(self) -> list[Spare]:
        """What has to go, taken from the shelves: there is too much."""
        gone = []
        while self.memory > self._memory and (spare := self.give_up()) is not None:
            gone.append(spare)
            for one in self._of(spare.seed.owner):
                one.gave_up = True
        return gone

    def give_up(self) -> Spare | None:
        """The next that has to go, taken from its shelf."""
        filled = [shelf for shelf in self if shelf.ready]
        if not filled:
            return None
        shelf = min(filled, key=lambda one: (self._last_use(one.seed.owner), one.used))
        return shelf.ready.pop(0)

    def _of(self, owner: str) -> list[Shelf]:
        return [shelf for shelf in self if shelf.seed.owner == owner]

    def _last_use(self, owner: str) -> int:
        return max(shelf.used for shelf in self._of(owner))
