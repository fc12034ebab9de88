"""Which versions of the API are spoken."""

from __future__ import annotations

import pytest

from kernel_gateway.errors import InvalidField
from kernel_gateway.web.backendai.versions import ACCEPTED, SPOKEN, check_version


@pytest.mark.parametrize("version", ["v5.20191215", "v6.20220615", "v7.20230615", ""])
def test_versions_from_five_on_are_accepted_and_so_is_silence(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize(
    "version", ["v4.20190615", "v7.20230616", "v8.20240315", "7", "V7.20230615"]
)
def test_others_are_refused(version: str) -> None:
    with pytest.raises(InvalidField, match=SPOKEN):
        check_version(version)


def test_the_spoken_one_is_the_newest() -> None:
    assert max(ACCEPTED) == SPOKEN
