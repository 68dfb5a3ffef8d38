"""WebSocket transport: uvicorn's, with a time limit for clients that do not read what was sent to them.

In uvicorn a closed connection stays open while its client leaves bytes unread. Here it is reset some seconds after the
application is done with it.

A connection that is closed while its client still sends is reset by the kernel, which can overtake the close frame. So
after a protocol error or a message that is too long, input is read and dropped until the client has hung up.
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
