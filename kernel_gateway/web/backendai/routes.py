"""All routes of Backend.AI's API. `/kernel` is what `/session` was called before version 5."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tornado.routing import Matcher, Rule

from kernel_gateway.web.backendai import events, files, gql, sessions, stream
from kernel_gateway.web.backendai.handler import Desk, Unknown
from kernel_gateway.web.backendai.quota import Quota
from kernel_gateway.web.backendai.signing import SCHEMES

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest
    from tornado.web import RequestHandler

    from kernel_gateway.web.handler import Door

_S = "/(?:session|kernel)"
_NAME = r"([^/]+)"  # of a session, or its ID; Tornado resolves its percent signs afterwards

ROUTES: list[tuple[str, type[RequestHandler]]] = [
    (r"/manager/announcement", sessions.Announcement),
    (_S, sessions.Sessions),
    (rf"{_S}/_/.*", Unknown),  # templates and tasks: `_` stands where a name would
    (rf"{_S}/{_NAME}", sessions.Session),
    (rf"{_S}/{_NAME}/interrupt", sessions.Interrupt),
    (rf"{_S}/{_NAME}/complete", sessions.Complete),
    (rf"{_S}/{_NAME}/logs", sessions.Logs),
    (rf"{_S}/{_NAME}/upload", files.Upload),
    (rf"{_S}/{_NAME}/files", files.Files),
    (rf"{_S}/{_NAME}/download", files.Download),
    (rf"/stream{_S}/{_NAME}/execute", stream.Execute),
    (r"/events/session", events.Events),
    (r"/admin/gql", gql.GraphQL),
    # The rest of what the original has there.
    (rf"(?:/stream|/events|/admin|/manager|{_S})/.*", Unknown),
]


def routes(door: Door) -> list[Rule | tuple[str, type[RequestHandler], dict[str, Any]]]:
    """For the application, at the base URL and below the base path."""
    settings = door.settings.backendai
    desk = Desk(Quota(settings.rate_limit), settings.keep_alive_s)
    base = settings.base_path.strip("/")
    prefix = re.escape(door.settings.base_url) + (f"(?:/{re.escape(base)})?" if base else "")
    return [
        (rf"{prefix}/?", sessions.Probe, {"door": door}),
        *((prefix + route, handler, {"door": door, "desk": desk}) for route, handler in ROUTES),
        Rule(_Signed(), Unknown, {"door": door, "desk": desk}),
    ]


class _Signed(Matcher):
    """Whoever signs a call understands our errors, wherever the call goes to."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        scheme = request.headers.get("Authorization", "").partition(" ")[0].lower()
        return {} if scheme in SCHEMES else None
