"""The uvicorn server, with a time limit on headers and a graceful shutdown.

SIGTERM or SIGINT: new requests get 503, replies under way may end within the grace time, Realtime clients get close
code 1001, and the process ends with status 0. A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from chatbot.realtime.transport import CutOffSocket
from runtime.errors import UserError

from .options import ServerOptions

log = logging.getLogger("speechweave.server")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
CLOSE_SECONDS = 3.0  # for what is still open after the grace time


def open_socket(options: ServerOptions) -> socket.socket:
    """A socket that listens where ``options`` say.

    Raises:
        UserError: the port is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=128)
    except OSError as error:
        subject, remedy = (
            f"option --port {options.port}",
            "give another --port (0 takes a free one), or end what uses it",
        )
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            subject, remedy = f"option --host {options.host}", "give an address of this machine, or 0.0.0.0 for all"
        found = str(error) if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise UserError(subject, found=found, remedy=remedy) from error


class GracefulServer(uvicorn.Server):
    """A uvicorn server that ends gracefully.

    Args:
        app: from `chatbot.server.app.create_app`.
        options: where it listens, and its limits.
        certificate: TLS certificate and key files; None listens without TLS.
    """

    def __init__(
        self, app: FastAPI, options: ServerOptions, certificate: tuple[str | None, str | None] = (None, None)
    ) -> None:
        def protocol(*arguments: Any, **named: Any) -> HeaderTimedProtocol:
            return HeaderTimedProtocol(*arguments, options=options, **named)

        config = uvicorn.Config(
            app,
            host=options.host,
            port=options.port,
            http=protocol,  # type: ignore[arg-type]  # uvicorn calls it as it would a class
            ws=CutOffSocket,
            ws_max_size=32 * 2**20,  # what a client may send is limited, with a better answer, by the Realtime route
            ws_ping_interval=20.0,
            ws_ping_timeout=20.0,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # whoever calls could give himself any address, and with it a fresh rate
            limit_concurrency=options.max_connections,
            timeout_keep_alive=60,  # longer than clients keep idle connections, so that none is closed under a request
            h11_max_incomplete_event_size=2 * options.max_header_bytes,
            timeout_graceful_shutdown=int(CLOSE_SECONDS),
            ssl_certfile=certificate[0],
            ssl_keyfile=certificate[1],
        )
        super().__init__(config)
        self.state, self.options = app.state, options
        self.on_start: Callable[[str], None] = lambda url: None  # told the URL once it listens
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if sockets and not self.should_exit:
            host, port = sockets[0].getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            self.on_start(f"http{'s' if self.config.is_ssl else ''}://{name}:{port}")

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """While it runs, signals end it gracefully; uvicorn's own way would end the process by the signal."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for each in SIGNALS:
            loop.add_signal_handler(each, self.end)
        try:
            yield
        finally:
            for each in SIGNALS:
                loop.remove_signal_handler(each)

    def end(self) -> None:
        """Take no more requests, let replies finish, then stop; called again, stop at once."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())
        else:
            self.force_exit = self.should_exit = True

    @property
    def num_busy(self) -> int:
        """Requests and spoken replies under way."""
        return max(self.state.gate.num_requests, self.state.engine.load().responding)

    async def _end(self) -> None:
        self.state.gate.is_closing = True
        log.info("stopping: %d replies under way, at most %g s for them", self.num_busy, self.options.grace_seconds)
        deadline = asyncio.get_running_loop().time() + self.options.grace_seconds
        while self.num_busy and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        await self.state.sockets.close()
        self.should_exit = True


class HeaderTimedProtocol(H11Protocol):
    """HTTP/1.1 that closes connections on which the headers of a request do not come.

    Args:
        options: their ``header_seconds`` count from the connection, or from the first byte of a later request.
    """

    def __init__(self, *arguments: Any, options: ServerOptions, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._options = options
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Bytes came: either a request has begun now, or its headers are still not whole."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """A request is over; the first bytes of the next one may be here already."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left."""
        self._stop_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on another protocol reads."""
        self._stop_timer()
        super().handle_websocket_upgrade(event)

    def _watch(self) -> None:
        is_partial = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if not is_partial:
            self._stop_timer()
        elif self._timer is None:
            self._start_timer()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._options.header_seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
