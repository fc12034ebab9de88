"""The versions of Backend.AI's API that clients may speak.

Knows the list. Must not know what changed between them: the client takes the lower of its own and
ours, and all from v5 on ask for the same things here.
"""

from __future__ import annotations

from kernel_gateway.errors import InvalidField

SPOKEN = "v7.20230615"
ACCEPTED = frozenset(
    {
        "v5.20191215",
        "v6.20200815",
        "v6.20210815",
        "v6.20220315",
        "v6.20220615",
        "v6.20230315",
        SPOKEN,
    }
)


def check_version(header: str) -> None:
    """Nothing said means the newest. Raises `InvalidField`."""
    if header and header not in ACCEPTED:
        raise InvalidField({"X-BackendAI-Version": f"must be one of {', '.join(sorted(ACCEPTED))}"})
