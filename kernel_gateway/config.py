"""What a deployer can choose, read from files, environment and command line.

The one place below the commands that knows traitlets: each class becomes one of the packages'
frozen settings, and nothing else of the gateway ever sees a trait. Names of traits and of fields
are the same, so are their defaults. Precedence: command line, configuration file
(`kernel_gateway_config.py` or `.json` in Jupyter's configuration folders), environment, default.

| environment | trait |
|---|---|
| `KERNEL_GATEWAY_TOKEN`, else `JUPYTER_TOKEN` | `Web.token` |
| `KERNEL_GATEWAY_IP` | `Web.ip` |
| `KERNEL_GATEWAY_PORT` | `Web.port` |
| `KERNEL_GATEWAY_DATA_DIR` | `Gateway.data_dir` |
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_core.paths import jupyter_data_dir
from traitlets import Bool, Dict, Enum, Float, Int, List, Unicode, default
from traitlets.config import Config, Configurable

from kernel_gateway.errors import Refused
from kernel_gateway.execution.languages import checked_images, merged
from kernel_gateway.execution.settings import CullingSettings, EngineSettings
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.runs.answer import CONSOLE_CHARS
from kernel_gateway.runs.log import LogLimits
from kernel_gateway.service import Owner
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.web.settings import (
    MAX_PAGE,
    MAX_WAIT_S,
    BackendAISettings,
    ChannelSettings,
    OriginSettings,
    TlsSettings,
    WebSettings,
    normalised_base_url,
)
from kernel_gateway.webhooks.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.messaging.strict_json import Json

MIB = 2**20

_WEB = WebSettings(token="-")
_ORIGINS = OriginSettings()
_BACKENDAI = BackendAISettings()
_CHANNELS = ChannelSettings()
_KERNELS = KernelSettings()
_ENGINE = EngineSettings()
_CULLING = CullingSettings()
_LOG = LogLimits()
_STORE = StoreSettings(folder=Path())
_WEBHOOKS = WebhookSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything, for the composition root."""

    data_dir: Path
    drain_s: float
    web: WebSettings
    kernels: KernelSettings
    engine: EngineSettings
    store: StoreSettings  # its folder is `data_dir`; headless runs take one of their own below it


class Gateway(Configurable):
    """Where the gateway keeps its things, and how it ends."""

    data_dir = Unicode(
        config=True,
        help="Folder of the runs and their logs, private to one gateway. Default: "
        "KERNEL_GATEWAY_DATA_DIR, else kernel_gateway in Jupyter's data folder.",
    )
    drain_s = Float(
        30.0,
        min=0.0,
        config=True,
        help="Seconds that running code may go on after SIGTERM or Ctrl-C, before it is ended.",
    )

    @default("data_dir")
    def _data_dir_default(self) -> str:
        folder = os.environ.get("KERNEL_GATEWAY_DATA_DIR")
        return folder or str(Path(jupyter_data_dir(), "kernel_gateway"))


