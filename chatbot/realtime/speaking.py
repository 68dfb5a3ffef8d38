"""Replies of one session: engine events to server events, and transcripts of the user's speech."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from chatbot.engine.engine import Engine
from chatbot.engine.events import AudioDelta, ReplyDone, TextDelta, TranscriptDelta
from chatbot.engine.options import ReplyOptions
from runtime.errors import UserError

from .conversation_items import ConversationItems
from .items import Item
from .outbox import Outbox
from .reply import CancelReason, RealtimeResponse

TRANSCRIBE_AFTER = 0.5  # seconds without a reply, which would bring the transcript along
MAX_UNTRANSCRIBED = 8


class ResponseSpeaker:
    """Makes replies, one at a time.

    Args:
        engine: that speaks.
        items: of the conversation that replies belong to.
        outbox: where events go.

    Attributes:
        reply: the latest that was asked for and is not over.
        running: the one that is being made; it may be an older, cancelled one.
        is_transcribed: tell the client what was understood of its speech.
    """

    def __init__(self, engine: Engine, items: ConversationItems, outbox: Outbox) -> None:
        self.engine, self.items, self.outbox = engine, items, outbox
        self.conversation = items.conversation
        self.reply: RealtimeResponse | None = None
        self.running: RealtimeResponse | None = None
        self.is_transcribed = False
        self._untranscribed: list[Item] = []  # spoken messages without a transcript, the newest last
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a reply is on its way that nobody has cancelled."""
        return self.reply is not None and self.reply.cancelled is None

    def cancel(self, reason: CancelReason) -> bool:
        """Stop the reply, and take back its speech that has not left yet; whether there was one."""
        reply = self.reply
        if reply is None or reply.cancelled is not None:
            return False
        reply.cancelled = reason
        reply.take_back(self.outbox.take_back(reply.is_sound))
        if self.running is reply:
            self.conversation.cancel()
        return True

    async def answer(self, reply: RealtimeResponse) -> None:
        """Make a reply and send its events."""
        self.running = reply
        try:
            await self.outbox.emit(reply.created())
            done = await self._relay(reply)
            if reply.has_item or done.status != "cancelled":
                await self._end_transcript()
            elif self._untranscribed:
                self._untranscribed[-1].parts[0].text = None  # half a transcript is none
            if reply.lost_sound:
                self.conversation.truncate(reply.seconds)
            if reply.lost_sound or (reply.cancelled is not None and not reply.has_item):
                done = replace(done, status="cancelled")
            if reply.has_item:
                for event in reply.end_item(done, self.items.before(reply.item)):
                    await self.outbox.emit(event)
            elif reply.item in self.conversation.messages:  # the client does not know of it
                self.conversation.remove(reply.item)
        finally:
            self.running = None
            if self.reply is reply:
                self.reply = None
        await self.outbox.emit(reply.done(done))
        self._transcribe_rest()

    async def _relay(self, reply: RealtimeResponse) -> ReplyDone:
        """Pass on the conversation's events as they come; the last of them."""
        settings = reply.settings
        done = ReplyDone(status="cancelled")
        if reply.cancelled is not None:
            return done
        changed = settings.instructions != self.conversation.instructions
        options = ReplyOptions(
            has_audio=reply.is_spoken,
            voice=settings.voice,
            max_tokens=settings.max_output_tokens,
            instructions=settings.instructions if changed else None,
        )
        try:
            async with aclosing(self.conversation.respond(options, reply.item)) as events:
                async for event in events:
                    if isinstance(event, ReplyDone):
                        done = event
                    elif isinstance(event, TranscriptDelta):
                        await self._note_transcript(event.text)
                    else:
                        await self._end_transcript()
                        await self._say(reply, event)
        except UserError as error:
            done = ReplyDone(status="failed", reason=str(error))
        return done

    async def _say(self, reply: RealtimeResponse, event: TextDelta | AudioDelta) -> None:
        """Pass on a piece, unless the reply was cancelled meanwhile."""
        if not reply.has_item:
            if reply.cancelled is not None:
                return
            self.items.forget_old(reply.item)
            for begun in reply.begin_item(self.items.before(reply.item)):
                await self.outbox.emit(begun)
        for piece in reply.say(event):
            if reply.cancelled is not None and reply.is_sound(piece):
                reply.take_back([piece])
            else:
                await self.outbox.emit(piece)

    # -- what was understood of the user's speech ---------------------------------------------------------------

    def add_untranscribed(self, item: Item, *, is_answered: bool) -> None:
        """A spoken message has no transcript yet; its reply will bring one along, if it ``is_answered``."""
        self._untranscribed = [*self._untranscribed, item][-MAX_UNTRANSCRIBED:]
        if not is_answered and self.is_transcribed:
            self._start(self._transcribe(item))

    async def _note_transcript(self, text: str) -> None:
        """The model writes down what it heard last."""
        if self._untranscribed:
            item = self._untranscribed[-1]
            part = item.parts[0]
            part.text = (part.text or "") + text
            if self.is_transcribed and text:
                kind = "conversation.item.input_audio_transcription.delta"
                await self.outbox.emit({"type": kind, "item_id": item.id, "content_index": 0, "delta": text})

    async def _end_transcript(self) -> None:
        """The model goes on to its reply, so that the transcript is whole."""
        if self._untranscribed and self._untranscribed[-1].parts[0].text is not None:
            await self.emit_transcript(self._untranscribed.pop())

    async def emit_transcript(self, item: Item) -> None:
        """Tell the client the whole transcript of a spoken message, where it wants transcripts."""
        if self.is_transcribed:
            part = item.parts[0]
            await self.outbox.emit(
                {
                    "type": "conversation.item.input_audio_transcription.completed",
                    "item_id": item.id,
                    "content_index": 0,
                    "transcript": part.text or "",
                    "usage": {"type": "duration", "seconds": round(part.seconds, 3)},
                }
            )

    def _transcribe_rest(self) -> None:
        """Messages that the replies so far have not written down."""
        if self.is_transcribed:
            for item in self._untranscribed:
                self._start(self._transcribe(item))

    async def _transcribe(self, item: Item) -> None:
        """Write a message down by itself, unless a reply does it."""
        await asyncio.sleep(TRANSCRIBE_AFTER)
        if item not in self._untranscribed or self.reply is not None:
            return
        self._untranscribed.remove(item)
        part = item.parts[0]
        try:
            if part.pcm is None:
                raise UserError("the message", found="its speech is not kept", remedy="ask for it sooner")
            part.text = (await self.engine.transcribe(part.samples())).text
        except UserError as error:
            failure: dict[str, Any] = {"type": "transcription_error", "code": "failed", "message": str(error)}
            kind = "conversation.item.input_audio_transcription.failed"
            await self.outbox.emit({"type": kind, "item_id": item.id, "content_index": 0, "error": failure})
            return
        await self.emit_transcript(item)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop everything."""
        self.conversation.close()
        for task in self._tasks:
            task.cancel()
