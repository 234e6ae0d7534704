"""What stands between the socket and the routes: pure ASGI, one small class per concern.

`Envelope` (outermost) gives every request an id and every response its safety headers, and turns
whatever was raised into an answer. `Doorkeeper` refuses foreign hosts (DNS rebinding), foreign
origins (cross-site requests), missing keys and oversized bodies, before a route sees anything.
Neither knows what the routes do.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Collection

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.config import Settings
from api.errors import MethodNotAllowed, headers_of, status_of, to_json
from api.refusal import refusal
from embed.errors import BadInput, CrossbindError, Forbidden, NotFound, TooLarge, Unauthorized

log = logging.getLogger("crossbind.api")

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# Defaults of every response; a route that needs another value sets it first.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-store",
}
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def error_response(error: Exception, scope: Scope) -> JSONResponse:
    """The answer to an exception. What nobody raised on purpose is logged with its traceback."""
    ours = _ours(error, scope)
    request_id = scope["state"]["request_id"]
    if not isinstance(ours, CrossbindError):
        log.error("request %s failed", request_id, exc_info=error)
    theirs = dict(getattr(error, "headers", None) or {})  # Allow, of a 405
    return JSONResponse(
        to_json(ours, request_id), status_code=status_of(ours), headers=theirs | headers_of(ours)
    )


def _ours(error: Exception, scope: Scope) -> Exception:
    """Exceptions of the framework in our words; anything else as it is."""
    if isinstance(error, RequestValidationError):  # its first step tells query from path
        return refusal([{**fault, "loc": fault["loc"][1:]} for fault in error.errors()])
    if not isinstance(error, HTTPException):
        return error
    method, path = scope["method"], scope["path"]
    if error.status_code == 404:
        return NotFound(f"there is nothing at {path!r}; /docs lists the routes", param="path")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return MethodNotAllowed(f"{path!r} does not take {method}; it takes {allowed}")
    return BadInput(str(error.detail))


class Envelope:
    """Request id in, safety headers out, and an answer even where a route broke."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_wrapped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_wrapped)
        except Exception as error:
            if started:  # too late for a status: the server must cut the connection
                raise
            await error_response(error, scope)(scope, receive, send_wrapped)


class Doorkeeper:
    """Host, Origin, API key and body size. `public`: paths that need no key."""

    def __init__(self, app: ASGIApp, settings: Settings, public: Collection[str]) -> None:
        self.app = app
        self.hosts = LOOPBACK | {host.lower() for host in settings.allowed_hosts}
        self.keys = [key.encode() for key in settings.api_keys]
        self.max_bytes = settings.max_upload_bytes
        self.public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        self._check_host(headers)
        if scope["method"] not in SAFE_METHODS:
            self._check_origin(headers)
        if self.keys and scope["path"] not in self.public:
            self._check_key(headers)
        self._check_length(headers)
        await self.app(scope, self._counted(receive), send)

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        name = _hostname(hosts[0]) if len(hosts) == 1 else ""
        if name not in self.hosts and "*" not in self.hosts:
            raise Forbidden(
                f"the Host {', '.join(hosts)!r} is not one of ours: {', '.join(sorted(self.hosts))}"
                "; name it in CROSSBIND_ALLOWED_HOSTS to be reached under it",
                param="Host",
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None:  # not a browser, or one that has nothing to hide
            return
        scheme, _, authority = origin.partition("://")
        if scheme not in ("http", "https") or authority.lower() != headers["host"].lower():
            raise Forbidden(
                f"pages of {origin!r} may not send requests here, only those of "
                f"{headers['host']!r} itself",
                param="Origin",
            )

    def _check_key(self, headers: Headers) -> None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        # Every key is compared, in constant time, so that the time taken tells nothing.
        matches = [hmac.compare_digest(given.encode(), key) for key in self.keys]
        if not any(matches):
            fault = "is not one of ours" if given else "is missing"
            raise Unauthorized(
                f"the API key {fault}; send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
            )

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise BadInput(f"Content-Length is {length!r}; a whole number is wanted")
        if int(length) > self.max_bytes:
            raise self._too_large(f"{int(length):,} bytes")

    def _counted(self, receive: Receive) -> Receive:
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self.max_bytes:
                raise self._too_large("larger than that")
            return message

        return counted

    def _too_large(self, size: str) -> TooLarge:
        return TooLarge(
            f"a request may have {self.max_bytes:,} bytes and this one is {size}; send several "
            "smaller ones, index a big film where it lies (crossbind ingest), or raise "
            "CROSSBIND_MAX_UPLOAD_MIB"
        )


def _hostname(host: str) -> str:
    """`Host` without its port: `[::1]:8080` is `[::1]`, `localhost:80` is `localhost`."""
    name = host.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].removesuffix(".")