class Web(Configurable):
    """The HTTP door: where it listens, who may come in, how much may be sent."""

    token = Unicode(
        config=True,
        help="Opens every route. Better in KERNEL_GATEWAY_TOKEN (or JUPYTER_TOKEN) than on a "
        "command line, which every user of the machine can read. Default: a new one at each "
        "start, shown in the first line of the log.",
    )
    owner_tokens = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        config=True,
        help="Further tokens, by whom they belong to; what belongs to somebody else does not exist "
        "for a caller. For example {'ada': '...', 'alan': '...'}, in a file that others cannot "
        "read.",
    )
    base_url = Unicode(
        config=True,
        help="A path below which all routes are, as /gw, for a proxy that passes it on.",
    )
    ip = Unicode(
        _WEB.ip,
        config=True,
        help="Address to listen on: * is every one, :: every one of IPv6, localhost both of the "
        "loopback. KERNEL_GATEWAY_IP sets it, too.",
    )
    port = Int(
        _WEB.port,
        min=0,
        max=65535,
        config=True,
        help="Port to listen on, 0 for any free one. KERNEL_GATEWAY_PORT sets it, too.",
    )
    port_retries = Int(
        _WEB.port_retries,
        min=0,
        config=True,
        help="How many ports after that are tried when it is taken.",
    )
    sock = Unicode(
        config=True,
        help="Path of a unix socket to listen on, instead of an address and a port.",
    )
    sock_mode = Unicode(
        f"{_WEB.sock_mode:04o}",
        config=True,
        help="Who may use the unix socket, as the octal mode of its file.",
    )
    certfile = Unicode(
        config=True,
        help="File of our certificate in PEM, with those that lead to its authority; then we speak "
        "TLS (1.2 or newer) and nothing else.",
    )
    keyfile = Unicode(
        config=True,
        help="File of its private key in PEM, not encrypted. Default: it is in certfile.",
    )
    client_ca = Unicode(
        config=True,
        help="File of authorities in PEM. Clients must have a certificate of one of them, beside "
        "their token.",
    )
    allow_origin = List(
        Unicode(),
        config=True,
        help="Origins, as https://lab.example, whose pages may call us from a browser and read the "
        "answers; '*' is every one. Default: our own alone.",
    )
    allow_origin_pat = Unicode(
        _ORIGINS.allow_origin_pat,
        allow_none=True,
        config=True,
        help="A regular expression for further origins; it must match the whole origin.",
    )
    allow_credentials = Bool(
        _ORIGINS.allow_credentials,
        config=True,
        help="Whether a browser may send what it keeps for us along with the calls of those pages, "
        "such as a client certificate.",
    )
    allow_headers = List(
        Unicode(),
        list(_ORIGINS.allow_headers),
        config=True,
        help="Headers that those pages may send.",
    )
    allow_methods = List(
        Unicode(),
        list(_ORIGINS.allow_methods),
        config=True,
        help="Methods that those pages may use.",
    )
    expose_headers = List(
        Unicode(),
        list(_ORIGINS.expose_headers),
        config=True,
        help="Headers of our answers that those pages may read.",
    )
    max_age_s = Int(
        _ORIGINS.max_age_s,
        min=0,
        allow_none=True,
        config=True,
        help="Seconds for which a browser need not ask again whether a page may call us "
        "(Access-Control-Max-Age). Default: the browser's own.",
    )
    allowed_hosts = List(
        Unicode(),
        config=True,
        help="Names by which clients may call us (the Host header) beside those of the loopback. "
        "On the loopback all others are refused; elsewhere names are checked if any is given.",
    )
    allowed_env = List(
        Unicode(),
        config=True,
        help="Variables that a client may set for its kernel, beside those named KERNEL_*; "
        "patterns of the shell. PATH, LD_*, PYTHON* and others that decide which programs run are "
        "never meant by a pattern, only by their full name.",
    )
    allowed_working_dirs = List(
        Unicode(),
        config=True,
        help="Folders in which, and below which, a client may have its kernel begin "
        "(KERNEL_WORKING_DIR). Default: any that the gateway may enter.",
    )
    max_start_limit_s = Float(
        _WEB.max_start_limit_s,
        min=0.0,
        config=True,
        help="The most seconds for a start that a client may ask for by KERNEL_LAUNCH_TIMEOUT.",
    )
    max_body_bytes = Int(
        _WEB.max_body_bytes,
        min=1024,
        config=True,
        help="Bytes of a request's body; a longer one is refused before it is read.",
    )
    max_code_bytes = Int(
        _WEB.max_code_bytes, min=1024, config=True, help="Bytes of the code of one run, as UTF-8."
    )
    max_header_bytes = Int(
        _WEB.max_header_bytes,
        min=1024,
        config=True,
        help="Bytes of a request's first line and headers together.",
    )
    header_timeout_s = Float(
        _WEB.header_timeout_s,
        min=1.0,
        config=True,
        help="Seconds after which a connection without a complete request is closed.",
    )
    events_ping_s = Float(
        _WEB.events_ping_s,
        min=0.001,
        config=True,
        help="Seconds after which a stream of a run's events without any says that it is there.",
    )
    body_timeout_s = Float(
        _WEB.body_timeout_s,
        min=1.0,
        config=True,
        help="Seconds after which a request whose body is not complete is given up.",
    )

    @default("token")
    def _token_default(self) -> str:
        for name in ("KERNEL_GATEWAY_TOKEN", "JUPYTER_TOKEN"):
            if name in os.environ:
                return os.environ[name]
        self._is_made = True
        return secrets.token_hex(24)

    @default("ip")
    def _ip_default(self) -> str:
        return os.environ.get("KERNEL_GATEWAY_IP") or _WEB.ip

    @default("port")
    def _port_default(self) -> int:
        text = os.environ.get("KERNEL_GATEWAY_PORT") or str(_WEB.port)
        if not (text.isascii() and text.isdigit() and int(text) < 2**16):
            raise Refused(f"KERNEL_GATEWAY_PORT must be a port (0 to 65535), not {text!r}.")
        return int(text)

    _is_made = False

    def settings(self, backendai: BackendAISettings) -> WebSettings:
        token = self.token
        values = {
            **_values(self, WebSettings),
            "token": token,
            "show_token": self._is_made,
            "owner_tokens": {Owner(owner): one for owner, one in self.owner_tokens.items()},
            "base_url": normalised_base_url(self.base_url),
            "sock": _path(self.sock),
            "sock_mode": self._mode(),
            "tls": TlsSettings(
                certfile=_path(self.certfile),
                keyfile=_path(self.keyfile),
                client_ca=_path(self.client_ca),
            ),
            "origins": OriginSettings(**_values(self, OriginSettings)),
            "allowed_working_dirs": tuple(
                Path(folder).expanduser().absolute() for folder in self.allowed_working_dirs
            ),
            "backendai": backendai,
        }
        return WebSettings(**values)

    def _mode(self) -> int:
        text = self.sock_mode
        if not re.fullmatch(r"(0o?)?[0-7]{3}", text):
            raise Refused(f"Web.sock_mode must be octal as 0600, not {text!r}.")
        return int(text, 8)


