"""Cancellation of work whose client has disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .errors import ApiError

Result = TypeVar("Result")
CLIENT_LEFT = 499  # as nginx counts it; nobody reads it
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # a proxy that collects a stream would spoil it


async def while_connected(receive: Receive, work: Coroutine[Any, Any, Result], seconds: float) -> Result:
    """Do ``work`` unless the client leaves or it takes too long; the request's body has been read before.

    Raises:
        ApiError: 504 it took more than ``seconds``; 499 the client left.
    """
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(_until_left(receive))
    try:
        await asyncio.wait({task, watcher}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if watcher.done():
            raise ApiError(CLIENT_LEFT, "The client left")
        raise ApiError(504, f"The reply took more than {seconds:g} s", code="timeout")
    finally:
        task.cancel()
        watcher.cancel()
        await asyncio.wait({task, watcher})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class StreamedResponse(Response):
    """A response of pieces as they are made.

    Args:
        pieces: of the body; closed when the client leaves.
        media_type: of the body.
        seconds: after which a client that does not take the pieces is given up.
        on_end: called at the end, however it comes, also if nothing was sent.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes],
        *,
        media_type: str,
        seconds: float,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.status_code, self.media_type, self.background = 200, media_type, None
        self.init_headers(HEADERS)
        self.pieces, self.seconds, self.on_end = pieces, seconds, on_end

    def init_headers(self, headers: Any = None) -> None:
        """As Starlette's, without the length, which is not known."""
        self.body = b""
        super().init_headers(headers)
        self.raw_headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces until they end or the client leaves."""
        try:
            await while_connected(receive, self._send_all(send), self.seconds)
        except ApiError:  # the client left, or takes nothing: there is nobody to tell
            pass
        finally:
            self.on_end()

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self.pieces):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def primed(pieces: AsyncGenerator[Result]) -> AsyncGenerator[Result]:
    """``pieces`` after their first one was waited for, so that what is wrong with them is raised before they are sent.

    Raises:
        UserError: or whatever the first piece raises.
    """
    try:
        first = [await anext(pieces)]
    except StopAsyncIteration:
        first = []

    async def again() -> AsyncGenerator[Result]:
        async with aclosing(pieces):
            for piece in first:
                yield piece
            async for piece in pieces:
                yield piece

    return again()
