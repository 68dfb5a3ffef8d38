"""Speech of the user as ids that the language model reads: tokens of a speech tokenizer, or lent ids of vectors.

    hearing = make_hearing(bundle, worker, release)
    stream = hearing.open_turn()                       # of one turn, while it is spoken
    ids = hearing.ids(await stream.feed(samples))
    hearing.release(ids)                               # once nothing holds them any more

Encoding runs on the worker's thread; ids are given and taken back on the event loop.

S samples at 16 kHz, P positions of the language model, H its width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from corpus.audio.files import Samples
from lm.inference.connector_stream import ConnectorStream
from lm.inference.lent_vectors import LentVectors
from lm.inference.listening_model import ListeningModel
from runtime.streaming import Array
from tokenizer.model import SpeechTokenizer
from tokenizer.streaming import VectorStream

from .bundle_parts import Bundle
from .loudness import NO_SAMPLES
from .worker import Worker


class TurnStream(Protocol):
    """The speech of one turn as it comes; what is given is final."""

    async def feed(self, audio: Samples) -> Array:
        """Take (S,) samples; codes (P,), or vectors (P, H), that are known now."""

    async def finish(self) -> Array:
        """The rest: the turn is over."""


class Hearing(Protocol):
    """The model's sense of hearing."""

    def open_turn(self) -> TurnStream:
        """A stream for one turn."""

    def encode(self, audio: Samples) -> Array:
        """The codes or vectors of a whole turn (S,); none of no samples. Called on the worker's thread."""

    def ids(self, heard: Array) -> list[int]:
        """The ids that the language model reads them by; they are in use until `release`."""

    def release(self, ids: Sequence[int]) -> None:
        """End the use of those of ``ids`` that stand for vectors: the contexts have been set to others before."""


class TokenHearing:
    """Speech tokens.

    Args:
        tokenizer: makes them.
        speech_offset: id of the first code.
        worker: the tokenizer's thread.
    """

    def __init__(self, tokenizer: SpeechTokenizer, speech_offset: int, worker: Worker) -> None:
        self.tokenizer, self.speech_offset, self.worker = tokenizer, speech_offset, worker

    def open_turn(self) -> TokenTurn:
        """A stream of codes."""
        return TokenTurn(self)

    def encode(self, audio: Samples) -> Array:
        """The codes (P,) of a whole turn."""
        (codes,) = self.tokenizer.encode([audio])
        return codes

    def ids(self, heard: Array) -> list[int]:
        """Ids of the codes; nothing is held."""
        return [self.speech_offset + int(code) for code in heard]

    def release(self, ids: Sequence[int]) -> None:
        """Nothing is held."""


class TokenTurn:
    """The codes of one turn.

    Attributes:
        stream: of the tokenizer.
    """

    def __init__(self, hearing: TokenHearing) -> None:
        self._worker, self.stream = hearing.worker, hearing.tokenizer.open_stream()

    async def feed(self, audio: Samples) -> Array:
        """The codes that are known now."""
        return (await self._worker.feed(self.stream, audio)).output

    async def finish(self) -> Array:
        """The rest."""
        return (await self._worker.feed(self.stream, NO_SAMPLES, is_last=True)).output


class VectorHearing:
    """Vectors of a speech encoder and a connector, behind lent ids.

    A vector that is taken back may still be read by a step of the language model that was ordered before; ``order``
    puts the end of its use behind those.

    Args:
        model: encoder, connector, and the language model.
        worker: the encoder's thread.
        order: calls a function on the event loop once the language model has done what it was ordered before.
    """

    def __init__(self, model: ListeningModel, worker: Worker, order: Callable[[Callable[[], None]], None]) -> None:
        self.model, self.worker, self._order = model, worker, order
        self.encoder = model.needed_encoder

    @property
    def vectors(self) -> LentVectors:
        """The vectors that are in use."""
        return self.model.generator.model.vectors

    def open_turn(self) -> VectorTurn | WholeTurn:
        """A stream of vectors; of an encoder that sees the whole clip all of them come at the end."""
        if self.encoder.is_streaming:
            return VectorTurn(self, self.encoder.open_stream())
        return WholeTurn(self)

    def encode(self, audio: Samples) -> Array:
        """The vectors (P, H) of a whole turn."""
        if not self.encoder.num_positions(len(audio)):
            return np.zeros((0, self.model.generator.model.width), dtype=np.float32)
        (made_PH,) = self.model.hear([audio])
        found: Array = made_PH.float().cpu().numpy()
        return found

    def ids(self, heard: Array) -> list[int]:
        """Lent ids of vectors (P, H)."""
        lent: list[int] = self.vectors.lend(torch.from_numpy(heard)).tolist()
        return lent

    def release(self, ids: Sequence[int]) -> None:
        """Take lent ids back."""
        given = np.array(ids, dtype=np.int64)
        if len(lent := given[self.vectors.is_lent(given)]):
            self._order(lambda: self.vectors.take_back(lent))


class VectorTurn:
    """The vectors of one turn, each as soon as the encoder and the connector know it.

    Args:
        hearing: whose turn it is.
        stream: of the encoder.
    """

    def __init__(self, hearing: VectorHearing, stream: VectorStream) -> None:
        self._worker, self._stream = hearing.worker, stream
        self._connector = ConnectorStream(hearing.model.connector)

    async def feed(self, audio: Samples) -> Array:
        """The vectors that are known now."""
        return await self._connect(audio, is_last=False)

    async def finish(self) -> Array:
        """The rest."""
        return await self._connect(NO_SAMPLES, is_last=True)

    async def _connect(self, audio: Samples, *, is_last: bool) -> Array:
        made = (await self._worker.feed(self._stream, audio, is_last=is_last)).output

        def connect() -> Array:
            connected: Array = self._connector.feed(torch.from_numpy(made), is_last=is_last).cpu().numpy()
            return connected

        return await self._worker.run(connect)


class WholeTurn:
    """The vectors of one turn, encoded when it is over."""

    def __init__(self, hearing: VectorHearing) -> None:
        self._hearing, self._pieces = hearing, list[Samples]()

    async def feed(self, audio: Samples) -> Array:
        """Keep the audio; no vector is known yet."""
        self._pieces.append(audio)
        return np.zeros((0, self._hearing.model.generator.model.width), dtype=np.float32)

    async def finish(self) -> Array:
        """All vectors."""
        audio = np.concatenate([NO_SAMPLES, *self._pieces])
        return await self._hearing.worker.run(lambda: self._hearing.encode(audio))


def make_hearing(bundle: Bundle, worker: Worker, order: Callable[[Callable[[], None]], None]) -> Hearing:
    """The bundle's sense of hearing: of its speech tokenizer, or of its encoder and connector."""
    if bundle.hearing is not None:
        return VectorHearing(bundle.hearing, worker, order)
    assert bundle.tokenizer is not None
    return TokenHearing(bundle.tokenizer, bundle.vocabulary.speech_offset, worker)
