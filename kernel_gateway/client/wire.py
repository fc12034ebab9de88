"""How both clients use httpx: connections, requests, answers, and what its exceptions become.

Knows httpx and where the token goes: into a header of each request, and nowhere else.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx

from kernel_gateway.client.protocol import Answer, Call
from kernel_gateway.errors import UnexpectedAnswer, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel_gateway.client.address import Address

CONNECT_S = 10.0
WRITE_S = 60.0
#: Of a stream: the gateway says something every 15 seconds.
SILENCE_S = 45.0

#: A follower holds a connection for as long as its run takes, and there may be many.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


def http_options(address: Address, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """Of `httpx.Client` and `httpx.AsyncClient`. Redirects are not followed: the token would go
    with them."""
    ours = {
        "headers": {"Accept": "application/json", "User-Agent": "kernel-gateway-client"},
        "follow_redirects": False,
    }
    if address.is_on_this_machine:
        return ours  # with a transport of its own
    return {**ours, "verify": _tls(address, tls), "limits": _LIMITS}


def transport_options(address: Address, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """Of `httpx.HTTPTransport` and its asynchronous twin, for what is on this machine: it is not
    asked for through a proxy that the environment names."""
    return {
        "verify": _tls(address, tls),
        "trust_env": False,
        "limits": _LIMITS,
        "uds": address.socket,
    }


def _tls(address: Address, tls: ssl.SSLContext | None) -> ssl.SSLContext:
    """SSL_CERT_FILE counts, as everywhere. Reading the system's certificates takes a while, which
    is spared where no certificate will be seen; a context that trusts nobody is never too lax."""
    if tls is not None:
        return tls
    if address.url.startswith("https:"):
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def request_options(address: Address, call: Call[Any], read_s: float) -> dict[str, Any]:
    """Of `build_request`."""
    query = f"?{urlencode(call.query)}" if call.query else ""
    headers = [(name.encode(), value.encode()) for name, value in call.headers]
    if address.token is not None:
        headers.append((b"Authorization", b"token " + address.token.encode()))
    return {
        "method": call.verb,
        "url": f"{address.url}{call.path}{query}",
        "headers": headers,
        "content": call.body,
        "timeout": httpx.Timeout(
            connect=CONNECT_S, write=WRITE_S, read=read_s + call.wait_s, pool=None
        ),
    }


def answer_of(response: httpx.Response) -> Answer:
    """Of one that has been read."""
    return Answer(status=response.status_code, headers=_headers(response), body=response.content)


def head_of(response: httpx.Response) -> Answer:
    """Of one whose body is still to come."""
    return Answer(status=response.status_code, headers=_headers(response))


def streams(response: httpx.Response) -> bool:
    """Whether what follows is read piece by piece; an error is read at once."""
    return response.status_code < HTTPStatus.MULTIPLE_CHOICES


def _headers(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


@contextmanager
def wire_faults(address: Address) -> Iterator[None]:
    """What httpx raises comes out as ours."""
    try:
        yield
    except httpx.DecodingError as fault:
        raise UnexpectedAnswer(f"The answer of {address} cannot be read: {fault}") from fault
    except httpx.HTTPError as fault:
        raise Unreachable(f"{address} does not answer: {_words(fault)}") from fault


def _words(fault: httpx.HTTPError) -> str:
    return str(fault) or type(fault).__name__