class BackendAI(Configurable):
    """The routes that clients of Backend.AI use."""

    base_path = Unicode(
        _BACKENDAI.base_path,
        config=True,
        help="A path below which they are served, too, as /bai; for an endpoint with a path.",
    )
    rate_limit = Int(
        _BACKENDAI.rate_limit,
        min=1,
        config=True,
        help="Calls that one access key may make in 900 seconds; one more is told so (429).",
    )
    keep_alive_s = Float(
        _BACKENDAI.keep_alive_s,
        min=0.001,
        config=True,
        help="Seconds after which a stream of events without any says that it is still there.",
    )

    def settings(self) -> BackendAISettings:
        return BackendAISettings(**_values(self, BackendAISettings))


class Channels(Configurable):
    """The channels of kernels, as JupyterLab and others use them over WebSockets."""

    max_message_bytes = Int(
        _CHANNELS.max_message_bytes,
        min=1024,
        config=True,
        help="Bytes of a message from a client; a longer one closes its connection (1009).",
    )
    ping_s = Float(
        _CHANNELS.ping_s,
        min=0.0,
        config=True,
        help="Seconds between two pings; a client that has not answered by the next is taken for "
        "gone. 0: none is sent.",
    )
    small_frames = Enum(
        ["auto", "always", "never"],
        _CHANNELS.small_frames,
        config=True,
        help="jupyter_server takes no frame above 10 MiB from a gateway. auto: bigger messages are "
        "cut for sockets that look like one; always, never: for all, for none.",
    )
    spool_bytes = Int(
        _ENGINE.spool_bytes,
        min=2**16,
        config=True,
        help="Bytes that are kept of what a kernel has said, for clients that are slow or away; "
        "beyond, the oldest output goes with a notice. The log of each run has it all.",
    )
    max_clients = Int(
        _ENGINE.max_clients,
        min=1,
        config=True,
        help="Clients connected to the channels of one kernel.",
    )
    absence_s = Float(
        _ENGINE.absence_s,
        min=0.0,
        config=True,
        help="Seconds after which a client that has gone is told nothing of what it has missed.",
    )
    absent_clients = Int(
        _ENGINE.absent_clients,
        min=0,
        config=True,
        help="Clients of one kernel that have gone and may come back; the latest ones.",
    )
    max_cells = Int(
        _ENGINE.max_cells,
        min=1,
        config=True,
        help="Cells of clients that wait in one kernel; with one more its client is closed (1013).",
    )

    def settings(self) -> ChannelSettings:
        return ChannelSettings(**_values(self, ChannelSettings))

    def added_to(self, engine: EngineSettings) -> EngineSettings:
        return replace(engine, **_values(self, EngineSettings))


