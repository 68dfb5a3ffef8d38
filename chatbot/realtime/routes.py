"""Route ``/v1/realtime`` of the Realtime protocol, for the server's application::

    router = make_router(engine, RealtimeOptions())
    app.include_router(router)
    ...
    await router.connections.close()            # before the server stops: code 1001 to every client

Keys and origins are checked before it, by the server's gate.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, WebSocket

from chatbot.engine.engine import Engine

from .connection import GOING_AWAY, Connection
from .options import RealtimeOptions

SUBPROTOCOL = "realtime"


class Connections:
    """Every open connection.

    Attributes:
        is_closing: no new one is taken.
    """

    def __init__(self) -> None:
        self.is_closing = False
        self._open: dict[Connection, asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, connection: Connection) -> None:
        """Run a connection to its end."""
        self._open[connection] = over = asyncio.Event()
        try:
            if self.is_closing:
                connection.stop(GOING_AWAY, "the server stops")
            await connection.run()
        finally:
            del self._open[connection]
            over.set()

    async def close(self, grace_seconds: float = 3.0) -> None:
        """End every connection with code 1001, and wait until they are over."""
        self.is_closing = True
        waiting = list(self._open.values())
        for connection in list(self._open):
            connection.stop(GOING_AWAY, "the server stops")
        try:
            async with asyncio.timeout(grace_seconds):
                for over in waiting:
                    await over.wait()
        except TimeoutError:
            return


class RealtimeRouter(APIRouter):
    """The route, and the connections on it."""

    def __init__(self) -> None:
        super().__init__(tags=["realtime"])
        self.connections = Connections()


def make_router(engine: Engine, options: RealtimeOptions | None = None) -> RealtimeRouter:
    """The route over one engine."""
    router = RealtimeRouter()
    limits = options or RealtimeOptions()

    @router.websocket("/v1/realtime")
    async def realtime(websocket: WebSocket, model: str | None = None) -> None:
        """A Realtime session; the ``model`` that the client names is the one that is served, whatever its name."""
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await router.connections.serve(Connection(websocket, engine, limits))

    return router
