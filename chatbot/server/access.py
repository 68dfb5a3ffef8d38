"""Access log and counters of requests and WebSockets, and the handler of errors that nothing else caught."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ApiError, error_response
from .metrics import Metrics

log = logging.getLogger("speechweave.access")
errors = logging.getLogger("speechweave.server")


class Access:
    """ASGI middleware.

    Args:
        app: what is behind.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through and write down how it went."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status, num_bytes = 0, 0

        async def counting_send(message: Message) -> None:
            nonlocal status, num_bytes
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and not status:
                status = 403
            num_bytes += len(message.get("body") or message.get("bytes") or message.get("text") or b"")
            await send(message)

        try:
            await self.app(scope, receive, counting_send)
        except Exception:  # whatever it is, the server goes on, and the client learns nothing of our inside
            errors.exception("%s %s failed", scope.get("method", "WebSocket"), scope["path"])
            if not status and scope["type"] == "http":
                told = ApiError(500, "The server failed at this request; its log tells why", code="server_error")
                await error_response(told)(scope, receive, counting_send)
            elif scope["type"] == "websocket":
                await counting_send({"type": "websocket.close", "code": 1011})
        finally:
            self.count(scope, status, num_bytes, time.perf_counter() - started)

    def count(self, scope: Scope, status: int, num_bytes: int, seconds: float) -> None:
        """One request is over."""
        route = getattr(scope.get("route"), "path", "other")
        method = scope.get("method", "WS")
        self.metrics.requests.labels(route, str(status or 499)).inc()  # 499: the client left before an answer
        self.metrics.request_seconds.labels(route).observe(seconds)
        client = (scope.get("client") or ("-",))[0]
        caller = scope.get("state", {}).get("caller") or "-"
        path = scope["path"][:200].encode("unicode_escape").decode()  # no line breaks from outside in our log
        line = '%s key=%s "%s %s" %d %d bytes %.3f s'
        log.info(line, client, caller, method, path, status or 499, num_bytes, seconds)