class Kernels(Configurable):
    """How kernels are found, started and talked to."""

    default_spec = Unicode(
        _KERNELS.default_spec,
        allow_none=True,
        config=True,
        help="Kernelspec for requests that name none. Default: python3, else the first there is.",
    )
    spec_folders = List(
        Unicode(),
        config=True,
        help="Folders of kernelspecs that are searched before Jupyter's own.",
    )
    transport = Enum(
        ["ipc", "tcp"],
        _KERNELS.transport,
        config=True,
        help="How we talk to kernels; tcp is taken anyway where a socket's path gets too long.",
    )
    transport_encryption = Enum(
        ["disabled", "auto", "required"],
        _KERNELS.transport_encryption,
        config=True,
        help="CurveZMQ. auto: on tcp, where the kernelspec declares it. required: or no start.",
    )
    history = Bool(
        _KERNELS.history,
        config=True,
        help="Whether ipykernel writes its SQLite history; it costs half of a cell's time.",
    )
    runtime_dir = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Where each kernel's private folder is made; the shorter the better. "
        "Default: XDG_RUNTIME_DIR, else the temporary folder.",
    )
    descriptors = Int(
        _KERNELS.descriptors,
        min=64,
        allow_none=True,
        config=True,
        help="Files and connections that a kernel may have open (ulimit -n). Default: as many as "
        "the gateway was started with; it raises its own limit, and not that of kernels.",
    )
    nice = Int(
        _KERNELS.nice,
        min=0,
        max=19,
        config=True,
        help="How much kernels step back behind the gateway when processors are short, as by "
        "nice(1). With 10 a kernel gets a tenth of what the gateway may have.",
    )
    fork_server = Bool(
        _KERNELS.fork_server,
        config=True,
        help="Whether ipykernels of the gateway's own Python are forked from a fork server, a "
        "process that has imported what they need, which takes a fifth of the time of a start.",
    )
    fork_servers = Int(
        _KERNELS.fork_servers,
        min=1,
        config=True,
        help="Fork servers at one time, each with its imports in memory. Every owner of kernels "
        "needs his own; where there is none for him, they are started as usual.",
    )
    fork_preload = List(
        Unicode(),
        list(_KERNELS.fork_preload),
        config=True,
        help="Modules that fork servers import, so that no kernel need. For example ['pandas'].",
    )
    fork_environment = List(
        Unicode(),
        list(_KERNELS.fork_environment),
        config=True,
        help="More variables that modules read when they are imported, as patterns of the shell: "
        "kernels that differ in one have different fork servers, and are not warm for each other.",
    )
    env_passlist = List(
        Unicode(),
        list(_KERNELS.env_passlist),
        config=True,
        help="Which of the gateway's own variables kernels inherit, as patterns of the shell.",
    )
    env_secrets = List(
        Unicode(),
        list(_KERNELS.env_secrets),
        config=True,
        help="Which of them no kernel ever sees, whatever env_passlist says.",
    )

    def settings(self) -> KernelSettings:
        return KernelSettings(
            **{
                **_values(self, KernelSettings),
                "spec_folders": tuple(Path(folder) for folder in self.spec_folders),
                "runtime_dir": Path(self.runtime_dir) if self.runtime_dir else None,
            }
        )


