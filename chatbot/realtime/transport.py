"""The WebSocket below the Realtime protocol: uvicorn's, but that no client can keep a socket by not reading from it.

A closed connection with bytes that its client does not take stays open in uvicorn for as long as the client likes.
Here it is cut off some seconds after the application is done with it.

And a connection that is closed while its client still sends is reset, which can reach the client before the words why:
one on which something came that is no WebSocket, or too long, is read on, unheeded, until the client has hung up.
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

    def data_received(self, data: bytes) -> None:
        """Bytes came; after the connection has failed nobody looks at them."""
        if self.conn.parser_exc is None:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """Say why the connection fails, and wait until the client has hung up."""
        told = self.conn.close_sent
        assert told is not None
        self.queue.put_nowait({"type": "websocket.disconnect", "code": told.code, "reason": told.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.linger_seconds, self.transport.abort)
