"""How calls of Backend.AI's API are signed, and how a signature is checked.

Knows the header, the string to sign and dates; takes *now* as an argument. Must not know who has
which secret, nor HTTP requests: what of a call is signed comes as a value.

The rules are those of the client, not of the published documentation: the body is never signed, the
content type is bare and lower case, the version line is `x-backendai-version`, and the date is
signed as the very text of its header.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from kernel_gateway.errors import BadSigning

MAX_SKEW = timedelta(minutes=15)

#: What aiohttp takes a request without a content type for; a WebSocket has none.
DEFAULT_CONTENT_TYPE = "application/octet-stream"

SCHEMES = frozenset({"backendai", "sorna"})

_HEADER = re.compile(r"(\S+)\s+(.*)", re.DOTALL)
_METHOD = re.compile(r"hmac-(\w+)", re.IGNORECASE)
_BROKEN = {"md5", "shake_128", "shake_256"}
_ALGORITHMS = hashlib.algorithms_guaranteed - _BROKEN

#: Signed against where the key is unknown, so that the time does not tell that it is.
_NOBODYS_SECRET = secrets.token_hex(20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What an `Authorization` header says."""

    algorithm: str  # a name of hashlib
    access_key: str
    signature: str  # hexadecimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCall:
    """What of a call is signed, each as it stood on the wire."""

    method: str
    target: str  # path and query
    date: str
    host: str  # with its port
    content_type: str  # bare and in lower case: `bare_type`
    version: str
    version_header: str = "x-backendai-version"


def read_credential(header: str) -> Credential:
    """Raises `BadSigning`."""
    match = _HEADER.fullmatch(header.strip())
    if match is None or match[1].lower() not in SCHEMES:
        raise BadSigning("The Authorization header must begin with 'BackendAI'.")
    values = dict(_pair(part) for part in match[2].split(","))
    access_key, colon, signature = values.get("credential", "").partition(":")
    if not (access_key and colon and signature):
        raise BadSigning("The Authorization header needs credential=<ACCESS KEY>:<SIGNATURE>.")
    return Credential(
        algorithm=_algorithm(values.get("signMethod", "")),
        access_key=access_key,
        signature=signature.lower(),
    )


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip(), value.strip()


def _algorithm(method: str) -> str:
    match = _METHOD.fullmatch(method)
    name = match[1].lower() if match else ""
    if name not in _ALGORITHMS:
        raise BadSigning("The signMethod must be HMAC-SHA256, or another HMAC that is still sound.")
    return name


def bare_type(header: str) -> str:
    """Of a `Content-Type` header: without parameters, as the client signs it."""
    return header.partition(";")[0].strip().lower() or DEFAULT_CONTENT_TYPE


def check_date(text: str, now: datetime) -> datetime:
    """The date of a call made about *now*. Raises `BadSigning`."""
    if not text:
        raise BadSigning("A Date header is needed (or X-BackendAI-Date).")
    date = _date(text)
    if abs(date - now) > MAX_SKEW:
        raise BadSigning("The Date header is more than 15 minutes off; look at both clocks.")
    return date


def _date(text: str) -> datetime:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = read(text)
        except (ValueError, TypeError, OverflowError):
            continue
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    raise BadSigning("The Date header cannot be read: ISO 8601 with an offset is wanted.")


def is_signed(call: SignedCall, date: datetime, credential: Credential, secret: str | None) -> bool:
    """Whether whoever made the call has the secret; never for an unknown key (None)."""
    known = secret if secret is not None else _NOBODYS_SECRET
    expected = signature(call, date, known, credential.algorithm)
    same = hmac.compare_digest(expected.encode(), credential.signature.encode())
    return same and secret is not None


def signature(call: SignedCall, date: datetime, secret: str, algorithm: str) -> str:
    """In hexadecimal. `date` is that of `call.date`, whose day the key is made for."""
    day = date.strftime("%Y%m%d")
    day_key = hmac.digest(secret.encode(), day.encode(), algorithm)
    host_key = hmac.digest(day_key, call.host.encode(), algorithm)
    return hmac.digest(host_key, _string_to_sign(call, algorithm), algorithm).hex()


def _string_to_sign(call: SignedCall, algorithm: str) -> bytes:
    lines = (
        call.method.upper(),
        call.target,
        call.date,
        f"host:{call.host}",
        f"content-type:{call.content_type}",
        f"{call.version_header}:{call.version}",
        hashlib.new(algorithm, b"").hexdigest(),  # whatever the body is
    )
    return "\n".join(lines).encode()
