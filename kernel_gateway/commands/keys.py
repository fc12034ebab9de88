"""`kernel-gateway keys`: the pairs of keys that clients of the Backend.AI API sign with.

A gateway that is running on the same data folder sees each change at its next call.
"""

from __future__ import annotations

import datetime as dt
import secrets
import string
import sys
import time
from typing import TYPE_CHECKING, Any

from traitlets import Unicode

from kernel_gateway.commands.base import ALIASES, REFUSED, Command, CommandGroup, UsageError
from kernel_gateway.commands.table import aligned
from kernel_gateway.service import Owner
from kernel_gateway.store.keys import opened_keys
from kernel_gateway.store.values import StoredKey

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from kernel_gateway.store.keys import KeyRing

_WHERE = "kernel_gateway.commands.keys"

_OURS = "KG"  # how an access key begins, so that people see what it is
_ACCESS_CHARS = 20
_SECRET_CHARS = 40
_OWNER_CHARS = 100


class KeysApp(CommandGroup):
    name = "kernel-gateway keys"
    description = """
        Make, list and revoke the keys that clients sign with.

        A running gateway that has the same data folder takes each change at once.
    """
    examples = """
        kernel-gateway keys add --owner=alice
        kernel-gateway keys list
        kernel-gateway keys revoke KG0123456789ABCDEFGH
    """
    subcommands: dict[str, Any] = {
        "add": (f"{_WHERE}.KeysAddApp", "Make a pair of keys, and show it this once."),
        "list": (f"{_WHERE}.KeysListApp", "List all keys, without their secrets."),
        "revoke": (f"{_WHERE}.KeysRevokeApp", "Make a key useless, for ever."),
    }


class _KeysCommand(Command):
    def _keys(self, *, make: bool = False) -> AbstractContextManager[KeyRing]:
        return opened_keys(self.read_settings().store, make=make)

    def _refuse_arguments(self) -> None:
        if self.extra_args:
            raise UsageError(f"No arguments are taken, only options: {self.extra_args[0]!r}.")


class KeysAddApp(_KeysCommand):
    name = "kernel-gateway keys add"
    description = """
        Make a pair of keys, and show it this once: two lines for a shell.

        What is made with a key belongs to its owner: keys of one owner see the same sessions.
    """
    examples = """
        kernel-gateway keys add --owner=alice
        eval "$(kernel-gateway keys add)"
    """
    owner = Unicode(
        None, allow_none=True, config=True, help="Whose the key is. Default: the access key's own."
    )
    aliases: dict[Any, Any] = {**ALIASES, "owner": "KeysAddApp.owner"}

    def run(self) -> int:
        self._refuse_arguments()
        key = _new_key(self._checked_owner(), time.time())
        with self._keys(make=True) as keys:
            keys.add(key)
        print(f"export BACKEND_ACCESS_KEY={key.access_key}")
        print(f"export BACKEND_SECRET_KEY={key.secret}", flush=True)
        print(_hint(key), file=sys.stderr)
        return 0

    def _checked_owner(self) -> str | None:
        """It stands in tables and logs: nothing in it may look like their ends."""
        owner = self.owner
        if owner is None:
            return None
        if not owner.strip() or owner != owner.strip() or not owner.isprintable():
            raise UsageError(f"--owner must be a name, not {owner!r}.")
        if len(owner) > _OWNER_CHARS:
            raise UsageError(f"--owner must have at most {_OWNER_CHARS} characters.")
        return str(owner)


class KeysListApp(_KeysCommand):
    name = "kernel-gateway keys list"
    description = "List all keys, oldest first, without their secrets."
    examples = """
        kernel-gateway keys list
        kernel-gateway keys list --data-dir=/srv/gateway
    """

    def run(self) -> int:
        self._refuse_arguments()
        with self._keys() as keys:
            lines = [_row(key) for key in keys.all()]
        for line in aligned([("ACCESS KEY", "OWNER", "CREATED", "REVOKED"), *lines]):
            print(line)
        return 0


class KeysRevokeApp(_KeysCommand):
    name = "kernel-gateway keys revoke"
    description = """
        Make a key useless, for ever. A second time does nothing.

        Exit code 1: there is no such key.
    """
    examples = """
        kernel-gateway keys revoke KG0123456789ABCDEFGH
    """

    def run(self) -> int:
        if len(self.extra_args) != 1:
            raise UsageError("One access key is needed; kernel-gateway keys list shows them.")
        access_key = self.extra_args[0]
        with self._keys() as keys:
            # What is not ASCII may not even be text, and is no key of ours.
            known = access_key.isascii() and keys.revoke(access_key, time.time())
        if not known:
            print(f"{self.name}: there is no access key {access_key!r}.", file=sys.stderr)
            return REFUSED
        return 0


def _new_key(owner: str | None, now: float) -> StoredKey:
    upper = string.ascii_uppercase + string.digits
    access_key = _OURS + _random(upper, _ACCESS_CHARS - len(_OURS))
    return StoredKey(
        access_key=access_key,
        secret=_random(string.ascii_letters + string.digits, _SECRET_CHARS),
        owner=Owner(owner or access_key),
        created_at=now,
        revoked_at=None,
    )


def _random(characters: str, count: int) -> str:
    return "".join(secrets.choice(characters) for _ in range(count))


def _hint(key: StoredKey) -> str:
    return (
        f"The secret is not shown again; the owner is {key.owner}. Clients also need "
        "BACKEND_ENDPOINT (the address of the gateway) and BACKEND_ENDPOINT_TYPE=api."
    )


def _row(key: StoredKey) -> tuple[str, ...]:
    return key.access_key, key.owner, _when(key.created_at), _when(key.revoked_at)


def _when(at: float | None) -> str:
    return "-" if at is None else dt.datetime.fromtimestamp(at, dt.UTC).isoformat(" ", "seconds")
