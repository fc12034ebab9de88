"""Where a gateway is, and with which token one comes in.

Knows the forms that people write: an address, the first line of `kernel-gateway serve`, a unix
socket, the environment. Must not know HTTP. The token is never in `url`, nor in a repr.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from kernel_gateway.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "http://127.0.0.1:8888"  # where `kernel-gateway serve` listens
URL_VARIABLE = "KERNEL_GATEWAY_URL"
TOKEN_VARIABLE = "KERNEL_GATEWAY_TOKEN"

_UNIX = {"http+unix", "unix"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    url: str  # scheme, host and base path, without a slash at its end
    token: str | None = field(default=None, repr=False)
    socket: str | None = None  # path of a unix socket; the host of `url` is then a mere name

    @property
    def is_on_this_machine(self) -> bool:
        if self.socket is not None:
            return True
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def __str__(self) -> str:
        """For people."""
        return self.url if self.socket is None else f"the socket {self.socket}"


def address(
    url: str | None = None,
    token: str | None = None,
    *,
    uds: str | None = None,
    env: Mapping[str, str],
) -> Address:
    """What is not given is taken from `env`. Raises `Refused` for what is no address."""
    if url is None and uds is None:
        url = env.get(URL_VARIABLE) or DEFAULT_URL
    parts = _parts("http://localhost" if url is None else url)
    token = _checked(token or _token_of(parts) or env.get(TOKEN_VARIABLE) or None)
    path = parts.path.rstrip("/")
    if parts.scheme in _UNIX:
        return Address(url=f"http://localhost{path}", token=token, socket=unquote(parts.netloc))
    return Address(url=f"{parts.scheme}://{parts.netloc}{path}", token=token, socket=uds)


def _parts(url: str) -> SplitResult:
    """Faults are told without the address: it may hold what is secret."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # it is looked at only when it is asked for
    except ValueError:
        raise Refused("The address of the gateway cannot be read.") from None
    if parts.scheme not in {"http", "https", *_UNIX} or not parts.netloc:
        raise Refused(
            "The address of the gateway must begin with http:// or https://, or be "
            "http+unix:// and the path of a socket with %2F for each slash."
        )
    if "@" in parts.netloc:
        raise Refused("The address of the gateway must hold no user and password: use a token.")
    return parts


def _token_of(parts: SplitResult) -> str | None:
    """`serve` shows an address with it when it has made one up."""
    return parse_qs(parts.query).get("token", [None])[0]


def _checked(token: str | None) -> str | None:
    """No header can hold anything else, and whoever complained of it later would show it."""
    if token is not None and not (token.isprintable() and token == token.strip()):
        raise Refused("The token must have no space around it and no line end in it.")
    return token
