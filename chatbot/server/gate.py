"""Access control before every HTTP and WebSocket route: host, origin, key, rate, size, shutdown.

Routes behind it need not check again. Pages and ``/healthz`` need no key.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError, error_response
from .keys import ApiKeys, Origins, given_key
from .options import ServerOptions
from .rates import Rates

FORMS = ("/v1/audio/transcriptions",)  # the only routes that take a multipart form; all others take JSON


class Gate:
    """ASGI middleware.

    Args:
        options: whom it lets in.

    Attributes:
        is_closing: no more requests are taken (the server is about to stop).
        num_inside: requests and WebSockets under way.
        num_requests: requests under way.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.keys, self.origins = ApiKeys(options.api_keys), Origins(options)
        self.rates = Rates(options.requests_per_minute, options.burst)
        self.is_closing = False
        self.num_inside = self.num_requests = 0

    def before(self, app: ASGIApp) -> ASGIApp:
        """``app`` behind the gate."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] not in ("http", "websocket"):
                await app(scope, receive, send)
                return
            try:
                is_work = self.check(scope)
            except ApiError as error:
                await refuse(error, scope, receive, send)
                return
            if not is_work:
                await app(scope, receive, send)
                return
            is_http = scope["type"] == "http"
            self.num_inside += 1
            self.num_requests += is_http
            try:
                await app(scope, self.limited(receive) if is_http else receive, send)
            finally:
                self.num_inside -= 1
                self.num_requests -= is_http

        return guarded

    def check(self, scope: Scope) -> bool:
        """Whether this is work, which is counted and limited; raises an `ApiError` for who may not enter."""
        headers, options = Headers(scope=scope), self.options
        if not self.origins.is_our_host(headers):
            raise ApiError(403, "This server is not reached under that host name", code="host_not_allowed")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > options.max_header_bytes:
            raise ApiError(431, f"Send at most {options.max_header_bytes} bytes of headers", code="headers_too_large")
        path: str = scope["path"]
        is_api = path.startswith("/v1/")
        if not is_api and path != "/metrics":
            return False
        if not self.origins.may_call(headers):
            raise ApiError(403, "Pages of this web origin may not call the server", code="origin_not_allowed")
        caller = self.keys.name_of(given_key(headers))
        if caller is None and not self.keys.is_open:
            raise ApiError(401, "Send one of the server's keys: Authorization: Bearer KEY", code="invalid_api_key")
        scope.setdefault("state", {})["caller"] = caller
        if not is_api:
            return False
        if self.is_closing:
            raise ApiError(503, "The server is about to stop", code="stopping", retry_after=5)
        wait = self.rates.wait(caller or (scope.get("client") or ("",))[0])
        if wait:
            message = f"At most {options.requests_per_minute:g} requests a minute"
            raise ApiError(429, message, code="rate_limit_exceeded", retry_after=wait)
        if self.num_inside >= options.max_requests:
            raise ApiError(503, "The server has as many requests as it takes", code="overloaded", retry_after=1)
        if scope["type"] == "http" and scope["method"] in ("POST", "PUT", "PATCH"):
            self.check_body(path, headers)
        return True

    def check_body(self, path: str, headers: Headers) -> None:
        """Raise an `ApiError` where the headers tell that the body is too large or of another type."""
        wanted = "multipart/form-data" if path in FORMS else "application/json"
        if headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
            raise ApiError(415, f"Send the body as {wanted}", code="unsupported_content_type")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.options.max_body_bytes:
            raise self.too_large()

    def too_large(self) -> ApiError:
        """The error of a large body."""
        message = f"Send at most {self.options.max_body_bytes} bytes"
        return ApiError(413, message, code="body_too_large")

    def limited(self, receive: Receive) -> Receive:
        """``receive``, but that a body too large or too slow raises an `ApiError`."""
        deadline = asyncio.get_running_loop().time() + self.options.body_seconds
        num_bytes, is_whole = 0, False

        async def limited_receive() -> Message:
            nonlocal num_bytes, is_whole
            if is_whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                message_408 = f"The body did not come within {self.options.body_seconds:g} s"
                raise ApiError(408, message_408, code="body_too_slow") from None
            num_bytes += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if num_bytes > self.options.max_body_bytes:
                raise self.too_large()
            return message

        return limited_receive


async def refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with an error, also a WebSocket's handshake."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": HTTPStatus(error.status_code).phrase})
        return
    response = error_response(error)
    if error.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    await response(scope, receive, send)
