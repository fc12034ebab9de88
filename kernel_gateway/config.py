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
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_core.paths import jupyter_data_dir
from traitlets import Bool, Dict, Enum, Float, Int, List, Unicode, default
from traitlets.config import Config, Configurable

from kernel_gateway.errors import Refused
from kernel_gateway.execution.languages import checked_images, merged
from kernel_gateway.execution.settings import EngineSettings
from kernel_gateway.kernels.settings import KernelSettings
from kernel_gateway.runs.log import LogLimits
from kernel_gateway.store.settings import StoreSettings
from kernel_gateway.web.settings import BackendAISettings, WebSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 2**20

_WEB = WebSettings(token="-")
_BACKENDAI = BackendAISettings()
_KERNELS = KernelSettings()
_ENGINE = EngineSettings()
_LOG = LogLimits()
_STORE = StoreSettings(folder=Path())


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
    ip = Unicode(
        config=True,
        help="Address to listen on, * for all. Default: KERNEL_GATEWAY_IP, else 127.0.0.1.",
    )
    port = Int(
        min=0,
        max=65535,
        config=True,
        help="Port to listen on, 0 for any free one. Default: KERNEL_GATEWAY_PORT, else 8888.",
    )
    port_retries = Int(
        _WEB.port_retries,
        min=0,
        config=True,
        help="How many ports after that are tried when it is taken.",
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
        help="Variables that a client may set for its kernel, beside those named KERNEL_*. "
        "PATH, LD_PRELOAD, PYTHONPATH and the like decide which programs run: name them with care.",
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
        if not token.strip():
            raise Refused("The token may not be empty. Leave it out and one is made at each start.")
        values = _values(self, WebSettings)
        more = {"token": token, "show_token": self._is_made, "backendai": backendai}
        return WebSettings(**{**values, **more})


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
        help="Characters at the end of a run's log kept in memory for its readers.",
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
CLASSES: list[type[Configurable]] = [Gateway, Web, BackendAI, Kernels, Runs, Languages, Store]


def read_settings(config: Config) -> Settings:
    """Raises `Refused`, and traitlets' `TraitError` for a value that a trait does not take."""
    gateway = Gateway(config=config)
    data_dir = Path(gateway.data_dir).expanduser().absolute()
    return Settings(
        data_dir=data_dir,
        drain_s=gateway.drain_s,
        web=Web(config=config).settings(BackendAI(config=config).settings()),
        kernels=Kernels(config=config).settings(),
        engine=Languages(config=config).settings(Runs(config=config).settings()),
        store=Store(config=config).settings(data_dir),
    )


def _values(traits: Configurable, settings: type[Any]) -> dict[str, Any]:
    """Of all fields that have a trait of the same name; lists become tuples."""
    names = set(settings.__dataclass_fields__) & set(traits.trait_names(config=True))
    values: Mapping[str, Any] = {name: getattr(traits, name) for name in names}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
