"""Which URLs may be called, and which addresses behind them.

Runs name URLs, and the gateway calls them from within its own network: so nobody must reach through
it what he cannot reach himself (server-side request forgery). Knows URLs, addresses and settings.
Must not look anything up: the address that is judged here is the one that is connected to.

The lists are those of IANA's registries of special-purpose addresses, written out because those of
Python's `ipaddress` change with its release.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from kernel_gateway.webhooks.settings import WebhookSettings

Address: TypeAlias = IPv4Address | IPv6Address

MAX_URL_CHARS = 2000

_PORTS = {"http": 80, "https": 443}
_LEGAL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # RFC 3986
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")

_REFUSED_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared, of providers
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # public by its number, and yet the inside of Azure
            "169.254.0.0/16",  # link-local; the metadata of clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)

_UNICAST_6 = IPv6Network("2000::/3")  # all there is of public addresses
_REFUSED_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo, which carries an IPv4 address
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which carries an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # how a network without IPv4 reaches an IPv4 address


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL, taken apart once: what is judged is what is called."""

    secure: bool  # https
    host: str  # lower case; of an IPv6 address without brackets
    port: int
    authority: str  # for the Host header
    path: str  # with the query


def check_url(url: str, settings: WebhookSettings) -> str | None:
    """What is wrong with it, as far as can be known without a look-up; None: nothing."""
    try:
        target = target_of(url)
    except ValueError as fault:
        return str(fault)
    address = literal(target.host)
    allowed = (
        _may_be_called(target.host, settings)
        if address is None
        else (is_allowed(target.host, address, settings))
    )
    return None if allowed else f"the host {target.host} may not be called"


def target_of(url: str) -> Target:
    """Raises `ValueError` with a sentence for what is no URL that we would call."""
    if len(url) > MAX_URL_CHARS:
        raise ValueError(f"longer than {MAX_URL_CHARS} characters")
    if _LEGAL.fullmatch(url) is None:
        raise ValueError("not a URL; other characters than those of RFC 3986 are percent-encoded")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError("http:// or https:// is needed")
    if "@" in parts.netloc:
        raise ValueError("a user name or password in a URL is not sent; use the secret")
    host = (parts.hostname or "").removesuffix(".")
    if not (_is_ipv6(host) if "[" in parts.netloc else _NAME.fullmatch(host)):
        raise ValueError("no host that could be called")
    try:
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("no port that could be called")
    return Target(
        secure=parts.scheme == "https",
        host=host,
        port=port,
        authority=parts.netloc,
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


def literal(host: str) -> Address | None:
    """The address that a host is written as, in all the ways that the C library understands."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001, 2130706433
    except OSError:
        return None


def is_allowed(host: str, address: Address, settings: WebhookSettings) -> bool:
    """Whether a host that was found at this address may be called there."""
    address = _plain(address)
    return (
        _is_listed(host, settings)
        or any(address in network for network in _networks(settings))
        or (settings.allow_public and is_public(address))
    )


def is_public(address: Address) -> bool:
    """Anybody could call it from anywhere."""
    address = _plain(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_4)
    if address in _NAT64:
        return is_public(IPv4Address(address.packed[-4:]))
    return address in _UNICAST_6 and not any(address in network for network in _REFUSED_6)


def _may_be_called(host: str, settings: WebhookSettings) -> bool:
    """A name, whose address is not known yet."""
    if _is_listed(host, settings) or _networks(settings):
        return True
    is_local = host == "localhost" or host.endswith(".localhost")
    return settings.allow_public and not is_local


def _is_listed(host: str, settings: WebhookSettings) -> bool:
    """By name. An address is none: `10.*` would be 10.example.com, too, which can be anywhere."""
    return literal(host) is None and any(
        fnmatchcase(host, entry.lower())
        for entry in settings.allowed_hosts
        if _network(entry) is None
    )


def _networks(settings: WebhookSettings) -> list[IPv4Network | IPv6Network]:
    return [found for entry in settings.allowed_hosts if (found := _network(entry)) is not None]


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """An IPv4 address that is written as one of IPv6."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_ipv6(host: str) -> bool:
    """Without a zone: that is a thing of this machine."""
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False
