"""Decoding of one reply into text and speech tokens, piece by piece, in the format of the model's training
(`lm.data.reply_format`).

Each part may hold its own kind of token only, and has its own limit. What a limit ends is closed as the model would
have closed it, so that the dialogue stays one that the model knows.
"""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal, NamedTuple

import numpy as np

from lm.data.reply_format import ReplyState
from lm.data.special_tokens import SpecialToken
from lm.data.vocabulary import Vocabulary
from lm.inference.batching import GenerationRequest
from lm.inference.lent_vectors import with_placeholders
from lm.inference.output_head import Allowed
from lm.inference.sampling import prompt_seeds
from runtime.hashing import seed_of

from .backends.builtin import Context
from .bundle_parts import Bundle
from .options import ReplyOptions

LONGEST_RUN = 64  # tokens asked for at once in the streaming format


class ReplyPiece(NamedTuple):
    """A piece of text of the transcript or of the reply, or one speech code of the reply."""

    kind: Literal["transcript", "text", "speech"]
    text: str = ""
    code: int = -1


class ReplyDecoder:
    """The reply after ``<|assistant|>``, which the context ends with.

    Args:
        bundle: its settings say the format and the limits.
        context: what the model has read; the reply is added to it.
        options: of the reply; without audio it stops after the text, as do all replies of a model that hears vectors.
        has_transcript: the question was spoken: its words come first, if the format has them.

    Attributes:
        start: tokens of the context before the reply.
        body: tokens of the context before the reply proper (after a transcript); 0 until then.
        limit: which limit ended a part: ``max_tokens`` or ``context``; "" is none.
        seconds: of waiting for tokens.
        confidence: mean probability of the tokens of the transcript, or of the reply's text, whichever is lower; None
            where it is not wanted, or an endpoint tells none.
        is_understood: the confidence is not below the bundle's ``min_confidence``; otherwise the reply is the bundle's
            ``not_understood`` in the place of what the model wrote.
    """

    def __init__(self, bundle: Bundle, context: Context, options: ReplyOptions, *, has_transcript: bool) -> None:
        self.bundle, self.context, self.options = bundle, context, options
        self.has_speech, self.has_transcript = options.has_audio and bundle.hearing is None, has_transcript
        self.vocabulary, self.reply, self.format = bundle.vocabulary, bundle.settings.reply, bundle.reply_format
        self.start, self.body, self.limit, self.seconds = len(context.ids), 0, "", 0.0
        self.confidence: float | None = None
        self.is_understood = True
        self._is_scored = options.is_scored or self.reply.min_confidence > 0
        self._left = options.max_tokens
        self._last = -1  # the latest id, a stop included

    async def pieces(self) -> AsyncGenerator[ReplyPiece]:
        """The reply, from its beginning to its end."""
        v = self.vocabulary
        if self.has_transcript and self.format.transcribes:
            self._add(v.special(SpecialToken.TRANSCRIPT))
            async for text in self._write([v.special(SpecialToken.ASSISTANT)], is_counted=False):
                yield ReplyPiece("transcript", text=text)
        self.body = len(self.context.ids)
        parts = self._alternate() if self.format.kind == "streaming" and self.has_speech else self._in_order()
        async with aclosing(parts):
            async for piece in parts:
                yield piece

    async def _in_order(self) -> AsyncGenerator[ReplyPiece]:
        """``text BOA speech EOA``, without the text in the direct format, without the rest where it is not wanted."""
        v = self.vocabulary
        begin, end = v.special(SpecialToken.BEGIN_OF_AUDIO), v.special(SpecialToken.END_OF_AUDIO)
        if self.format.kind == "speech":
            self._add(begin)
        else:
            ends = [] if self.has_speech else [v.special(SpecialToken.USER), v.eos]
            stops = [begin, *ends] if self.bundle.hearing is None else v.end_ids
            async with aclosing(self._checked(self._write(stops), stops[0])) as texts:
                async for text in texts:
                    yield ReplyPiece("text", text=text)
        if not self.has_speech:
            self.context.set(self.context.ids[:-1])  # the mark belongs to what does not follow
            return
        async with aclosing(self._generate("speech", self.bundle.max_speech_tokens, [end])) as made:
            async for id in made:
                yield ReplyPiece("speech", code=id - v.speech_offset)
        self._close(end)

    async def _checked(self, texts: AsyncGenerator[str], mark: int) -> AsyncGenerator[str]:
        """The reply's text ``texts``, or the bundle's sentence where the model was not sure enough of it.

        Nothing is yielded before the text is whole if it may be replaced; ``mark`` ends the sentence in the context.
        """
        if not self.reply.min_confidence:
            async for text in texts:
                yield text
            return
        written = [text async for text in texts]
        if self.confidence is None or self.confidence >= self.reply.min_confidence:
            for text in written:
                yield text
            return
        self.is_understood, self.limit = False, ""
        sentence = self.reply.as_learnt(self.reply.not_understood)
        self.context.set([*self.context.ids[: self.body], *self.vocabulary.encode_text(sentence), mark])
        yield self.reply.not_understood

    async def _alternate(self) -> AsyncGenerator[ReplyPiece]:
        """Streaming format: blocks of text and speech in turn, as `ReplyState` allows."""
        v = self.vocabulary
        state, words = ReplyState(self.format, v, transcribes=False), Words(v)
        num_text = num_speech = 0
        while state.part != "over":
            may = state.next
            is_written = num_text >= self.reply.max_text_tokens and may.speech
            allowed: Allowed = "speech" if is_written or not may.text else "both" if may.speech else "text"
            most = run_length(state, v)
            if state.part == "speech":
                most = min(most, self.bundle.max_speech_tokens - num_speech)
            before = num_text + num_speech
            async with aclosing(self._generate(allowed, most, list(may.marks))) as made:
                async for id in made:
                    state.push(id)
                    if v.is_speech(id):
                        num_speech += 1
                        yield ReplyPiece("speech", code=id - v.speech_offset)
                    else:
                        num_text += 1
                        yield ReplyPiece("text", text=words.add(id))
            if self._last in may.marks:
                self.context.set(self.context.ids[:-1])  # the mark is the next turn's
                break
            if num_text + num_speech == before:
                self.limit = self.limit or "max_tokens"
                break
            if is_written and may.text:
                self.limit = "max_tokens"
        yield ReplyPiece("text", text=words.rest())

    async def _write(self, stops: list[int], *, is_counted: bool = True) -> AsyncGenerator[str]:
        """Pieces of text until one of the ids ``stops``, the first of which closes it at its limit."""
        words = Words(self.vocabulary)
        async with aclosing(self._generate("text", self.reply.max_text_tokens, stops, is_counted=is_counted)) as made:
            async for id in made:
                yield words.add(id)
        yield words.rest()
        if self._is_scored and self.context.probabilities:
            sure = sum(self.context.probabilities) / len(self.context.probabilities)
            self.confidence = sure if self.confidence is None else min(sure, self.confidence)
        self._close(*stops)

    async def _generate(
        self, allowed: Allowed, most: int, stop: list[int], *, is_counted: bool = True
    ) -> AsyncGenerator[int]:
        """New ids up to one of ``stop``, which is not yielded, or up to ``most`` of them."""
        ids = self.context.ids
        room = self.bundle.max_length - len(ids) - 1  # for a mark that closes
        if is_counted and self._left is not None:
            most = min(most, self._left)
        self._last, self.context.probabilities = -1, []
        if min(most, room) <= 0:
            self.limit = "context" if room <= 0 else "max_tokens"
            return
        given = self.options.temperature
        as_set = self.reply.speech_temperature if allowed == "speech" else self.reply.text_temperature
        ask = GenerationRequest(
            max_new_tokens=min(most, room),
            stop=tuple(stop),
            allowed=allowed,
            temperature=as_set if given is None else given,
            top_p=self.reply.top_p if self.options.top_p is None else self.options.top_p,
            seed=self._seed(),
            is_speech_last=allowed == "both",
            is_scored=self._is_scored and allowed == "text",
        )
        waited = time.perf_counter()
        async with aclosing(self.context.generate(ask)) as made:
            async for id in made:
                self.seconds += time.perf_counter() - waited
                self._last = id
                if is_counted and self._left is not None:
                    self._left -= 1
                if id not in stop:
                    yield id
                waited = time.perf_counter()
        if room < most and self._last not in stop:
            self.limit = "context"

    def _seed(self) -> int:
        """Of the part that begins here: of all tokens before it, or of the given seed and its place in the reply."""
        ids = self.context.ids
        if self.options.seed is None:
            return int(prompt_seeds([with_placeholders(np.array(ids), self.vocabulary)])[0])
        return seed_of(self.options.seed, len(ids) - self.start)

    def _close(self, mark: int, *others: int) -> None:
        """End a part by its mark where a limit ended it."""
        if self._last not in (mark, *others):
            self.limit = self.limit or "max_tokens"
            self._add(mark)

    def _add(self, id: int) -> None:
        self.context.set([*self.context.ids, id])


class Words:
    """Incremental detokenisation of text: whole characters only."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary, self._ids, self._emitted = vocabulary, list[int](), ""

    def add(self, id: int) -> str:
        """The text that one more token adds; "" where its bytes are not all of a character."""
        self._ids.append(id)
        text = self._vocabulary.decode_text(self._ids)
        return "" if text.endswith("\ufffd") else self._emit(text)

    def rest(self) -> str:
        """The text left at the end, with incomplete characters."""
        return self._emit(self._vocabulary.decode_text(self._ids)) if self._ids else ""

    def _emit(self, text: str) -> str:
        new, self._emitted = text[len(self._emitted) :], text
        return new


def run_length(state: ReplyState, vocabulary: Vocabulary) -> int:
    """Number of tokens of the current kind that may come before the format allows another."""
    may, ahead = state.next, copy.copy(state)
    is_speech = not may.text or (may.speech and state.part == "speech")
    id = vocabulary.speech_offset if is_speech else vocabulary.encode_text("a")[0]
    count = 0
    while ahead.next == may and count < LONGEST_RUN:
        ahead.push(id)
        count += 1
    return count
