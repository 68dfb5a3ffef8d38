"""A dialogue in the terminal.

At the prompt: Enter and then speech (where there is a microphone), a typed question, or the name of a sound file.
Ctrl-C stops a reply; twice, or Ctrl-D, leaves.

S samples.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from chatbot.engine.conversation import Conversation
from chatbot.engine.engine import Engine
from chatbot.engine.turns import HeardTurn, TurnListener
from chatbot.engine.vad import SpeechStarted, TurnOptions
from corpus.audio.files import read_audio, write_audio
from runtime.errors import UserError
from runtime.record_warnings import collected_warnings

from .keyboard import Keyboard
from .screen import Screen, say_end, show
from .sound_card import Loudspeaker, Microphone, SoundCardError

OUT = Path("answer.wav")
PROMPT = "you> "
HELP = "Enter and speak, type a question, or name a sound file; Ctrl-C stops a reply, Ctrl-D leaves."
TYPED = "Type a question, or name a sound file; Ctrl-C stops a reply, Ctrl-D leaves."
SOUND_FILES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".au")
LISTEN_SECONDS = 8.0  # of silence after which the microphone is closed again


class TerminalDialogue:
    """A dialogue at the keyboard, by microphone and loudspeaker where there are any.

    Args:
        engine: of the conversation.
        conversation: that answers.
        out: where spoken answers go, numbered; None keeps them only if there is no loudspeaker.
    """

    def __init__(self, engine: Engine, conversation: Conversation, out: Path | None) -> None:
        self.engine, self.conversation = engine, conversation
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
                    self.conversation.truncate(self._played)
                self._say_failure(work)
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
            with collected_warnings() as warned:
                audio = read_audio(Path(line).expanduser())
            for message in warned:
                self.screen.say(f"warning: {message}")
            self.engine.bundle.check_question(audio, str(Path(line)))
            await self.conversation.add_audio(audio)
        else:
            self.conversation.add_text("user", line)
        has_transcript = is_spoken and self.engine.bundle.settings.reply.transcribe_first
        self._has_begun = True
        shown = await show(self.conversation.respond(), self.screen, self.loudspeaker, has_transcript)
        self.num_answers += 1
        file = numbered(self.out, self.num_answers, 0) if self.out and len(shown.audio) else None
        if file is not None:
            write_audio(file, shown.audio, self.engine.sample_rate)
        say_end(shown, file, self.engine.sample_rate, self.screen)
        if self.loudspeaker is not None:
            if shown.done.status != "cancelled":
                await self.loudspeaker.finish()
            self.loudspeaker.stop()

    async def _listen(self) -> bool:
        """Record a question by the microphone until silence follows; False if nobody spoke."""
        self.screen.write("(listening) ")
        if not await self._record():
            self.conversation.clear()
            return False
        self.screen.say("")
        return (await self.conversation.commit()).tokens > 0

    async def _record(self) -> bool:
        """Feed the conversation one turn of the microphone's sound; whether there was one."""
        listener, silent = TurnListener(TurnOptions(), self.engine.limits.max_question_seconds), 0.0
        async with Microphone() as microphone:
            async for samples in microphone:
                for sound in listener.feed(samples):
                    if isinstance(sound, HeardTurn):
                        self.conversation.feed(sound.samples)
                    elif isinstance(sound, SpeechStarted):
                        self.screen.write("...")
                    else:
                        return True
                silent = 0.0 if listener.is_in_turn else silent + len(samples) / 16000
                if silent > LISTEN_SECONDS:
                    break
        return False

    async def _find_microphone(self) -> bool:
        try:
            async with Microphone():
                return True
        except SoundCardError as error:
            self.screen.say(f"No microphone: {error}.")
            return False

    def _say_failure(self, work: asyncio.Task[None]) -> None:
        if work.cancelled():
            self.conversation.clear()
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
        if self.conversation.is_responding:
            self.conversation.cancel()
        elif self._at_work is not None:
            self._at_work.cancel()
        if self.loudspeaker is not None:
            self._played = self.loudspeaker.stop()
        if self._interrupts > 1:
            self._keyboard.close()
        elif self._at_work is None:
            self.screen.write("\n(Ctrl-C again leaves)\n" + PROMPT)


def open_loudspeaker(rate: int) -> tuple[Loudspeaker | None, str]:
    """The loudspeaker, or the reason why there is none."""
    try:
        return Loudspeaker(rate), ""
    except SoundCardError as error:
        return None, str(error)


def numbered(out: Path, number: int, count: int) -> Path:
    """The file of answer ``number`` (from 1) of ``count``; 0 is not known beforehand."""
    return out if count == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
