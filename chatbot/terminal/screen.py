"""A dialogue in the terminal: words appear as they are heard and said, the reply sounds while it is made.

At the prompt: Enter and then speech (where there is a microphone), a typed question, or the name of a sound file.
Ctrl-C stops a reply; twice, or Ctrl-D, leaves.

S samples.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from chatbot.chat import OUT, numbered
from chatbot.engine.conversation import Conversation
from chatbot.engine.engine import Engine, EngineOptions
from chatbot.engine.events import AudioDelta, Event, ReplyDone, TextDelta, TranscriptDelta
from chatbot.engine.vad import SpeechStarted, SpeechStopped, TurnDetector
from corpus.audio.files import Samples, read_audio, write_audio
from runtime.errors import UserError

from .keyboard import Keyboard
from .sound_card import Loudspeaker, Microphone, SoundCardError

PROMPT = "you> "
HELP = "Enter and speak, type a question, or name a sound file; Ctrl-C stops a reply, Ctrl-D leaves."
TYPED = "Type a question, or name a sound file; Ctrl-C stops a reply, Ctrl-D leaves."
SOUND_FILES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".au")
LISTEN_SECONDS = 8.0  # of silence after which the microphone is closed again


@dataclass(frozen=True, eq=False, kw_only=True)
class Shown:
    """A reply that was shown: its end, and its speech (S,)."""

    done: ReplyDone
    audio: Samples


class Screen:
    """Lines that grow as their words come."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self.is_quiet = is_quiet
        self._label = ""

    def grow(self, label: str, text: str) -> None:
        """Add text to the line of this label; another label begins a line."""
        if label != self._label:
            self.end()
            self.write(f"{label:<6} ")
            self._label = label
        self.write(one_line(text))

    def end(self) -> None:
        """End the growing line."""
        if self._label:
            self.write("\n")
        self._label = ""

    def say(self, line: str) -> None:
        """A line of its own."""
        self.end()
        self.write(line + "\n")

    def write(self, text: str) -> None:
        """Characters."""
        if not self.is_quiet:
            print(text, end="", flush=True)


def one_line(text: str) -> str:
    """A piece of text that a terminal can show: without control characters, and without ends of lines."""
    spaced = "".join(" " if character.isspace() else character for character in text)
    return "".join(character for character in spaced if character.isprintable())


async def show(
    events: AsyncGenerator[Event], screen: Screen, loudspeaker: Loudspeaker | None, expects_transcript: bool
) -> Shown:
    """Show a reply while it is made, and play it."""
    pieces: list[Samples] = []
    done = ReplyDone(status="failed")
    if expects_transcript:
        screen.grow("heard:", "")
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, TranscriptDelta):
                screen.grow("heard:", event.text)
            elif isinstance(event, TextDelta):
                screen.grow("said:", event.text)
            elif isinstance(event, AudioDelta):
                pieces.append(event.samples)
                if loudspeaker is not None:
                    loudspeaker.play(event.samples)
            else:
                done = event
    screen.grow("said:", "")
    screen.end()
    if done.status == "failed":
        raise UserError("the reply", found=done.reason, remedy="ask again")
    return Shown(done=done, audio=np.concatenate(pieces) if pieces else np.zeros(0, np.float32))


def tell_end(shown: Shown, file: Path | None, rate: int, screen: Screen) -> None:
    """The line after a reply."""
    seconds, made = len(shown.audio) / rate, shown.done.timings
    if shown.done.status == "cancelled":
        screen.say("(stopped)")
    elif not len(shown.audio):
        screen.say("spoken answer: none (the model ended its speech at once)")
    else:
        first = f", first sound after {made.first_audio:.2f} s" if made.first_audio is not None else ""
        screen.say(f"spoken answer: {f'{file} ' if file else ''}({seconds:.1f} s, made in {made.total:.2f} s{first})")


@contextlib.asynccontextmanager
async def open_talker(options: argparse.Namespace) -> AsyncGenerator[tuple[Engine, Conversation]]:
    """An engine with one talker."""
    engine = Engine.from_pretrained(options.bundle, EngineOptions(max_talkers=1, threads=max(1, options.threads)))
    try:
        yield engine, engine.open(voice=options.voice)
    finally:
        await engine.close(0.0)


def open_loudspeaker(rate: int) -> tuple[Loudspeaker | None, str]:
    """The loudspeaker, or why there is none."""
    try:
        return Loudspeaker(rate), ""
    except SoundCardError as error:
        return None, str(error)


async def answer_files(options: argparse.Namespace, audios: Sequence[Samples]) -> None:
    """Answer spoken questions one after the other, in one dialogue."""
    out: Path = options.out or OUT
    screen = Screen(is_quiet=options.json)
    async with open_talker(options) as (engine, talker):
        for question, audio in zip(options.questions, audios, strict=True):
            check(engine, audio, question)
        loudspeaker, reason = open_loudspeaker(engine.sample_rate) if options.play else (None, "")
        if options.play and loudspeaker is None:
            raise UserError("option --play", found=reason, remedy="install it, or leave --play out")
        for number, audio in enumerate(audios, 1):
            await talker.add_audio(audio)
            is_told = engine.bundle.settings.reply.transcribe_first
            shown = await show(talker.respond(), screen, loudspeaker, is_told)
            if loudspeaker is not None:
                await loudspeaker.finish()
            file = numbered(out, number, len(audios)) if len(shown.audio) else None
            if file is not None:
                write_audio(file, shown.audio, engine.sample_rate)
            tell_end(shown, file, engine.sample_rate, screen)
            if options.json:
                print(json.dumps(record(shown, file, engine.sample_rate), ensure_ascii=False), flush=True)


