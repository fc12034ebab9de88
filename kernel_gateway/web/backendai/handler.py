"""What the routes of Backend.AI's API have in common: who calls, how often, how errors look.

Knows HTTP and Tornado. Must not know what any route does. Host, signature, version, quota and size
are looked at before a byte of the body is read. The gateway's own token opens these routes, too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from kernel_gateway.errors import (
    AdminsOnly,
    GatewayError,
    MethodNotAllowed,
    RouteNotFound,
    Unauthorized,
)
from kernel_gateway.web.auth import Caller
from kernel_gateway.web.backendai import problems, quota, signing, versions
from kernel_gateway.web.backendai.problems import problem_of
from kernel_gateway.web.handler import Handler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tornado.web import HTTPError

    from kernel_gateway.messaging.strict_json import Json
    from kernel_gateway.service import ApiKey, SessionView
    from kernel_gateway.web.backendai.problems import Problem
    from kernel_gateway.web.handler import Door


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers of this API share beside the door."""

    quota: quota.Quota
    keep_alive_s: float


class BackendAIHandler(Handler):
    #: The client says it, others need not.
    needs_json_type = False

    _calls_left: int | None = None
    access_key: str | None = None  # that has signed the call; None: it came with the token

    def initialize(self, door: Door, desk: Desk) -> None:  # type: ignore[override]
        super().initialize(door)
        self.desk = desk

    # -- before the body -------------------------------------------------------------------------

    def set_default_headers(self) -> None:
        """Tornado asks again before it writes an error, for which all headers are made anew."""
        super().set_default_headers()
        if self._calls_left is not None:
            self.set_header("X-RateLimit-Limit", self.desk.quota.limit)
            self.set_header("X-RateLimit-Remaining", self._calls_left)
            self.set_header("X-RateLimit-Window", quota.WINDOW_S)

    async def prepare(self) -> None:
        self.take_over()
        try:
            self.door.hosts.check(self.request.host)
            if self.is_preflight():
                return
            caller = await self._who_calls()
            versions.check_version(self._version())
            self._count(caller)
            self._override_method()
            self.admit(caller)
            self.check_owner(self.get_query_argument("owner_access_key", None))
        except GatewayError as fault:
            self.turn_away(fault)

    async def _who_calls(self) -> Caller:
        scheme = self.request.headers.get("Authorization", "").partition(" ")[0].lower()
        if scheme not in signing.SCHEMES and self.door.tokens.spoken(self.request):
            return self.door.tokens.caller(self.request)
        key = await self._signer()
        self.access_key = key.access_key
        return Caller(key.owner, by_header=True)

    async def _signer(self) -> ApiKey:
        """Raises `BadSigning` and `Unauthorized`."""
        headers = self.request.headers
        text = headers.get("Date") or self._header("Date")
        date = signing.check_date(text, datetime.now(UTC))
        if "Authorization" not in headers:
            raise Unauthorized("The call is not signed.")
        credential = signing.read_credential(headers["Authorization"])
        key = await self.door.keys.key(credential.access_key)
        secret = key.secret if key is not None else None
        signed = [
            signing.is_signed(self._signed_call(method, text), date, credential, secret)
            for method in self._methods()
        ]
        if key is None or not any(signed):
            raise Unauthorized("The access key is unknown, or the signature is not of its secret.")
        return key

    def _signed_call(self, method: str, date: str) -> signing.SignedCall:
        headers = self.request.headers
        new = "X-BackendAI-Version" in headers or "X-Sorna-Version" not in headers
        return signing.SignedCall(
            method=method,
            target=self.request.uri or "",
            date=date,
            host=headers.get("Host", ""),
            content_type=signing.bare_type(headers.get("Content-Type", "")),
            version=self._version(),
            version_header="x-backendai-version" if new else "x-sorna-version",
        )

    def _methods(self) -> list[str]:
        """That may have been signed: the one on the wire, or the one that is meant."""
        override = self._overriding()
        return [self.request.method or "", *([override] if override else [])]

    def _overriding(self) -> str | None:
        """Of a client that can send nothing but GET and POST."""
        if self.request.method != "POST":
            return None
        return self.request.headers.get("X-Method-Override", "").upper() or None

    def _override_method(self) -> None:
        method = self._overriding()
        if method is None:
            return
        if method not in self.SUPPORTED_METHODS:
            raise MethodNotAllowed(f"{method!r} is no method.")
        self.request.method = method

    def _version(self) -> str:
        return self._header("Version")

    def _header(self, name: str) -> str:
        """Under its name of today, or that of the days of Sorna."""
        headers = self.request.headers
        return headers.get(f"X-BackendAI-{name}") or headers.get(f"X-Sorna-{name}", "")

    def _count(self, caller: Caller) -> None:
        signed = self.access_key is not None
        key = f"key {self.access_key}" if signed else f"token of {caller.owner}"
        self._calls_left = 0  # where there is none left, too
        try:
            self._calls_left = self.desk.quota.take(key, asyncio.get_running_loop().time())
        finally:
            self.set_default_headers()

    # -- the call --------------------------------------------------------------------------------

    def check_owner(self, access_key: str | None) -> None:
        """Raises `AdminsOnly`: nobody here acts for somebody else."""
        own = self.access_key if self.access_key is not None else self.owner
        if access_key and access_key != own:
            raise AdminsOnly("owner_access_key is for administrators; leave it out.")

    async def session(self, name_or_id: str) -> SessionView:
        """Raises `SessionNotFound`."""
        return await self.service.session(self.owner, name_or_id)

    async def still_welcome(self) -> bool:
        """Of a stream that lasts: whether its key has not been revoked meanwhile."""
        return self.access_key is None or await self.door.keys.key(self.access_key) is not None

    # -- errors ----------------------------------------------------------------------------------

    def _write_fault(self, fault: GatewayError) -> None:
        self._say_what_to_do(fault)
        self._write_problem(problem_of(fault), fault.message, problems.data_of(fault))

    def _write_http_error(self, fault: HTTPError) -> None:
        """One of Tornado's own: a verb that it does not know."""
        status = HTTPStatus(fault.status_code)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self._write_problem(problems.METHOD_NOT_ALLOWED)
        else:
            self._write_problem(replace(problems.INVALID_PARAMS, status=status), status.phrase)

    def _write_internal(self) -> None:
        self._write_problem(problems.INTERNAL, f"See {self._fault_id} in the gateway's log.")

    def _write_problem(
        self, problem: Problem, message: str = "", data: Mapping[str, Json] | None = None
    ) -> None:
        self.answer(problems.problem_json(problem, message, data), problem.status)
        self.set_header("Content-Type", problems.CONTENT_TYPE)


class Unknown(BackendAIHandler):
    """What the original serves and we do not, for all verbs."""

    async def on_get(self, *path: str) -> None:
        raise RouteNotFound("There is nothing at this address.")

    on_post = on_put = on_patch = on_delete = on_head = on_options = on_get
