"""The chatbot's engine: one tokenizer, one language model and one decoder for many conversations at once.

    engine = Engine.from_pretrained("runs/quickstart/bundle")
    conversation = engine.open()

Three threads do the work: speech tokenizer, language model (all conversations batched) and speech decoder. Everything
here is called from one event loop, which never waits for a model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np

from chatbot.settings import bundle_folder
from corpus.audio.files import SAMPLE_RATE, Samples
from lm.data.formats import asr_prompt
from lm.inference.batching import GenerationRequest
from lm.inference.lent_vectors import fill_placeholders
from runtime.errors import UserError

from .bundle_parts import Bundle
from .conversation import Conversation
from .events import Load, Transcript, Usage
from .models import Models
from .options import EngineOptions
from .pcm import checked_samples
from .tts import read_aloud


class NoFreeConversationError(UserError):
    """As many conversations are open as may be."""


class Engine:
    """The models and the conversations that use them.

    Args:
        bundle: the models.
        options: of the engine.
        name: of the model, for clients.

    Attributes:
        models: tokenizer, language model, decoder, and their threads.
        sample_rate: of the speech, Hz.
        voices: the decoder's, the bundle's own first.
        limits: of a question, a reply and the context.
        on_reply: called at the end of every reply of a conversation with the seconds of speech that were made.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, name: str = "speechweave") -> None:
        self.bundle, self.options, self.model_name = bundle, options, name
        self.models = models = Models(bundle, options)
        self.sample_rate, self.voices, self.limits = models.sample_rate, models.voices, models.limits
        self.on_reply = models.on_reply
        self._conversations: set[Conversation] = set()
        self._is_open = True
        self._reaper: asyncio.TimerHandle | None = None

    @classmethod
    def from_pretrained(cls, bundle: Path | str, options: EngineOptions | None = None) -> Engine:
        """Load a bundle folder, or the run folder of chatbot.bundle.

        Raises:
            UserError: no bundle, or an incomplete one.
        """
        import torch

        options = options or EngineOptions()
        torch.set_num_threads(options.threads)
        loaded = Bundle.from_pretrained(
            bundle, dtype=options.dtype, device=options.device, has_weights=not options.backend_url
        )
        folder = Path(bundle).resolve()
        name = folder.parent.name if folder.name == "bundle" and bundle_folder(bundle) == folder else folder.name
        return cls(loaded, options, name)

    def open(self, *, voice: str | None = None, instructions: str = "") -> Conversation:
        """Open a new conversation.

        Raises:
            NoFreeConversationError: as many are open as may be.
            UserError: an unknown voice, or the engine is closed.
        """
        if not self._is_open:
            raise UserError("the engine", found="closed", remedy="open a new one")
        if len(self._conversations) >= self.options.max_talkers:
            found = f"{len(self._conversations)} conversations open"
            raise NoFreeConversationError("the engine", found=found, remedy="try again later")
        voice = self.models.check_voice(voice)
        conversation = Conversation(self.models, voice, instructions, self._conversations.discard)
        self._conversations.add(conversation)
        self._close_idle()
        return conversation

    @property
    def can_transcribe(self) -> bool:
        """Whether `transcribe` can be asked: not of every model that hears vectors."""
        return self.bundle.settings.can_transcribe

    @property
    def has_transcripts(self) -> bool:
        """Whether speech of the user is written down: by the replies to it, or by `transcribe`."""
        return self.can_transcribe or self.bundle.reply_format.transcribes

    async def transcribe(self, audio: Samples) -> Transcript:
        """Transcribe speech, (S,) float32 at 16 kHz, by the language model's ASR task; "" where nobody speaks.

        Raises:
            UserError: the audio is too short, too long, or none; the model does not know the task.
        """
        if not self.can_transcribe:
            found = "a chatbot whose model writes no transcripts of speech"
            remedy = "ask a recogniser, or bundle a model that knows the task (chatbot.bundle transcribes=true)"
            raise UserError("the transcription", found=found, remedy=remedy)
        samples = checked_samples(audio)
        seconds = len(samples) / SAMPLE_RATE
        self.bundle.check_seconds(seconds, "the audio")
        v, hearing = self.bundle.vocabulary, self.models.hearing
        heard = await self.models.encode(samples)
        if not len(heard):
            return Transcript(text="", seconds=seconds, usage=Usage())
        written = []
        async with self.models.jobs:
            context = self.models.backend.open()
            ids = hearing.ids(heard)
            try:
                places = asr_prompt(np.zeros(len(ids), dtype=np.uint16), v)
                prompt = fill_placeholders(places, [np.array(ids, dtype=np.int32)], v).tolist()
                context.set(prompt)
                most = min(self.limits.context_tokens - len(prompt), 8 + len(ids))
                ask = GenerationRequest(max_new_tokens=most, stop=(v.eos,), allowed="text")
                async with aclosing(context.generate(ask)) as made:
                    written = [id async for id in made]
            finally:
                context.close()
                hearing.release(ids)
        usage = Usage(input_audio=len(heard), output_text=len(written))
        return Transcript(text=v.decode_text(written), seconds=seconds, usage=usage)

    def speak(self, text: str, *, voice: str | None = None) -> AsyncGenerator[Samples]:
        """Read a text aloud; pieces (S,) of speech as soon as they are made. See `chatbot.engine.tts`.

        Raises:
            UserError: no text, or an unknown voice.
        """
        return read_aloud(self.models, text, self.models.check_voice(voice))

    def load(self) -> Load:
        """The load: conversations open and replying, audio that waits."""
        return Load(
            talkers=len(self._conversations),
            max_talkers=self.options.max_talkers,
            responding=sum(conversation.is_responding for conversation in self._conversations),
            queued_seconds=sum(conversation.queued_seconds for conversation in self._conversations),
        )

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Open no further conversation, let replies end for a while, close all conversations, end the threads."""
        if not self._is_open:
            return
        self._is_open = False
        deadline = time.monotonic() + grace_seconds
        while any(conversation.is_responding for conversation in self._conversations) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for conversation in list(self._conversations):
            conversation.close()
        if self._reaper is not None:
            self._reaper.cancel()
        await self.models.close()

    def _close_idle(self) -> None:
        """Close conversations that have been idle for too long, now and then."""
        longest = self.options.max_idle_seconds
        if self._reaper is not None or not longest:
            return

        def reap() -> None:
            self._reaper = None
            for conversation in list(self._conversations):
                if not conversation.is_responding and time.monotonic() - conversation.touched > longest:
                    conversation.close()
            if self._conversations:
                self._close_idle()

        self._reaper = asyncio.get_running_loop().call_later(min(longest / 2, 30.0), reap)
