"""The state of a widget: values by their names, with the buffers that lie within them.

Knows how one update changes a state, which is also how two updates become one. Must not know
records, logs or notebooks. A trait is always sent whole: what an update has of it takes the place
of all that was there before, buffers too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from kernel_gateway.messaging.strict_json import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json

#: From a state to one of its buffers: the trait, then names and positions inside of it.
Path: TypeAlias = "tuple[str | int, ...]"


# Of an Output widget: the ID of the request whose outputs it takes, and what it shows.
NAMED_REQUEST, OUTPUTS = "msg_id", "outputs"


@dataclass(slots=True, eq=False)
class Traits:
    values: dict[str, Json] = field(default_factory=dict)
    #: By trait, in base64; None: it is not to be had. A trait that is one buffer has no value.
    buffers: dict[str, dict[Path, str | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Mapping[str, Json], buffers: Sequence[str | None]) -> Traits:
        """What a message says of the state. Buffers without a place are nobody's."""
        state, paths = data.get("state"), data.get("buffer_paths")
        traits = cls(dict(state) if isinstance(state, dict) else {})
        for path, buffer in zip(paths if isinstance(paths, list) else (), buffers, strict=False):
            if isinstance(path, list) and (place := _path(path)):
                traits.buffers.setdefault(str(place[0]), {})[place] = buffer
        return traits

    @property
    def names(self) -> set[str]:
        return {*self.values, *self.buffers}

    def take(self, update: Traits) -> None:
        for name in update.names:
            self.values.pop(name, None)
            self.buffers.pop(name, None)
        self.values |= update.values
        self.buffers |= update.buffers

    def placed(self) -> list[tuple[Path, str]]:
        """All buffers that are there."""
        return [
            (path, buffer)
            for of_trait in self.buffers.values()
            for path, buffer in of_trait.items()
            if buffer is not None
        ]

    def size(self, names: Iterable[str]) -> int:
        """Bytes of these traits as JSON, near enough."""
        total = 0
        for name in names:
            if name in self.values:
                total += len(name) + len(encode(self.values[name]))
            for path, buffer in self.buffers.get(name, {}).items():
                total += len(encode(list(path))) + len(buffer or "")
        return total


def _path(raw: list[Json]) -> Path:
    """Empty where it leads nowhere."""
    parts = tuple(part for part in raw if isinstance(part, str | int))
    return parts if len(parts) == len(raw) else ()
