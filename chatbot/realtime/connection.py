"""One WebSocket connection and its session: messages in, events out, and all of its endings.

A client that reads slowly holds up its own reply and nobody else's (the outbox is bounded, and so are the buffers of
the transport below); one that reads nothing for long, sends nothing for long, or has vanished is disconnected, and its
conversation is released at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Coroutine
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from chatbot.engine.engine import Engine, NoFreeConversationError
from runtime.errors import UserError

from .options import RealtimeOptions
from .outbox import Outbox
from .refusal import Refusal
from .session import RealtimeSession

LOG = logging.getLogger(__name__)
NORMAL, GOING_AWAY, POLICY, TOO_BIG, SERVER_ERROR, TRY_LATER = 1000, 1001, 1008, 1009, 1011, 1013
LAST_WORDS = 2.0  # seconds that events may take to leave when a connection ends


class Ending(Exception):  # noqa: N818 (how a connection ends, not a failure)
    """The connection ends.

    Args:
        code: of the closing frame.
        reason: in it.
        refusal: sent in an ``error`` event before.
    """

    def __init__(self, code: int, reason: str, refusal: Refusal | None = None) -> None:
        super().__init__(reason)
        self.code, self.reason, self.refusal = code, reason, refusal


class Connection:
    """One accepted WebSocket.

    Args:
        websocket: accepted already.
        engine: that hears and speaks.
        options: limits.
    """

    def __init__(self, websocket: WebSocket, engine: Engine, options: RealtimeOptions) -> None:
        self.websocket, self.engine, self.options = websocket, engine, options
        self.outbox = Outbox(options.outbox_events)
        self._last_heard = time.monotonic()
        self._stop: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    def stop(self, code: int, reason: str) -> None:
        """End it from outside."""
        if not self._stop.done():
            self._stop.set_result(Ending(code, reason))

    async def run(self) -> None:
        """Serve until one of the two sides ends it."""
        try:
            session = RealtimeSession(self.engine, self.options, self.outbox)
        except NoFreeConversationError as error:
            told = Refusal(str(error), code="engine_full", kind="server_error")
            await self._end(Ending(TRY_LATER, "no room for another conversation", told))
            return
        except UserError:  # the engine is closed
            await self._end(Ending(GOING_AWAY, "the server stops"))
            return
        parts = (self._receive(session), self._send(), session.work(), self._watch(session), self._stopped())
        tasks = [asyncio.create_task(self._until_ending(part)) for part in parts]
        try:
            await session.greet()
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ending = next(iter(done)).result()
        finally:
            session.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if ending is not None:
            await self._end(ending)

    async def _until_ending(self, part: Coroutine[Any, Any, None]) -> Ending | None:
        """The ending that the first of the connection's tasks came to; None where the client has vanished."""
        try:
            await part
        except Ending as ending:
            return ending
        except Exception as error:
            if isinstance(error, WebSocketDisconnect | OSError) or self._is_gone():
                return None
            LOG.exception("a Realtime connection failed")
            return Ending(SERVER_ERROR, "the server failed")
        raise AssertionError("a part of a connection runs until the connection ends")

    def _is_gone(self) -> bool:
        """Whether nothing can be sent any more."""
        states = (self.websocket.client_state, self.websocket.application_state)
        return WebSocketState.DISCONNECTED in states

    async def _receive(self, session: RealtimeSession) -> None:
        """Read messages one after the other; while one is being handled, the client's next ones wait in the socket."""
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            self._last_heard = time.monotonic()
            text = message.get("text")
            content = text if text is not None else message.get("bytes")
            if content is not None and len(content) > self.options.max_message_bytes:
                raise Ending(TOO_BIG, f"a message of more than {self.options.max_message_bytes} bytes")
            await session.receive(content)

    async def _send(self) -> None:
        """Send events one after the other."""
        while True:
            event = await self.outbox.get()
            try:
                async with asyncio.timeout(self.options.send_seconds):
                    await self.websocket.send_text(json.dumps(event, ensure_ascii=False))
            except TimeoutError:
                raise Ending(POLICY, "events were not taken") from None

    async def _watch(self, session: RealtimeSession) -> None:
        """End a session that is too long, or idle."""
        ends = time.monotonic() + self.options.max_session_seconds
        while True:
            now = time.monotonic()
            if session.is_busy:
                self._last_heard = now
            idle_ends = self._last_heard + self.options.idle_seconds
            if now >= ends:
                text = f"Your session hit the maximum duration of {self.options.max_session_seconds:g} s."
                raise Ending(NORMAL, "session expired", Refusal(text, code="session_expired"))
            if now >= idle_ends:
                text = f"Nothing was sent for {self.options.idle_seconds:g} s."
                raise Ending(NORMAL, "idle", Refusal(text, code="session_idle"))
            await asyncio.sleep(max(0.01, min(ends, idle_ends) - now))

    async def _stopped(self) -> None:
        raise await asyncio.shield(self._stop)

    async def _end(self, ending: Ending) -> None:
        """Say why, send what waits, and close; a client that does not take it is dropped."""
        try:
            async with asyncio.timeout(LAST_WORDS):
                events = self.outbox.take_back(lambda event: True)
                if ending.refusal is not None:
                    error = {"type": "error", "event_id": "event_end", "error": ending.refusal.to_json()}
                    events.append(error)
                for event in events:
                    await self.websocket.send_text(json.dumps(event, ensure_ascii=False))
                await self.websocket.close(ending.code, ending.reason)
        except (TimeoutError, WebSocketDisconnect, RuntimeError, OSError) as error:
            LOG.debug("a client did not wait for the end: %s", error)
