"""What a deployer can choose about the HTTP door, as plain frozen values.

Knows names, units and defaults. Must not know where they come from (`config.py` reads them from
traitlets) nor what is done with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernel_gateway.errors import Refused
from kernel_gateway.service import LOCAL_OWNER, Owner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kernel_gateway.messaging.strict_json import Json

JUPYTER_SERVER_FRAME_BYTES = 10 * 2**20

MAX_WAIT_S = 60  # that a call may ask to be held for
MAX_PAGE = 1000  # items of one answer

#: Segments of a URL's path, percent signs included; `.` and `..` no client would send as they are.
_BASE_URL = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendAISettings:
    #: Its routes are served below this path as well as at the root; empty: at the root alone.
    base_path: str = ""
    #: Calls that one key may make in 900 seconds.
    rate_limit: int = 30_000
    #: A stream of events says that it is there, in seconds.
    keep_alive_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginSettings:
    """Which pages of other origins may use us, and what their browsers let them do (CORS)."""

    #: As browsers write them, `https://lab.example`; `*` is every one.
    allow_origin: tuple[str, ...] = ()
    #: A regular expression for further ones; it must match the whole origin.
    allow_origin_pat: str | None = None
    #: Whether browsers may send what they keep for us: a client certificate, a password.
    allow_credentials: bool = False
    #: Headers that those pages may send.
    allow_headers: tuple[str, ...] = (
        "Authorization",
        "Content-Type",
        "If-None-Match",
        "If-Range",
        "Last-Event-ID",
        "Prefer",
        "Range",
    )
    #: Verbs that they may use.
    allow_methods: tuple[str, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE")
    #: Headers of our answers that they may read.
    expose_headers: tuple[str, ...] = (
        "Accept-Ranges",
        "Content-Disposition",
        "Content-Range",
        "ETag",
        "Location",
        "Preference-Applied",
        "Retry-After",
    )
    #: For how long browsers keep the answer to their question, in seconds; None: their own default.
    max_age_s: int | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.allow_origin_pat or "")
        except re.error as fault:
            raise Refused(f"Web.allow_origin_pat is no regular expression: {fault}.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Files in PEM. Without a certificate there is no TLS."""

    certfile: Path | None = None
    #: None: it is in the file of the certificate.
    keyfile: Path | None = None
    #: Clients must have a certificate of one of these authorities.
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    #: A message of a client above this closes its connection, with code 1009.
    max_message_bytes: int = 64 * 2**20
    #: Between two pings, in seconds; a client that does not answer until the next is gone. 0: none.
    ping_s: float = 30.0
    #: jupyter_server takes frames of 10 MiB; to which sockets no bigger ones are sent: `auto` is to
    #: those that look like one.
    small_frames: str = "auto"

    def frame_limit(self, *, is_jupyter_server: bool) -> int | None:
        """The most bytes of a frame to a client."""
        small = is_jupyter_server if self.small_frames == "auto" else self.small_frames == "always"
        return JUPYTER_SERVER_FRAME_BYTES if small else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    #: Opens every route. Never empty.
    token: str = field(repr=False)  # a repr gets into logs
    #: Whether the start-up line shows it: one that nobody chose is known from nowhere else.
    show_token: bool = False
    #: Whom that token belongs to.
    owner: Owner = LOCAL_OWNER
    #: Further tokens, by whom they belong to.
    owner_tokens: Mapping[Owner, str] = field(default_factory=dict, repr=False)
    #: All routes are below this path, as `/gw`; empty: at the root.
    base_url: str = ""
    #: Address to listen on; `*` is every one. `localhost` is both loopback addresses.
    ip: str = "127.0.0.1"
    #: 0: any free one.
    port: int = 8888
    #: How many ports after `port` are tried when it is taken.
    port_retries: int = 50
    #: A unix socket to listen on instead.
    sock: Path | None = None
    #: Who may use that, as the mode of a file.
    sock_mode: int = 0o600
    tls: TlsSettings = TlsSettings()
    origins: OriginSettings = OriginSettings()
    #: Names that a Host header may carry beside those of the loopback. While we listen on the
    #: loopback alone every other name is refused; elsewhere they are checked when there are any.
    allowed_hosts: tuple[str, ...] = ()
    #: Variables of `env` in `POST /api/kernels` that are passed on, beside those named `KERNEL_*`;
    #: patterns of the shell, which never mean a variable that decides which programs run.
    allowed_env: tuple[str, ...] = ()
    #: Folders in or below which `KERNEL_WORKING_DIR` must be; none: any that we may enter.
    allowed_working_dirs: tuple[Path, ...] = ()
    #: The most that a client can ask for by `KERNEL_LAUNCH_TIMEOUT`, in seconds.
    max_start_limit_s: float = 300.0
    #: Request bodies above this are refused before they are read.
    max_body_bytes: int = 64 * 2**20
    #: The code of one run, UTF-8.
    max_code_bytes: int = 32 * 2**20
    #: Request line and headers together.
    max_header_bytes: int = 64 * 2**10
    #: A connection that has sent no complete header for so long is closed, idle ones too.
    header_timeout_s: float = 75.0
    #: A request whose body is not complete after so long is given up.
    body_timeout_s: float = 300.0
    #: A stream of a run's events says that it is there, in seconds.
    events_ping_s: float = 15.0
    #: What `GET /api/limits` tells, by name.
    limits: Mapping[str, Json] = field(default_factory=dict)
    #: Of the channels of kernels.
    channels: ChannelSettings = ChannelSettings()
    #: Of Backend.AI's API.
    backendai: BackendAISettings = BackendAISettings()

    def __post_init__(self) -> None:
        tokens = [self.token, *self.owner_tokens.values()]
        if not all(token.strip() for token in tokens):
            raise Refused("A token may not be empty. Leave it out and one is made at each start.")
        if len(set(tokens)) < len(tokens):
            raise Refused("Two tokens are the same: then nobody knows whose a call is.")
        if not all(owner.strip() for owner in self.owner_tokens):
            raise Refused("The owner of a token needs a name.")
        if not _BASE_URL.fullmatch(self.base_url):
            raise Refused(f"Web.base_url must be a path as /gw, not {self.base_url!r}.")

    @property
    def owners(self) -> Mapping[str, Owner]:
        """Whose each token is."""
        return {
            **{token: owner for owner, token in self.owner_tokens.items()},
            self.token: self.owner,
        }


def normalised_base_url(text: str) -> str:
    """`gw/`, `/gw/` and `/gw` are the same; so are an empty one and `/`."""
    path = text.strip().strip("/")
    return f"/{path}" if path else ""
