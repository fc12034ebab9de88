"""Who calls, and from which page: tokens, and the Host header.

Knows tokens and headers. Must not know what the caller then may do, and never shows a token: not in
an error, a repr or a log.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from kernel_gateway.errors import HostRefused, Refused, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tornado.httputil import HTTPServerRequest

    from kernel_gateway.service import Owner

_HEADER = re.compile(r"\s*(token|bearer)\s+(.+?)\s*", re.IGNORECASE | re.DOTALL)
_SECRET = "[secret]"


@dataclass(frozen=True, slots=True)
class Caller:
    owner: Owner
    #: The token stood in a header, which no web page can make a browser send to us.
    by_header: bool


class Tokens:
    """The tokens that open the door, and whose they are."""

    def __init__(self, owners: Mapping[str, Owner]) -> None:
        if not owners or not all(token.strip() for token in owners):
            raise Refused("A token may not be empty. Leave it out and one is made at each start.")
        self._owners = {token.encode(): owner for token, owner in owners.items()}

    def caller(self, request: HTTPServerRequest) -> Caller:
        """Raises `Unauthorized`."""
        in_header = _token_in_header(request)
        token = in_header if in_header is not None else _token_in_query(request)
        owner = self._owner(token) if token else None
        if owner is None:
            raise Unauthorized(
                "A token is needed: send the header 'Authorization: token <TOKEN>'. "
                "The gateway prints its token when it starts."
            )
        return Caller(owner, by_header=in_header is not None)

    def spoken(self, request: HTTPServerRequest) -> bool:
        """Whether the call brings a token at all, of whatever worth."""
        return _token_in_header(request) is not None or bool(_token_in_query(request))

    def _owner(self, token: bytes) -> Owner | None:
        """Each token is compared in full, so that the time tells nothing."""
        found = None
        for known, owner in self._owners.items():
            if hmac.compare_digest(known, token):
                found = owner
        return found


def _token_in_header(request: HTTPServerRequest) -> bytes | None:
    """None too for another scheme: a proxy in front of us may want Basic for itself."""
    match = _HEADER.fullmatch(request.headers.get("Authorization", ""))
    return match[2].encode("latin-1") if match else None  # as it came over the wire


def _token_in_query(request: HTTPServerRequest) -> bytes | None:
    values = request.query_arguments.get("token")
    return values[-1] if values else None


def redacted(uri: str) -> str:
    """The same address without the token, on one line: for logs."""
    path, mark, query = uri.partition("?")
    parts = [_redacted_part(part) for part in query.split("&")]
    return "".join(c if c.isprintable() else "?" for c in path + mark + "&".join(parts))


def _redacted_part(part: str) -> str:
    name, _, _ = part.partition("=")
    # As a server reads it: `%74oken` is `token`, too.
    return f"{name}={_SECRET}" if unquote_to_bytes(name).strip() == b"token" else part


# -- which page ---------------------------------------------------------------------------------


class Hosts:
    """The names that we may be called by.

    A web page can have its own name point to 127.0.0.1 (DNS rebinding); then the browser takes us
    for that page's server, but still says in `Host` which name it called. The port does not matter:
    a tunnel may give us another one, and a page cannot win anything by it.
    """

    def __init__(self, ip: str, allowed: Sequence[str]) -> None:
        self._checked = bool(allowed) or is_loopback(ip)
        self._allowed = {name.lower().rstrip(".") for name in (*allowed, ip)}

    def check(self, host: str) -> None:
        """Raises `HostRefused`."""
        name = host_name(host)
        if self._checked and not (name in self._allowed or is_loopback(name)):
            raise HostRefused(
                "This name is not served here: the Host header must be localhost, 127.0.0.1 or "
                "[::1], or one of the setting Web.allowed_hosts."
            )


def host_name(host: str) -> str:
    """Of a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
