"""The WebSocket below the Realtime protocol: uvicorn's, but that no client can keep a socket by not reading from it.

A closed connection with bytes that its client does not take stays open in uvicorn for as long as the client likes.
Here it is cut off some seconds after the application is done with it.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class CutOffSocket(WebSocketsSansIOProtocol):
    """For ``uvicorn.Config(ws=...)``.

    Attributes:
        linger_seconds: that the last bytes, and the client's goodbye, may take.
    """

    linger_seconds = 10.0

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The application is done with the connection."""
        super().on_task_complete(task)
        self.loop.call_later(self.linger_seconds, self.transport.abort)
