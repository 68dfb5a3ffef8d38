"""Replies on the terminal: words appear as they come, the speech is played while it is made.

S samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chatbot.engine.events import NO_SPEECH, AudioDelta, Event, ReplyDone, TextDelta, TranscriptDelta
from corpus.audio.files import Samples
from runtime.errors import UserError

from .sound_card import Loudspeaker


@dataclass(frozen=True, eq=False, kw_only=True)
class ShownReply:
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
) -> ShownReply:
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
    if done.reason != NO_SPEECH:
        screen.grow("said:", "")
    screen.end()
    if done.status == "failed":
        raise UserError("the reply", found=done.reason, remedy="ask again")
    return ShownReply(done=done, audio=np.concatenate(pieces) if pieces else np.zeros(0, np.float32))


def say_end(shown: ShownReply, file: Path | None, rate: int, screen: Screen) -> None:
    """The line after a reply."""
    seconds, made = len(shown.audio) / rate, shown.done.timings
    if shown.done.status == "cancelled":
        screen.say("(stopped)")
    elif shown.done.reason == NO_SPEECH:
        screen.say("(nothing heard: nobody speaks in it)")
    elif not len(shown.audio):
        screen.say("spoken answer: none (the model ended its speech at once)")
    else:
        first = f", first sound after {made.first_audio:.2f} s" if made.first_audio is not None else ""
        screen.say(f"spoken answer: {f'{file} ' if file else ''}({seconds:.1f} s, made in {made.total:.2f} s{first})")