class Runs(Configurable):
    """Queues, limits and logs of runs."""

    queue_bound = Int(
        _ENGINE.queue_bound,
        min=1,
        config=True,
        help="Runs that may wait for one kernel; one more is told to come back (429).",
    )
    max_kernels = Int(
        _ENGINE.max_kernels,
        min=1,
        allow_none=True,
        config=True,
        help="Kernels at one time. Default: no limit.",
    )
    max_kernels_per_owner = Int(
        _ENGINE.max_kernels_per_owner,
        min=1,
        allow_none=True,
        config=True,
        help="Kernels at one time that belong to one owner. Default: no limit.",
    )
    max_kernels_per_spec = Dict(
        Int(min=0),
        config=True,
        help="Kernels at one time by the name of their kernelspec; those that are not named have "
        "no limit. For example {'python3': 20, 'ir': 2}.",
    )
    own_kernels = Int(
        _ENGINE.own_kernels,
        min=1,
        config=True,
        help="Runs at one time that have kernels of their own; the others wait for their turn.",
    )
    warm = Dict(
        Int(min=0),
        config=True,
        help="By the name of a kernelspec, how many warm kernels each owner has, started before "
        "he asks. For example {'python3': 2}. Default: none.",
    )
    warm_memory = Int(
        _ENGINE.warm_memory,
        min=0,
        config=True,
        help="Bytes of memory that all warm kernels may take together; those of the owner who has "
        "not come for the longest time are ended first.",
    )
    command_spec = Unicode(
        _ENGINE.command_spec,
        config=True,
        help="Kernelspec that executes the shell commands of batch runs.",
    )
    run_limit_s = Float(
        _ENGINE.run_limit_s,
        min=0.001,
        allow_none=True,
        config=True,
        help="Seconds that a run may take from its first step on; then it is ended with exit code "
        "124. Default: no limit.",
    )
    archive_bytes = Int(
        _ENGINE.archive_bytes,
        min=MIB,
        config=True,
        help="Bytes of an archive of a session's files; a download of more is refused.",
    )
    start_limit_s = Float(
        _ENGINE.start_limit_s, min=0.1, config=True, help="Seconds for a kernel to come up."
    )
    health_limit_s = Float(
        _ENGINE.health_limit_s,
        min=0.1,
        config=True,
        help="Seconds that a kernel has to say that it is well, and so has the user's own check.",
    )
    shutdown_grace_s = Float(
        _ENGINE.shutdown_grace_s,
        min=0.0,
        config=True,
        help="Seconds between asking a kernel to end and ending its processes.",
    )
    restart_limit = Int(
        _ENGINE.restart_limit,
        min=0,
        config=True,
        help="Deaths of a kernel in a row, no run ending well in between, before it stays dead.",
    )
    restart_backoff_s = Float(
        _ENGINE.restart_backoff_s,
        min=0.0,
        config=True,
        help="Seconds before the second restart in a row; doubles with each.",
    )
    restart_backoff_most_s = Float(
        _ENGINE.restart_backoff_most_s,
        min=0.0,
        config=True,
        help="The most seconds before a restart.",
    )
    recent_runs = Int(
        _ENGINE.recent_runs,
        min=1,
        config=True,
        help="Finished runs kept in memory, to which late output of their threads still belongs.",
    )
    tail_chars = Int(
        _ENGINE.tail_chars,
        min=1024,
        config=True,
        help="Characters at the end of a run's log kept in memory; four times as many while read.",
    )
    sweep_every_s = Float(
        _ENGINE.sweep_every_s,
        min=1.0,
        config=True,
        help="Seconds between two looks for runs whose retention is over.",
    )
    line_bytes = Int(
        _LOG.line_bytes,
        min=1024,
        config=True,
        help="Bytes of one line of output; a longer one is cut with a notice.",
    )
    inline_bytes = Int(
        _LOG.inline_bytes,
        min=1024,
        config=True,
        help="Bytes of one value of a display; a bigger one is kept beside the log.",
    )
    record_chars = Int(
        _LOG.record_chars,
        min=1024,
        config=True,
        help="Characters of one log record; longer text takes several.",
    )
    artifact_count = Int(
        _LOG.artifact_count,
        min=0,
        config=True,
        help="Artifacts kept of one run: its files, pictures, and what was too big to be inline.",
    )
    artifact_bytes = Int(
        _LOG.artifact_bytes,
        min=0,
        config=True,
        help="Bytes of all artifacts of one run; what goes beyond is not kept, and said so.",
    )
    log_bytes = Int(
        _LOG.log_bytes,
        min=MIB,
        config=True,
        help="Bytes of text kept of one run; further text is dropped and counted.",
    )
    preview_chars = Int(
        _LOG.preview_chars,
        min=0,
        config=True,
        help="Characters shown of a value that is kept beside the log.",
    )

    retention_s = Float(
        _ENGINE.retention_s,
        min=0.0,
        config=True,
        help="Seconds that a run is kept after its end; then its ID answers 410.",
    )

    def settings(self) -> EngineSettings:
        limits = LogLimits(**_values(self, LogLimits))
        return EngineSettings(**{**_values(self, EngineSettings), "log": limits})


