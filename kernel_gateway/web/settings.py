"""What a deployer can choose about the HTTP door, as plain frozen values.

Knows names, units and defaults. Must not know where they come from (`config.py` reads them from
traitlets) nor what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kernel_gateway.service import LOCAL_OWNER, Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendAISettings:
    #: Its routes are served below this path as well as at the root; empty: at the root alone.
    base_path: str = ""
    #: Calls that one key may make in 900 seconds.
    rate_limit: int = 30_000
    #: A stream of events says that it is there, in seconds.
    keep_alive_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    #: Opens every route. Never empty.
    token: str = field(repr=False)  # a repr gets into logs
    #: Whether the start-up line shows it: one that nobody chose is known from nowhere else.
    show_token: bool = False
    #: Whom that token belongs to.
    owner: Owner = LOCAL_OWNER
    #: Address to listen on; `*` is every one. `localhost` is both loopback addresses.
    ip: str = "127.0.0.1"
    #: 0: any free one.
    port: int = 8888
    #: How many ports after `port` are tried when it is taken.
    port_retries: int = 50
    #: Names that a Host header may carry beside those of the loopback. While we listen on the
    #: loopback alone every other name is refused; elsewhere they are checked when there are any.
    allowed_hosts: tuple[str, ...] = ()
    #: Variables of `env` in `POST /api/kernels` that are passed on, beside those named `KERNEL_*`.
    allowed_env: tuple[str, ...] = ()
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
    #: Of Backend.AI's API.
    backendai: BackendAISettings = BackendAISettings()
