"""The chatbot's engine: one tokenizer, one language model and one decoder for many dialogues at once.

    engine = Engine.from_pretrained("runs/quickstart/bundle")
    talker = engine.open()

Three threads do the work: the ears (audio to tokens), the language model (all dialogues batched), and the mouth (tokens
to sound). Everything here is called from one event loop, which never waits for a model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from chatbot.settings import bundle_folder
from corpus.audio.files import SAMPLE_RATE, Samples
from lm.data.formats import asr_prompt
from lm.inference.batching import GenerationRequest
from lm.inference.generation import Generator
from runtime.errors import UserError, check_option
from tokenizer.model import Codes

from .backends.builtin import Builtin, LanguageModelBackend
from .bundle_parts import Bundle
from .conversation import Conversation, checked
from .events import Load, ReplyDone, Transcript, Usage
from .silence import without_silence
from .tts import read_aloud
from .worker import Worker

BACKENDS = ("builtin", "openai")
DIALECTS = ("vllm", "sglang")


class NoFreeConversationError(UserError):
    """No dialogue more can be opened."""


@dataclass(kw_only=True)
class EngineOptions:
    """How an engine serves.

    Attributes:
        max_talkers: dialogues that may be open at once.
        max_jobs: transcriptions and read-aloud texts made at once, beside the dialogues; more of them wait.
        threads: CPU threads of each model.
        dtype: of the language model, "float32" or "bfloat16".
        device: a torch device.
        max_waiting_seconds: audio of one talker that may wait, to be heard or to be played.
        max_reply_seconds: a reply that takes longer (its listener does not take it, say) is given up.
        max_idle_seconds: a talker of whom nothing is asked for so long is closed; 0 never.
        backend: of the language model: "builtin", or "openai": an endpoint of vLLM or SGLang
            (`chatbot.engine.backends.endpoint`).
        url: the endpoint's, up to and with ``/v1``.
        model: as the endpoint calls it; "" takes its first.
        key: the endpoint's API key; "" is none.
        dialect: which server it is, "vllm" or "sglang".
    """

    max_talkers: int = 8
    max_jobs: int = 2
    threads: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    max_waiting_seconds: float = 30.0
    max_reply_seconds: float = 300.0
    max_idle_seconds: float = 1800.0
    backend: str = "builtin"
    url: str = ""
    model: str = ""
    key: str = ""
    dialect: str = "vllm"

    def __post_init__(self) -> None:
        for name in ("max_talkers", "max_jobs", "threads"):
            check_option(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")
        for name in ("max_waiting_seconds", "max_reply_seconds"):
            check_option(getattr(self, name) > 0, name, getattr(self, name), "give a positive number")
        check_option(self.max_idle_seconds >= 0, "max_idle_seconds", self.max_idle_seconds, "give 0 (never) or more")
        check_option(self.backend in BACKENDS, "backend", self.backend, f"choose one of {', '.join(BACKENDS)}")
        check_option(self.dialect in DIALECTS, "dialect", self.dialect, f"choose one of {', '.join(DIALECTS)}")
        check_option(bool(self.url) == (self.backend == "openai"), "url", self.url, "give it with backend=openai only")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a bundle can take: seconds of a question, seconds of a spoken reply, tokens of the model's context."""

    max_question_seconds: float
    max_reply_seconds: float
    context_tokens: int


