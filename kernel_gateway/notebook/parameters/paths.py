"""Names of files that contain parameters: `out/{region}-{run_uuid}.ipynb`.

Must not know files, clocks or randomness.
"""

from __future__ import annotations

import datetime as dt
from string import Formatter
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import InvalidField

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.messaging.strict_json import Json


def filled(path: str, values: Mapping[str, Json], *, run_uuid: str, now: dt.datetime) -> str:
    """The path with its names in braces replaced, as papermill does it.

    Beside the parameters there are `run_uuid`, `current_datetime_local` and `current_datetime_utc`,
    also by papermill's spelling `pm[run_uuid]`. `now` knows its zone. Raises `InvalidField`.
    """
    own: dict[str, object] = {
        "run_uuid": run_uuid,
        "current_datetime_local": now.astimezone(),
        "current_datetime_utc": now.astimezone(dt.UTC),
    }
    try:
        return _Names().vformat(path, (), {**own, "pm": own, **values})
    except (LookupError, ValueError, TypeError, ArithmeticError) as fault:
        raise InvalidField({"path": f"{path} cannot be filled in: {fault}"}) from fault


class _Names(Formatter):
    """Values by name and by key alone: their attributes are not of the notebook."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if "." in field_name:
            raise KeyError(field_name)
        return super().get_field(field_name, args, kwargs)
