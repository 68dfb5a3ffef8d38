"""The two sessions of ``speechweave chat``: sound files answered one after the other, or a dialogue at the keyboard."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from pathlib import Path

from chatbot.engine.engine import Engine
from chatbot.engine.events import NO_SPEECH, ReplyDone
from chatbot.engine.loudness import NO_SAMPLES
from chatbot.engine.options import EngineOptions
from chatbot.question_limits import is_silent
from corpus.audio.files import SAMPLE_RATE, Samples, write_audio
from runtime.errors import UserError

from .config import ChatConfig
from .dialogue import OUT, TerminalDialogue, numbered, open_loudspeaker
from .screen import Screen, ShownReply, say_end, show


def hold_session(config: ChatConfig, audios: Sequence[Samples]) -> None:
    """Answer the questions, (S,) samples at 16 kHz each; without any, hold a dialogue until the user leaves."""
    asyncio.run(answer_files(config, audios) if audios else converse(config))


async def answer_files(config: ChatConfig, audios: Sequence[Samples]) -> None:
    """Answer spoken questions one after the other, in one dialogue."""
    out = Path(config.out) if config.out else OUT
    screen = Screen(is_quiet=config.json)
    if all(is_silent(audio) for audio in audios):  # answered without a model
        unheard = ShownReply(done=ReplyDone(status="completed", reason=NO_SPEECH), audio=NO_SAMPLES)
        for _ in audios:
            report(unheard, None, SAMPLE_RATE, screen, config)
        return
    async with open_engine(config) as engine:
        conversation = engine.open(voice=config.voice)
        loudspeaker, reason = open_loudspeaker(engine.sample_rate) if config.play else (None, "")
        if config.play and loudspeaker is None:
            raise UserError("option --play", found=reason, remedy="install it, or leave --play out")
        for number, audio in enumerate(audios, 1):
            await conversation.add_audio(audio)
            has_transcript = engine.bundle.settings.reply.transcribe_first
            shown = await show(conversation.respond(), screen, loudspeaker, has_transcript)
            if loudspeaker is not None:
                await loudspeaker.finish()
            file = numbered(out, number, len(audios)) if len(shown.audio) else None
            if file is not None:
                write_audio(file, shown.audio, engine.sample_rate)
            report(shown, file, engine.sample_rate, screen, config)


def report(shown: ShownReply, file: Path | None, rate: int, screen: Screen, config: ChatConfig) -> None:
    """The line after a reply, or its JSON object."""
    say_end(shown, file, rate, screen)
    if config.json:
        print(json.dumps(record(shown, file, rate), ensure_ascii=False), flush=True)


async def converse(config: ChatConfig) -> None:
    """Hold a dialogue until the user leaves."""
    async with open_engine(config) as engine:
        out = Path(config.out) if config.out else None
        await TerminalDialogue(engine, engine.open(voice=config.voice), out).run()


@contextlib.asynccontextmanager
async def open_engine(config: ChatConfig) -> AsyncGenerator[Engine]:
    """An engine for one conversation."""
    engine = Engine.from_pretrained(config.bundle, EngineOptions(max_talkers=1, threads=config.threads))
    try:
        yield engine
    finally:
        await engine.close(0.0)


def record(shown: ShownReply, file: Path | None, rate: int) -> dict[str, object]:
    """A reply as ``--json`` prints it."""
    timings = {part: value and round(value, 4) for part, value in asdict(shown.done.timings).items()}
    return {
        "heard": "" if shown.done.reason == NO_SPEECH else shown.done.transcript or None,
        "said": shown.done.text,
        "is_understood": shown.done.is_understood,
        "audio": str(file) if file else None,
        "seconds": round(len(shown.audio) / rate, 3),
        "timings": timings,
    }
