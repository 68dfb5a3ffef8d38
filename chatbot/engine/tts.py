"""Text to speech by the TTS task of the bundle's reader, or else of its language model, as one stream of speech.

The model is trained on sentences: the text is cut at their ends, and long ones, numbers and abbreviations written out,
at commas or between words. All pieces go through one decoder stream, so there is no seam.

S samples.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Self

from corpus.audio.files import Samples
from corpus.text.normalisation import split_sentences
from corpus.text.spoken_form import spoken_form
from lm.data.formats import tts_prompt
from lm.data.special_tokens import SpecialToken
from lm.inference.batching import GenerationRequest
from runtime.errors import UserError

from .backends.builtin import Context
from .models import Models
from .speech import SpeechPipe, first_cause

MOST_WORDS = 20  # of a piece
LONGEST_TOKEN, LONGEST_PAUSE = 12, 25  # speech tokens for one of text (1 s), and in addition: a bound on babbling
MOST_BLOCKS = 8  # of speech that may wait to be taken
CLAUSE_END = re.compile(r"(?<=[,;:])\s+")


async def read_aloud(models: Models, text: str, voice: str) -> AsyncGenerator[Samples]:
    """Speech (S,) of a text, in blocks as they are made.

    Args:
        models: of the models.
        text: any length.
        voice: of the decoder; also the model's, if it knows one of that name.

    Raises:
        UserError: nothing to say, or the model fails.
    """
    reading = Reading(models, voice)
    if not reading.prompts(text):
        raise UserError("the text", found="nothing to say", remedy="write something")
    steps = models.bundle.settings.reply.decoder_steps
    blocks: asyncio.Queue[Samples | None] = asyncio.Queue(MOST_BLOCKS)
    pipe = SpeechPipe(models.bundle.decoder, models.decoder_worker, voice, steps)
    failure: Exception | None = None

    async def write() -> None:
        async with models.jobs:
            with reading:
                async with aclosing(reading.tokens(text)) as codes:
                    async for code in codes:
                        pipe.feed(code)

    async def make() -> None:
        nonlocal failure
        try:
            await pipe.run_while(write(), blocks.put)
        except ExceptionGroup as errors:
            failure = first_cause(errors)
        await blocks.put(None)

    task = asyncio.create_task(make())
    try:
        while (samples := await blocks.get()) is not None:
            yield samples
        if failure is not None:
            raise failure
    finally:
        task.cancel()
        await asyncio.wait([task])


class Reading:
    """Texts in speech tokens by the reader, one after the other; as a context it holds a row of the reader.

    Args:
        models: with the reader.
        voice: of the decoder; also the reader's, if it knows one of that name.
    """

    def __init__(self, models: Models, voice: str) -> None:
        self.models, self.vocabulary = models, models.bundle.spoken_vocabulary
        known = self.vocabulary.speakers
        self.tag = voice if voice in known else next(iter(known))
        self._context: Context | None = None

    def __enter__(self) -> Self:
        self._context = self.models.reader.open()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._context is not None
        self._context.close()

    def prompts(self, text: str) -> list[list[int]]:
        """The prompt of each piece of a text; none where it has nothing to say.

        Raises:
            UserError: a word that is too long for the reader.
        """
        reply, v = self.models.bundle.settings.reply, self.vocabulary
        pieces = [reply.as_learnt(piece) for piece in pieces_of(written_out(text))]
        made = [tts_prompt(piece, self.tag, v).tolist() for piece in pieces]
        longest = max(map(len, made), default=0)
        if 2 * longest > self.models.reader.max_length:
            remedy = "write shorter words; a model of more positions reads longer ones"
            raise UserError("the text", found=f"a piece without a break of {longest} tokens", remedy=remedy)
        return made

    async def tokens(self, text: str) -> AsyncGenerator[int]:
        """The codes of a text, as they are made."""
        assert self._context is not None
        v, reader = self.vocabulary, self.models.reader
        end = v.special(SpecialToken.END_OF_AUDIO)
        for prompt in self.prompts(text):
            self._context.set(prompt)
            most = min(LONGEST_PAUSE + LONGEST_TOKEN * len(prompt), reader.max_length - len(prompt))
            ask = GenerationRequest(max_new_tokens=most, stop=(end,), allowed="speech")
            async with aclosing(self._context.generate(ask)) as made:
                async for id in made:
                    if v.is_speech(id):
                        yield id - v.speech_offset


def ended_sentences(text: str) -> list[str]:
    """The sentences of a text that is still being written which are whole: a word stands behind each."""
    sentences = split_sentences(text)
    is_followed = bool(sentences) and (text[-1].isspace() or " " in sentences[-1])
    return sentences[: -1 if is_followed else -2]


def written_out(text: str) -> str:
    """A text in words, sentence by sentence; what has no reading is spelt out."""
    return " ".join(spoken_form(sentence, "builtin").spelt_out for sentence in split_sentences(text))


def pieces_of(text: str) -> Iterator[str]:
    """The sentences of a text, those of more than `MOST_WORDS` words cut at clauses, or else between words."""
    for sentence in split_sentences(text):
        held: list[str] = []
        for clause in CLAUSE_END.split(sentence):
            words = clause.split()
            if held and len(held) + len(words) > MOST_WORDS:
                yield " ".join(held)
                held = []
            held += words
            while len(held) > MOST_WORDS:
                yield " ".join(held[:MOST_WORDS])
                held = held[MOST_WORDS:]
        if any(character.isalnum() for character in "".join(held)):
            yield " ".join(held)
