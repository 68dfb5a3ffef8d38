"""Realtime session without its socket: client events in, server events out, a conversation of the engine between them.

`RealtimeSession.receive` handles at once the events that can be: settings, audio, cancelling. Those that wait for the
engine's conversation (commits, messages, replies) are jobs that `RealtimeSession.work` does one after the other, so
that a turn which ends during a reply follows that reply in the conversation.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from chatbot.engine.engine import Engine
from chatbot.engine.pcm import Resampler, decode_base64
from chatbot.engine.turn_encoder import AudioBacklogError
from chatbot.engine.turns import HeardTurn, TurnListener
from chatbot.engine.vad import SpeechStarted
from corpus.audio.files import SAMPLE_RATE
from runtime.errors import UserError

from .client_events import (
    AudioAppend,
    AudioClear,
    AudioCommit,
    ClientEvent,
    ItemCreate,
    ItemDelete,
    ItemRetrieve,
    ItemTruncate,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    read_client_event,
)
from .conversation_items import ConversationItems
from .formats import FORMATS
from .ids import new_id
from .items import Item, make_item, spoken_item
from .options import RealtimeOptions
from .outbox import Outbox
from .refusal import UNSUPPORTED, Refusal
from .reply import RealtimeResponse
from .settings import Settings, response_settings, updated
from .speaking import ResponseSpeaker
from .user_turn import UserTurn

LOG = logging.getLogger(__name__)
Job = Callable[[], Awaitable[None]]
MAX_JOBS = 32  # commits, messages and replies that may wait
MIN_COMMIT_MS = 100  # of speech in a commit
BACKLOG_RETRY = 0.02  # seconds until audio that the conversation could not take is offered again


class RealtimeSession:
    """One session.

    Args:
        engine: that hears and speaks.
        options: limits.
        outbox: where events go.

    Raises:
        NoFreeConversationError: the engine has no room for another conversation.
    """

    def __init__(self, engine: Engine, options: RealtimeOptions, outbox: Outbox) -> None:
        self.engine, self.options, self.outbox = engine, options, outbox
        self.id, self.conversation_id = new_id("sess"), new_id("conv")
        self.expires_at = int(time.time() + options.max_session_seconds)
        self.settings = Settings(voice=engine.voices[0])
        self.conversation = engine.open()
        self.items = ConversationItems(self.conversation, options)
        self.speaker = ResponseSpeaker(engine, self.items, outbox)
        self.max_seconds = engine.limits.max_question_seconds
        self.listener = self._new_listener()
        self.turn = UserTurn(max_seconds=self.max_seconds)
        self._resampler = Resampler(FORMATS[self.settings.input_format].rate, SAMPLE_RATE)
        self._half_sample = b""  # the bytes of a sample whose rest comes with the next append
        self._jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._undone = 0  # jobs that wait or are being done

    @property
    def is_busy(self) -> bool:
        """Whether something is being done for the client."""
        return self._undone > 0

    async def refuse(self, refusal: Refusal, event_id: str | None = None) -> None:
        """Send an ``error`` event."""
        refusal.event_id = refusal.event_id or event_id
        await self.outbox.emit({"type": "error", "error": refusal.to_json()})

    async def greet(self) -> None:
        """Tell the client what the session is set to."""
        await self.outbox.emit({"type": "session.created", "session": self.describe()})

    def describe(self) -> dict[str, Any]:
        """The session object."""
        return self.settings.to_json(session_id=self.id, model=self.engine.model_name, expires_at=self.expires_at)

    def close(self) -> None:
        """End the conversation, the reply in the making too."""
        self.speaker.close()

    # -- what can be done at once -------------------------------------------------------------------------------

    async def receive(self, message: str | bytes | None) -> None:
        """Take one WebSocket message."""
        self.conversation.touched = time.monotonic()  # who listens to silence is not gone
        event_id = None
        try:
            event = read_client_event(message)
            event_id = event.event_id
            await HANDLERS[type(event)](self, event)
        except Refusal as refusal:
            await self.refuse(refusal, event_id)
        except UserError as error:
            await self.refuse(Refusal.of(error), event_id)

    async def update(self, event: SessionUpdate) -> None:
        """``session.update``."""
        wanted = updated(self.settings, event.session, self.engine.voices)
        if wanted.is_transcribed and not self.engine.has_transcripts:
            name = "session.audio.input.transcription"
            text = f"Unsupported parameter: '{name}': this model writes no transcript of what it hears; send null."
            raise Refusal(text, code=UNSUPPORTED, param=name)
        before, self.settings = self.settings, wanted
        if self.settings.input_format != before.input_format:
            self._resampler = Resampler(FORMATS[self.settings.input_format].rate, SAMPLE_RATE)
            self._half_sample = b""
        if self.settings.turn_detection != before.turn_detection:
            await self._take_audio(self.listener.flush())
            self.listener = self._new_listener(self.listener.position)
        self.conversation.instructions = self.settings.instructions
        self.speaker.is_transcribed = self.settings.is_transcribed
        await self.outbox.emit({"type": "session.updated", "session": self.describe()})

    def _new_listener(self, position: int = 0) -> TurnListener:
        """A listener by the settings, for the stream from sample ``position`` on."""
        detection = self.settings.turn_detection
        return TurnListener(detection.turn_options() if detection else None, self.max_seconds, position)

    async def append(self, event: AudioAppend) -> None:
        """``input_audio_buffer.append``."""
        wire = FORMATS[self.settings.input_format]
        try:
            data = self._half_sample + decode_base64(event.audio)
        except UserError as error:
            raise Refusal.of(error, code="invalid_audio", param="audio") from error
        whole = len(data) - len(data) % wire.sample_bytes
        samples, self._half_sample = wire.decode(data[:whole]), data[whole:]
        step = SAMPLE_RATE * 10  # so that one long event holds up the others no longer than its pieces do
        for begin in range(0, len(samples), step):
            heard = self._resampler.feed(samples[begin : begin + step])
            for sound in self.listener.feed(heard):
                if isinstance(sound, HeardTurn):
                    await self._take_audio([sound])
                elif isinstance(sound, SpeechStarted):
                    await self._start_turn(sound.at_ms)
                else:
                    await self._stop_turn(sound.at_ms)
            await asyncio.sleep(0)

    async def _start_turn(self, at_ms: int) -> None:
        """The user begins to speak."""
        detection = self.settings.turn_detection
        if detection is not None and detection.interrupt_response:
            self.speaker.cancel("turn_detected")
        await self.outbox.emit(
            {"type": "input_audio_buffer.speech_started", "audio_start_ms": at_ms, "item_id": self.turn.item_id}
        )

    async def _stop_turn(self, at_ms: int) -> None:
        """The user has ended."""
        turn, detection = self._end_turn(), self.settings.turn_detection
        await self.outbox.emit(
            {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": at_ms, "item_id": turn.item_id}
        )
        wants_reply = detection is not None and detection.create_response
        if wants_reply and self.speaker.is_busy:
            await self.refuse(self._already_busy())
            wants_reply = False
        reply = self._reply(self.settings) if wants_reply else None
        self._later(lambda: self._commit(turn, reply))
        self.speaker.reply = reply or self.speaker.reply

    async def _take_audio(self, sounds: list[Any]) -> None:
        """Sound of the turn; the conversation gets it now unless something before it is not done."""
        for sound in sounds:
            self.turn.add(sound.samples)
        if self._undone == (self.speaker.running is not None):
            await self._feed_turn(self.turn)

    async def _feed_turn(self, turn: UserTurn) -> None:
        """Feed the conversation what it has not received of the turn; wait where it can't keep up."""
        while turn.num_fed < len(turn.pieces):
            try:
                self.conversation.feed(turn.pieces[turn.num_fed])
            except AudioBacklogError:
                await asyncio.sleep(BACKLOG_RETRY)
                continue
            turn.num_fed += 1

    def _end_turn(self) -> UserTurn:
        """The turn so far; a new one begins."""
        turn, self.turn = self.turn, UserTurn(max_seconds=self.max_seconds)
        return turn

    async def commit(self, event: AudioCommit) -> None:
        """``input_audio_buffer.commit``."""
        self._half_sample = b""
        await self._take_audio(self.listener.flush())
        if self.settings.turn_detection is None and (rest := self._resampler.finish()).size:
            await self._take_audio([HeardTurn(samples=rest)])
        milliseconds = self.turn.seconds * 1000
        if milliseconds < MIN_COMMIT_MS:
            text = (
                f"Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of audio, "
                f"but buffer only has {milliseconds:.2f}ms of audio."
            )
            raise Refusal(text, code="input_audio_buffer_commit_empty")
        turn = self._end_turn()
        self._later(lambda: self._commit(turn, None), event.event_id)

    async def clear(self, event: AudioClear) -> None:
        """``input_audio_buffer.clear``."""
        self.listener.reset()
        self._half_sample = b""
        self._resampler.finish()
        turn = self._end_turn()
        if turn.num_fed:
            self._later(self._clear, event.event_id)
        await self.outbox.emit({"type": "input_audio_buffer.cleared"})

    async def create_item(self, event: ItemCreate) -> None:
        """``conversation.item.create``."""
        item = make_item(event.item, self.settings.input_format, self.max_seconds)
        self._later(lambda: self._add(item, event.previous_item_id), event.event_id)

    async def delete_item(self, event: ItemDelete) -> None:
        """``conversation.item.delete``."""
        self._later(lambda: self._delete(event.item_id), event.event_id)

    async def retrieve_item(self, event: ItemRetrieve) -> None:
        """``conversation.item.retrieve``."""
        self._later(lambda: self._retrieve(event.item_id), event.event_id)

    async def truncate_item(self, event: ItemTruncate) -> None:
        """``conversation.item.truncate``."""
        reply = self.speaker.reply
        if reply is not None and reply.item.id == event.item_id:
            self.speaker.cancel("client_cancelled")
        self._later(lambda: self._truncate(event), event.event_id)

    async def create_response(self, event: ResponseCreate) -> None:
        """``response.create``."""
        settings = response_settings(event.response, self.settings, self.engine.voices)
        metadata = event.response.metadata if event.response else None
        if self.speaker.is_busy:
            raise self._already_busy()
        reply = self._reply(settings, metadata)
        self._later(lambda: self._answer(reply), event.event_id)
        self.speaker.reply = reply

    async def cancel_response(self, event: ResponseCancel) -> None:
        """``response.cancel``."""
        reply = self.speaker.reply
        is_named = event.response_id is None or (reply is not None and reply.id == event.response_id)
        if not is_named or not self.speaker.cancel("client_cancelled"):
            text = "Cancellation failed: no active response found."
            raise Refusal(text, code="response_cancel_not_active", param="response_id" if event.response_id else None)

    def _reply(self, settings: Settings, metadata: dict[str, str] | None = None) -> RealtimeResponse:
        rate = self.engine.sample_rate
        return RealtimeResponse(settings, engine_rate=rate, conversation_id=self.conversation_id, metadata=metadata)

    def _already_busy(self) -> Refusal:
        name = self.speaker.reply.id if self.speaker.reply else ""
        text = f"Conversation already has an active response in progress: {name}. Wait for its end, or cancel it."
        return Refusal(text, code="conversation_already_has_active_response")

    # -- what has to wait for the conversation ------------------------------------------------------------------

    def _later(self, job: Job, event_id: str | None = None) -> None:
        """Queue a job behind those before it; its refusals are sent with ``event_id``."""
        if self._undone >= MAX_JOBS:
            raise Refusal("Too much waits to be done: send less at once.", code="session_busy")

        async def guarded() -> None:
            try:
                await job()
            except Refusal as refusal:
                await self.refuse(refusal, event_id)
            except UserError as error:
                await self.refuse(Refusal.of(error), event_id)

        self._undone += 1
        self._jobs.put_nowait(guarded)

    async def work(self) -> None:
        """Do the jobs, until cancelled."""
        while True:
            job = await self._jobs.get()
            try:
                await job()
            except Exception as error:  # one job's fault is not the session's end
                LOG.exception("a Realtime session's job failed")
                self.speaker.reply = None
                kind = type(error).__name__
                await self.refuse(Refusal(f"The server failed ({kind}).", code="server_error", kind="server_error"))
            finally:
                self._undone -= 1

    async def _commit(self, turn: UserTurn, reply: RealtimeResponse | None) -> None:
        """The turn becomes a message, and is answered where there is a ``reply``."""
        try:
            if turn.seconds > turn.max_seconds:
                found = f"{turn.seconds:.1f} s of audio"
                raise UserError("the turn", found=found, remedy=f"speak at most {turn.max_seconds:.1f} s")
            await self._feed_turn(turn)
            item = spoken_item(turn.item_id, turn.samples())
            heard = await self.conversation.commit(item)
            item.parts[0].text = None if heard.tokens else ""
        except UserError as error:
            self.conversation.clear()
            if self.speaker.reply is reply:
                self.speaker.reply = None
            raise Refusal.of(error, code="input_audio_buffer_commit_failed") from error
        self.items.forget_old(item)
        previous = self.items.before(item)
        await self.outbox.emit(
            {"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": item.id}
        )
        await self._emit_added(item)
        if item.parts[0].text is not None:  # nobody spoke: the server does not reply unasked
            await self.speaker.emit_transcript(item)
            if self.speaker.reply is reply:
                self.speaker.reply = None
            return
        self.speaker.add_untranscribed(item, is_answered=reply is not None)
        if reply is not None:
            await self.speaker.answer(reply)

    async def _emit_added(self, item: Item) -> None:
        about = {"previous_item_id": self.items.before(item), "item": item.to_json()}
        await self.outbox.emit({"type": "conversation.item.added", **about})
        await self.outbox.emit({"type": "conversation.item.done", **about})

    async def _clear(self) -> None:
        self.conversation.clear()

    async def _add(self, item: Item, previous_item_id: str | None) -> None:
        await self.items.add(item, previous_item_id)
        await self._emit_added(item)

    async def _delete(self, item_id: str) -> None:
        self.items.delete(item_id)
        await self.outbox.emit({"type": "conversation.item.deleted", "item_id": item_id})

    async def _retrieve(self, item_id: str) -> None:
        item = self.items.find(item_id)
        shown = item.to_json(wire_format=self.settings.input_format)
        await self.outbox.emit({"type": "conversation.item.retrieved", "item": shown})

    async def _truncate(self, event: ItemTruncate) -> None:
        self.items.truncate(event)
        about = {"item_id": event.item_id, "content_index": event.content_index, "audio_end_ms": event.audio_end_ms}
        await self.outbox.emit({"type": "conversation.item.truncated", **about})

    async def _answer(self, reply: RealtimeResponse) -> None:
        """A reply that the client asked for."""
        if not any(item.role == "user" for item in self.items):
            if self.speaker.reply is reply:
                self.speaker.reply = None
            raise Refusal("There is nothing to reply to: say or write something first.", code="conversation_empty")
        await self.speaker.answer(reply)


# Not in each session: one that held its own methods would stay in memory until the cycle collector's next round.
HANDLERS: dict[type[ClientEvent], Callable[[RealtimeSession, Any], Awaitable[None]]] = {
    SessionUpdate: RealtimeSession.update,
    AudioAppend: RealtimeSession.append,
    AudioCommit: RealtimeSession.commit,
    AudioClear: RealtimeSession.clear,
    ItemCreate: RealtimeSession.create_item,
    ItemDelete: RealtimeSession.delete_item,
    ItemRetrieve: RealtimeSession.retrieve_item,
    ItemTruncate: RealtimeSession.truncate_item,
    ResponseCreate: RealtimeSession.create_response,
    ResponseCancel: RealtimeSession.cancel_response,
}