class Webhooks(Configurable):
    """Calls that tell others how a run goes on."""

    allowed_hosts = List(
        Unicode(),
        config=True,
        help="Hosts that may be called whatever their address: names as patterns of the shell "
        "(*.example.com), addresses and networks (10.1.0.0/16). Others are called by public "
        "addresses alone.",
    )
    allow_public = Bool(
        _WEBHOOKS.allow_public,
        config=True,
        help="Whether hosts with public addresses may be called; false: allowed_hosts alone.",
    )
    tries = Int(
        _WEBHOOKS.tries, min=1, config=True, help="Tries of one delivery, before it is given up."
    )
    first_pause_s = Float(
        _WEBHOOKS.first_pause_s,
        min=0.01,
        config=True,
        help="Seconds before the second try; doubles with each.",
    )
    most_pause_s = Float(
        _WEBHOOKS.most_pause_s,
        min=0.01,
        config=True,
        help="The most seconds before a try, whatever the receiver asks for (Retry-After).",
    )
    timeout_s = Float(
        _WEBHOOKS.timeout_s, min=0.1, config=True, help="Seconds of one try, until its answer."
    )
    every_s = Float(
        _WEBHOOKS.every_s,
        min=0.0,
        config=True,
        help="Seconds between two deliveries of one run that bring nothing but text.",
    )
    drain_s = Float(
        _WEBHOOKS.drain_s,
        min=0.0,
        config=True,
        help="Seconds for what is still to be delivered when the gateway shuts down; the rest is "
        "delivered after its next start.",
    )

    def settings(self, engine: EngineSettings) -> EngineSettings:
        return replace(engine, webhooks=WebhookSettings(**_values(self, WebhookSettings)))


class Culling(Configurable):
    """Which kernels are ended because nobody uses them any more. Off by default."""

    cull_idle_timeout = Float(
        _CULLING.cull_idle_timeout,
        min=0.0,
        config=True,
        help="Seconds after which a kernel without any activity is ended; 0: never. A kernelspec "
        "may say otherwise (metadata.kernel_gateway.cull_idle_timeout in its kernel.json), and so "
        "may who starts a kernel (KERNEL_CULL_IDLE_TIMEOUT in env).",
    )
    cull_idle_most_s = Float(
        _CULLING.cull_idle_most_s,
        min=1.0,
        allow_none=True,
        config=True,
        help="The most seconds that those two can ask for; who asks for never gets as many. "
        "Default: no limit.",
    )
    cull_interval = Float(
        _CULLING.cull_interval,
        min=1.0,
        config=True,
        help="Seconds until an idle kernel that is kept for its clients is looked at again.",
    )
    cull_connected = Bool(
        _CULLING.cull_connected,
        config=True,
        help="Whether idle kernels are ended though clients are connected to them.",
    )
    cull_busy = Bool(
        _CULLING.cull_busy,
        config=True,
        help="Whether kernels are ended while they execute something, or runs wait for them, when "
        "nothing has come from them for so long.",
    )
    cull_sessions = Bool(
        _CULLING.cull_sessions,
        config=True,
        help="Whether sessions that have a folder of their own (Backend.AI's) are ended, too.",
    )
    untracked_message_types = List(
        Unicode(),
        list(_CULLING.untracked_message_types),
        config=True,
        help="Messages of clients that are no activity: they are sent without a user's doing.",
    )

    def settings(self, engine: EngineSettings) -> EngineSettings:
        return replace(engine, culling=CullingSettings(**_values(self, CullingSettings)))


class Languages(Configurable):
    """What sessions are made of by their image, and what the steps of a batch run do."""

    languages = Dict(
        config=True,
        help="By the name of a language what is different from its default, or all of a new one: "
        "kernelspec, names (aliases, and images without registry and tag), and the shell commands "
        "that * stands for in a batch run: clean, build, exec. For example "
        "{'python': {'kernelspec': 'xpython', 'build': 'pip install -r requirements.txt'}}.",
    )
    images = Dict(
        config=True,
        help="By an image, exactly as clients write it, the language or the kernelspec it stands "
        "for; others go by their name alone. For example {'lab.example/ml:2': 'python'}.",
    )

    def settings(self, engine: EngineSettings) -> EngineSettings:
        return replace(engine, languages=merged(self.languages), images=checked_images(self.images))


