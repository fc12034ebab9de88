"""Who calls, and from which page: tokens, the Host header, the Origin header.

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

from kernel_gateway.errors import HostRefused, InvalidField, OriginRefused, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tornado.httputil import HTTPServerRequest

    from kernel_gateway.service import Owner
    from kernel_gateway.web.settings import OriginSettings

#: A WebSocket's subprotocol that is none: the token follows, percent-encoded. Pages cannot set
#: headers of a WebSocket, and its address gets into logs.
TOKEN_PROTOCOL = "v1.token.websocket.jupyter.org."

_SCHEMES = {"token", "bearer"}
_SECRET = "[secret]"


@dataclass(frozen=True, slots=True)
class Caller:
    owner: Owner
    #: The token stood in a header, which no web page can make a browser send to us.
    by_header: bool


class Tokens:
    """The tokens that open the door, and whose they are."""

    def __init__(self, owners: Mapping[str, Owner]) -> None:
        self._owners = {token.encode(): owner for token, owner in owners.items()}

    def caller(self, request: HTTPServerRequest) -> Caller:
        """Raises `Unauthorized`."""
        in_header = _token_in_headers(request)
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
        return _token_in_headers(request) is not None or bool(_token_in_query(request))

    def _owner(self, token: bytes) -> Owner | None:
        """Each token is compared in full, so that the time tells nothing."""
        found = None
        for known, owner in self._owners.items():
            if hmac.compare_digest(known, token):
                found = owner
        return found


def _token_in_headers(request: HTTPServerRequest) -> bytes | None:
    in_header = _token_in_authorization(request)
    if in_header is None and is_upgrade(request):
        return token_in_subprotocols(request)
    return in_header


def _token_in_authorization(request: HTTPServerRequest) -> bytes | None:
    """None too for another scheme: a proxy in front of us may want Basic for itself."""
    scheme, *rest = request.headers.get("Authorization", "").split(maxsplit=1) or ("",)
    if scheme.lower() not in _SCHEMES or not rest:
        return None
    return rest[0].rstrip().encode("latin-1")  # as it came over the wire


def token_in_subprotocols(request: HTTPServerRequest) -> bytes | None:
    """The first, if there are several."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    found = (name.strip() for name in offered if name.strip().startswith(TOKEN_PROTOCOL))
    name = next(found, None)
    if name is None:
        return None
    return unquote_to_bytes(name.removeprefix(TOKEN_PROTOCOL).encode("latin-1"))


def is_upgrade(request: HTTPServerRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def check_upgrade(request: HTTPServerRequest) -> None:
    """Raises `InvalidField`."""
    if not is_upgrade(request):
        raise InvalidField({"Upgrade": "must be websocket: this is no call but a connection"})


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
    a tunnel may give us another one, and a page cannot win anything by it. No page can call a unix
    socket: there any name will do.
    """

    def __init__(self, ip: str, allowed: Sequence[str], *, on_path: bool = False) -> None:
        self._checked = not on_path and (bool(allowed) or is_loopback(ip))
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


class Origins:
    """The pages that may use us: our own, and those that the deployer allows.

    A browser says in `Origin` which page makes it call. What says nothing there is no browser.
    """

    def __init__(self, settings: OriginSettings) -> None:
        self._settings = settings
        self._allowed = {_origin(text) for text in settings.allow_origin}
        pattern = settings.allow_origin_pat
        self._pattern = re.compile(pattern) if pattern else None
        self._closed = not self._allowed and self._pattern is None

    def check(self, request: HTTPServerRequest) -> None:
        """Raises `OriginRefused`."""
        origin = request.headers.get("Origin")
        if origin is None or _is_own(origin, request) or self._is_allowed(origin):
            return
        raise OriginRefused(
            "Pages of another origin may not do this; the setting Web.allow_origin names those "
            "that may."
        )

    def headers(self, request: HTTPServerRequest) -> Mapping[str, str]:
        """With which a browser lets a page of another origin read the answer."""
        if self._closed:
            return {}
        origin = request.headers.get("Origin")
        if origin is None or not self._is_allowed(origin):
            return {"Vary": "Origin"}
        exposed = ", ".join(self._settings.expose_headers)
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            **({"Access-Control-Expose-Headers": exposed} if exposed else {}),
            **self._credentials(),
        }

    def is_preflight(self, request: HTTPServerRequest) -> bool:
        """A browser asks whether a page may make a call. It has no token yet, and needs none."""
        headers = request.headers
        return (
            request.method == "OPTIONS"
            and "Access-Control-Request-Method" in headers
            and self._is_allowed(headers.get("Origin", ""))
        )

    def preflight_headers(self) -> Mapping[str, str]:
        """The same for every path: nobody learns what there is."""
        settings = self._settings
        age = settings.max_age_s
        return {
            "Access-Control-Allow-Methods": ", ".join(settings.allow_methods),
            "Access-Control-Allow-Headers": ", ".join(settings.allow_headers),
            **({"Access-Control-Max-Age": str(age)} if age is not None else {}),
        }

    def _credentials(self) -> Mapping[str, str]:
        allowed = self._settings.allow_credentials
        return {"Access-Control-Allow-Credentials": "true"} if allowed else {}

    def _is_allowed(self, origin: str) -> bool:
        if not origin:
            return False
        if "*" in self._allowed or _origin(origin) in self._allowed:
            return True
        return self._pattern is not None and self._pattern.fullmatch(origin) is not None


def _is_own(origin: str, request: HTTPServerRequest) -> bool:
    return _origin(origin) == _origin(f"{request.protocol}://{request.host}")


def _origin(text: str) -> str:
    """As browsers write it: in lower case, without the port that its scheme has anyway."""
    origin = text.strip().lower().rstrip("/")
    scheme, _, _ = origin.partition(":")
    return origin.removesuffix({"http": ":80", "https": ":443"}.get(scheme, "/"))