class Engine:
    """The models and who uses them.

    Args:
        bundle: the models.
        options: how to serve.
        name: of the model, for clients.

    Attributes:
        sample_rate: of the speech, Hz.
        voices: the decoder's, the bundle's own first.
        limits: what it takes.
        reader: continues the prompts of texts to be read aloud.
        jobs: held by each transcription and each text that is read aloud.
        on_reply: each is told the end of every reply of a talker, and the seconds of speech that were made.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions, name: str = "speechweave") -> None:
        self.bundle, self.options, self.model_name = bundle, options, name
        self.sample_rate = bundle.decoder.sample_rate
        own = bundle.settings.voice
        self.voices = [own, *(voice for voice in bundle.decoder.speakers if voice != own)]
        self.limits = Limits(
            max_question_seconds=bundle.longest_question,
            max_reply_seconds=bundle.settings.reply.max_reply_seconds,
            context_tokens=bundle.max_length,
        )
        self.backend = make_backend(bundle, options)
        self.reader = self.backend if bundle.reader is None else Builtin(bundle.reader, options.max_jobs)
        self.ears, self.mouth = Worker("ears"), Worker("mouth")
        self._talkers: set[Conversation] = set()
        self.jobs = asyncio.Semaphore(options.max_jobs)
        self.on_reply: list[Callable[[ReplyDone, float], None]] = []
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
            bundle, dtype=options.dtype, device=options.device, has_weights=options.backend == "builtin"
        )
        folder = Path(bundle).resolve()
        name = folder.parent.name if folder.name == "bundle" and bundle_folder(bundle) == folder else folder.name
        return cls(loaded, options, name)

    def open(self, *, voice: str | None = None, instructions: str = "") -> Conversation:
        """A new dialogue.

        Raises:
            NoFreeConversationError: as many are open as may be.
            UserError: an unknown voice, or the engine is closed.
        """
        if not self._is_open:
            raise UserError("the engine", found="closed", remedy="open a new one")
        if len(self._talkers) >= self.options.max_talkers:
            raise NoFreeConversationError("the engine", found=f"{len(self._talkers)} talkers", remedy="try again later")
        talker = Conversation(self, self._voice(voice), instructions)
        self._talkers.add(talker)
        self._watch()
        return talker

    def forget(self, talker: Conversation) -> None:
        """A talker was closed."""
        self._talkers.discard(talker)

    async def listen(self, audio: Samples) -> Codes:
        """The tokens of a whole turn of speech, (S,) float32 at 16 kHz, without its silence (`engine.silence`)."""
        tokenizer, kept = self.bundle.tokenizer, self.bundle.settings.reply.kept_silence
        (codes,) = await self.ears.run(lambda: tokenizer.encode([without_silence(audio, kept)]))
        return codes

    async def transcribe(self, audio: Samples) -> Transcript:
        """Write speech down, (S,) float32 at 16 kHz, by the language model's ASR task.

        Raises:
            UserError: the audio is too short, too long, or none.
        """
        samples = checked(audio)
        seconds = len(samples) / SAMPLE_RATE
        self.bundle.check_seconds(seconds, "the audio")
        v = self.bundle.vocabulary
        codes = await self.listen(samples)
        prompt = asr_prompt(codes, v).tolist()
        written = []
        async with self.jobs:
            context = self.backend.open()
            try:
                context.set(prompt)
                most = min(self.limits.context_tokens - len(prompt), 8 + len(codes))
                ask = GenerationRequest(max_new_tokens=most, stop=(v.eos,), allowed="text")
                async with aclosing(context.generate(ask)) as made:
                    written = [id async for id in made]
            finally:
                context.close()
        usage = Usage(input_audio=len(codes), output_text=len(written))
        return Transcript(text=v.decode_text(written), seconds=seconds, usage=usage)

    def speak(self, text: str, *, voice: str | None = None) -> AsyncGenerator[Samples]:
        """Read a text aloud; pieces (S,) of speech as soon as they are made. See `chatbot.engine.tts`.

        Raises:
            UserError: no text, or an unknown voice.
        """
        return read_aloud(self, text, self._voice(voice))

    def load(self) -> Load:
        """How busy it is."""
        return Load(
            talkers=len(self._talkers),
            max_talkers=self.options.max_talkers,
            responding=sum(talker.is_responding for talker in self._talkers),
            queued_seconds=sum(talker.queued_seconds for talker in self._talkers),
        )

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Take no new talker, let replies end for a while, close all talkers, end the threads."""
        if not self._is_open:
            return
        self._is_open = False
        deadline = time.monotonic() + grace_seconds
        while any(talker.is_responding for talker in self._talkers) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for talker in list(self._talkers):
            talker.close()
        if self._reaper is not None:
            self._reaper.cancel()
        await self.backend.close()
        if self.reader is not self.backend:
            await self.reader.close()
        await asyncio.to_thread(self.ears.close)
        await asyncio.to_thread(self.mouth.close)

    def _voice(self, voice: str | None) -> str:
        if voice is not None and voice not in self.voices:
            raise UserError("voice", found=repr(voice), remedy=f"choose one of {', '.join(self.voices)}")
        return voice or self.voices[0]

    def _watch(self) -> None:
        """Close talkers of whom nothing was asked for long, now and then."""
        longest = self.options.max_idle_seconds
        if self._reaper is not None or not longest:
            return

        def reap() -> None:
            self._reaper = None
            for talker in list(self._talkers):
                if not talker.is_responding and time.monotonic() - talker.touched > longest:
                    talker.close()
            if self._talkers:
                self._watch()

        self._reaper = asyncio.get_running_loop().call_later(min(longest / 2, 30.0), reap)


def make_backend(bundle: Bundle, options: EngineOptions) -> LanguageModelBackend:
    """Where the language model runs.

    Raises:
        UserError: an endpoint that does not answer.
    """
    if options.backend == "openai":
        from .backends.endpoint import Remote

        return Remote(
            bundle.vocabulary,
            bundle.max_length,
            url=options.url,
            model=options.model,
            key=options.key,
            dialect=options.dialect,
        )
    if not isinstance(bundle.generator, Generator):
        raise UserError("the bundle", found="no weights of the language model", remedy="load them: has_weights=True")
    return Builtin(bundle.generator, options.max_talkers + options.max_jobs)