class Store(Configurable):
    """How runs and their logs are kept on disk."""

    durability = Enum(
        ["normal", "full"],
        _STORE.durability,
        config=True,
        help="normal survives the end of the gateway, full a loss of power too (and is slower).",
    )
    expired_s = Float(
        _STORE.expired_s,
        min=0.0,
        config=True,
        help="Seconds after that in which its ID is still known as expired; then 404.",
    )
    busy_timeout_s = Float(
        _STORE.busy_timeout_s,
        min=0.0,
        config=True,
        help="Seconds to wait for another's transaction before the store counts as unavailable.",
    )
    retry_first_s = Float(
        _STORE.retry_first_s,
        min=0.01,
        config=True,
        help="Seconds before a commit that failed is tried again; doubles each time.",
    )
    retry_max_s = Float(
        _STORE.retry_max_s, min=0.01, config=True, help="The most seconds before such a try."
    )
    close_limit_s = Float(
        _STORE.close_limit_s,
        min=0.0,
        config=True,
        help="Seconds that the end of the gateway waits for a disk that does not take the rest.",
    )

    def settings(self, folder: Path) -> StoreSettings:
        return StoreSettings(**{**_values(self, StoreSettings), "folder": folder})


#: What `--help-all` and a generated configuration file list.
CLASSES: list[type[Configurable]] = [
    Gateway,
    Web,
    BackendAI,
    Channels,
    Kernels,
    Runs,
    Webhooks,
    Culling,
    Languages,
    Store,
]


def read_settings(config: Config) -> Settings:
    """Raises `Refused`, and traitlets' `TraitError` for a value that a trait does not take."""
    gateway = Gateway(config=config)
    data_dir = Path(gateway.data_dir).expanduser().absolute()
    engine = _engine(config)
    web = replace(
        Web(config=config).settings(BackendAI(config=config).settings()),
        channels=Channels(config=config).settings(),
    )
    return Settings(
        data_dir=data_dir,
        drain_s=gateway.drain_s,
        web=replace(web, limits=_limits(web, engine)),
        kernels=Kernels(config=config).settings(),
        engine=engine,
        store=Store(config=config).settings(data_dir),
    )


def _limits(web: WebSettings, engine: EngineSettings) -> dict[str, Json]:
    """What callers are told of all this: bytes, characters, seconds and counts."""
    return {
        "line_bytes": engine.log.line_bytes,
        "inline_bytes": engine.log.inline_bytes,
        "log_bytes": engine.log.log_bytes,
        "artifact_count": engine.log.artifact_count,
        "artifact_bytes": engine.log.artifact_bytes,
        "console_chars": CONSOLE_CHARS,
        "body_bytes": web.max_body_bytes,
        "code_bytes": web.max_code_bytes,
        "wait_s": MAX_WAIT_S,
        "page": MAX_PAGE,
        "queue": engine.queue_bound,
        "own_kernels": engine.own_kernels,
        "kernels": engine.max_kernels,
        "kernels_per_owner": engine.max_kernels_per_owner,
        "retention_s": engine.retention_s,
        "limits": {
            "start": engine.start_limit_s,
            "step": None,
            "run": None,
            "idle": None,
            "queue": None,
            "input": None,
        },
        "webhook_tries": engine.webhooks.tries,
    }


def _path(text: str) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


def _engine(config: Config) -> EngineSettings:
    engine = Culling(config=config).settings(Runs(config=config).settings())
    engine = Webhooks(config=config).settings(engine)
    return Channels(config=config).added_to(Languages(config=config).settings(engine))


def _values(traits: Configurable, settings: type[Any]) -> dict[str, Any]:
    """Of all fields that have a trait of the same name; lists become tuples."""
    names = set(settings.__dataclass_fields__) & set(traits.trait_names(config=True))
    values: Mapping[str, Any] = {name: getattr(traits, name) for name in names}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
