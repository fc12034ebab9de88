"""`kernel-gateway keys`: key pairs made and revoked beside a gateway that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.backendai.client import RefusedError, Sdk
from tests.e2e.backendai.raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.backendai.client import Account
    from tests.e2e.backendai.conftest import Gateway


def test_a_pair_that_was_just_made_can_be_used_and_a_revoked_one_cannot(
    gateway: Gateway, account: Account, tmp_path: Path, name: str
) -> None:
    kept, account = account, gateway.new_account()
    with Sdk(account, tmp_path) as sdk:
        session = sdk.create(name)
        assert "1" == session.value("1")
        assert 0 == gateway.keys("revoke", account.access_key).returncode
        for method in ("get_info", "get_logs", "destroy"):
            with pytest.raises(RefusedError) as refused:
                session.call(method)
            assert (401, "auth-failed") == (refused.value.status, refused.value.kind)
    assert (401, "auth-failed") == Raw(account).call("GET", f"/session/{name}").kind
    assert 404 == Raw(kept).call("GET", f"/session/{name}").status, "the others are as before"


def test_the_list_has_every_access_key_and_no_secret(gateway: Gateway) -> None:
    gateway.new_account()
    done = gateway.keys("list")
    assert 0 == done.returncode
    assert [] == [one for one in gateway.made if one.access_key not in done.stdout]
    assert [] == [one for one in gateway.made if one.secret_key in done.stdout + done.stderr]


def test_a_pair_that_nobody_has_cannot_be_revoked(gateway: Gateway) -> None:
    done = gateway.keys("revoke", "AKIAUNKNOWNUNKNOWN00")
    assert 0 != done.returncode
    assert "AKIAUNKNOWNUNKNOWN00" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_secret_is_stored_where_others_can_read_it(gateway: Gateway, account: Account) -> None:
    data = gateway.server.data_dir
    files = [path for path in data.rglob("*") if path.is_file()]
    holding = [path for path in files if account.secret_key.encode() in path.read_bytes()]
    assert [] == [path for path in holding if path.stat().st_mode & 0o077]