def check(engine: Engine, audio: Samples, question: Path) -> None:
    """Raise a `UserError` that names the file unless it can be listened to."""
    engine.bundle.check_question(audio, str(question))


def record(shown: Shown, file: Path | None, rate: int) -> dict[str, object]:
    """What scripts get of a reply."""
    timings = {part: value and round(value, 4) for part, value in asdict(shown.done.timings).items()}
    return {
        "heard": shown.done.transcript or None,
        "said": shown.done.text,
        "audio": str(file) if file else None,
        "seconds": round(len(shown.audio) / rate, 3),
        "timings": timings,
    }


async def converse(options: argparse.Namespace) -> None:
    """Hold a dialogue until the user leaves."""
    async with open_talker(options) as (engine, talker):
        dialogue = TerminalDialogue(engine, talker, options.out)
        await dialogue.run()


class TerminalDialogue:
    """A dialogue at the keyboard, by microphone and loudspeaker where there are any.

    Args:
        engine: of the talker.
        talker: who answers.
        out: where spoken answers go, numbered; None keeps them only if there is no loudspeaker.
    """

    def __init__(self, engine: Engine, talker: Conversation, out: Path | None) -> None:
        self.engine, self.talker = engine, talker
        self.screen = Screen()
        self.loudspeaker, reason = open_loudspeaker(engine.sample_rate)
        self.out = out or (None if self.loudspeaker else OUT)
        self.num_answers = 0
        self._at_work: asyncio.Task[None] | None = None
        self._interrupts = 0
        self._has_begun = False  # to reply, in this turn
        self._played = 0.0  # seconds of a reply that was stopped
        self._keyboard = Keyboard()
        if self.loudspeaker is None:
            self.screen.say(f"No sound: {reason}. Answers go to {numbered(self.out or OUT, 1, 0)} and so on.")

    async def run(self) -> None:
        """Ask and answer until Ctrl-D, or Ctrl-C twice."""
        self.has_microphone = await self._find_microphone()
        self.screen.say(HELP if self.has_microphone else TYPED)
        with self._interrupts_handled():
            while True:
                self.screen.write(PROMPT)
                line = await self._keyboard.line()
                if line is None:
                    self.screen.say("")
                    return
                self._interrupts, self._has_begun = 0, False
                self._at_work = asyncio.create_task(self._turn(line.strip()))
                await asyncio.wait([self._at_work])
                work, self._at_work = self._at_work, None
                if self._interrupts and self._has_begun and self.loudspeaker is not None:
                    self.talker.truncate(self._played)
                self._tell_failure(work)
                if self._interrupts > 1:
                    return

    async def _turn(self, line: str) -> None:
        """One question and its answer."""
        is_spoken = not line or line.lower().endswith(SOUND_FILES)
        if not line:
            if not self.has_microphone:
                return
            if not await self._listen():
                self.screen.say("(nothing heard)")
                return
        elif is_spoken:
            audio = read_audio(Path(line).expanduser())
            check(self.engine, audio, Path(line))
            await self.talker.add_audio(audio)
        else:
            self.talker.add_text("user", line)
        is_told = is_spoken and self.engine.bundle.settings.reply.transcribe_first
        self._has_begun = True
        shown = await show(self.talker.respond(), self.screen, self.loudspeaker, is_told)
        self.num_answers += 1
        file = numbered(self.out, self.num_answers, 0) if self.out and len(shown.audio) else None
        if file is not None:
            write_audio(file, shown.audio, self.engine.sample_rate)
        tell_end(shown, file, self.engine.sample_rate, self.screen)
        if self.loudspeaker is not None:
            if shown.done.status != "cancelled":
                await self.loudspeaker.finish()
            self.loudspeaker.stop()

    async def _listen(self) -> bool:
        """Hear a question by the microphone until silence follows; whether one was."""
        detector, silent = TurnDetector(), 0.0
        self.screen.write("(listening) ")
        async with Microphone() as microphone:
            async for samples in microphone:
                events = detector.feed(samples)
                self.talker.hear(samples)
                if any(isinstance(event, SpeechStopped) for event in events):
                    break
                if any(isinstance(event, SpeechStarted) for event in events):
                    self.screen.write("...")
                silent = 0.0 if detector.is_speaking else silent + len(samples) / 16000
                if silent > LISTEN_SECONDS:
                    self.talker.clear()
                    return False
        self.screen.say("")
        await self.talker.commit()
        return True

    async def _find_microphone(self) -> bool:
        try:
            async with Microphone():
                return True
        except SoundCardError as error:
            self.screen.say(f"No microphone: {error}.")
            return False

    def _tell_failure(self, work: asyncio.Task[None]) -> None:
        if work.cancelled():
            self.talker.clear()
            self.screen.say("(stopped)")
        elif isinstance(error := work.exception(), UserError | SoundCardError):
            self.screen.say(f"error: {error}")
        elif error is not None:
            raise error

    @contextlib.contextmanager
    def _interrupts_handled(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        """Ctrl-C: stop what is going on; the second time, leave."""
        self._interrupts += 1
        if self.talker.is_responding:
            self.talker.cancel()
        elif self._at_work is not None:
            self._at_work.cancel()
        if self.loudspeaker is not None:
            self._played = self.loudspeaker.stop()
        if self._interrupts > 1:
            self._keyboard.close()
        elif self._at_work is None:
            self.screen.write("\n(Ctrl-C again leaves)\n" + PROMPT)


if __name__ == "__main__":
    sys.exit("run speechweave chat")
