"""All routes, and what they share. The one place where handlers, engine and tokens meet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tornado.web import Application

from kernel_gateway.web import health
from kernel_gateway.web.auth import Hosts, Origins, Tokens
from kernel_gateway.web.backendai.routes import routes as backendai_routes
from kernel_gateway.web.handler import Calls, Door, NoSuchRoute, access_log
from kernel_gateway.web.jupyter import channels, kernels, kernelspecs, sessions, status
from kernel_gateway.web.jupyter import health as kernel_health
from kernel_gateway.web.openapi import route as openapi
from kernel_gateway.web.runs import artifacts, events, execute, inspection, log, notebook, runs

if TYPE_CHECKING:
    from kernel_gateway.service import Keys, Service
    from kernel_gateway.web.settings import WebSettings

MAX_FRAME_BYTES = 16 * 2**20  # of a WebSocket, towards us
PING_S = 30.0  # a WebSocket whose client does not answer by the next one is closed

#: Ours and Jupyter's; those of Backend.AI have a list of their own.
ROUTES = [
    *health.ROUTES,
    *status.ROUTES,
    *kernelspecs.ROUTES,
    *kernels.ROUTES,
    *kernel_health.ROUTES,
    *channels.ROUTES,
    *sessions.ROUTES,
    *execute.ROUTES,
    *runs.ROUTES,
    *log.ROUTES,
    *events.ROUTES,
    *artifacts.ROUTES,
    *notebook.ROUTES,
    *inspection.ROUTES,
    *openapi.ROUTES,
]


def make_application(
    service: Service, settings: WebSettings, *, version: str, calls: Calls, keys: Keys
) -> Application:
    door = Door(
        service=service,
        tokens=Tokens(settings.owners),
        hosts=Hosts(settings.ip, settings.allowed_hosts, on_path=settings.sock is not None),
        origins=Origins(settings.origins),
        settings=settings,
        version=version,
        calls=calls,
        keys=keys,
    )
    arguments = {"door": door}
    base = re.escape(settings.base_url)
    return Application(
        [
            *((base + route, handler, arguments) for route, handler in ROUTES),
            # Who asks whether we live need not know the base.
            *((route, handler, arguments) for route, handler in health.PROBES if base),
            *backendai_routes(door),
        ],
        default_handler_class=NoSuchRoute,
        default_handler_args=arguments,
        log_function=access_log,
        websocket_max_message_size=MAX_FRAME_BYTES,
        websocket_ping_interval=PING_S,
        websocket_ping_timeout=PING_S,
    )
