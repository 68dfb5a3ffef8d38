"""Clips of a micro batch: frames read, and the places of their vectors among the tokens.

A sample names the documents that it is cut from; their clips are read when samples become a micro batch, in a data
worker, and only for processes that need them (the first pipeline stage's first chunk). A clip that a sequence cuts is
read whole, since its encoder may look at all of it, and only its positions in the sequence are used.

Shapes: B batch, S tokens of a sequence, C clips, F frames (log-mel frames, stored vectors, or codes), M values of one.
"""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from corpus.audio.files import Samples, open_audio, to_mono
from runtime.errors import UserError

from .clips import ClipTable, FeatureShards, speech_runs
from .model_inputs import POSITION_BITS
from .vocabulary import Vocabulary

Array = npt.NDArray[Any]
REMEDY = "restore the file as it was, or write the corpus again (speech.max_unreadable_share tolerates some such clips)"


class DocumentSlice(NamedTuple):
    """A sample's part of a document: tokens ``start`` to ``stop``."""

    document: int
    start: int
    stop: int


class SampleClips(NamedTuple):
    """References to the clips of a sample.

    Attributes:
        reader: of the sample's corpus; None: text alone.
        parts: the slices that the sample is made of, in order.
        documents: the ids of each part's document, whole.
        places: of each part's first token in the sequence.
    """

    reader: ClipReader | None
    parts: Sequence[DocumentSlice]
    documents: Sequence[Array]
    places: Sequence[int]


NO_CLIPS = SampleClips(None, (), (), ())


class ClipReader(ABC):
    """Frames of the clips of one split of a corpus."""

    @abstractmethod
    def check(self, document: int, lengths: Sequence[int]) -> None:
        """Raise a `UserError` unless the runs of speech in a document are its clips, see `ClipTable.check_runs`."""

    @abstractmethod
    def fetch(self, document: int, number: int, ids: Array) -> Array:
        """The ``number``-th clip as it is stored: samples (S,), vectors (F, E) or codes (F,).

        Args:
            document: its number in the split.
            number: of the clip, from 0.
            ids: the run of speech ids that stands for it.

        Raises:
            UserError: the clip cannot be read, or is not as long as the ids say; names document, clip and file.
        """

    def frames(self, fetched: Array) -> Array:
        """Frames (F, M) or codes (F,) of what `fetch` gave."""
        return fetched

    def read(self, document: int, number: int, ids: Array) -> Array:
        """The frames of a clip; see `fetch`."""
        return self.frames(self.fetch(document, number, ids))


class FeatureReader(ClipReader):
    """Stored vectors."""

    def __init__(self, table: ClipTable) -> None:
        self.table, self.shards = table, FeatureShards(table)

    def check(self, document: int, lengths: Sequence[int]) -> None:
        """Compare the runs with the stored vectors' numbers."""
        self.table.check_runs(document, lengths)

    def fetch(self, document: int, number: int, ids: Array) -> Array:
        """(F, E) float16."""
        return self.shards.read(document, number)


class FrontEnd(Protocol):
    """Samples to frames: `tokenizer.hearing.base.SpeechFrontEnd`."""

    sample_rate: int
    frame_width: int

    def num_positions(self, num_samples: int) -> int:
        """Positions of a clip of ``num_samples``."""
        ...

    def mel(self, samples: npt.NDArray[np.float32]) -> Tensor:
        """(S,) samples to (F, M)."""
        ...


class AudioReader(ClipReader):
    """Recordings in tars or files, decoded and turned into an encoder's frames.

    Args:
        table: the references.
        front_end: of the encoder.
    """

    def __init__(self, table: ClipTable, front_end: FrontEnd) -> None:
        self.table, self.front_end, self.shards = table, front_end, OpenShards(table)

    def check(self, document: int, lengths: Sequence[int]) -> None:
        """Compare the number of runs with that of the clips."""
        self.table.check_runs(document, lengths)

    def fetch(self, document: int, number: int, ids: Array) -> Array:
        """(S,) float32 at the encoder's sample rate."""
        span = self.table.of(document)[number].item()
        try:
            samples = self._samples(*span)
        except UserError as error:
            raise self._error(document, number, error.found) from error
        positions = self.table.record.num_placeholders(self.front_end.num_positions(len(samples)))
        if len(ids) != positions:
            found = f"{positions} positions where the document has {len(ids)} speech ids"
            raise self._error(document, number, found)
        return samples

    def frames(self, fetched: Array) -> Array:
        """(F, M) float32."""
        return self.front_end.mel(fetched).numpy()

    def _samples(self, shard: int, offset: int, size: int, num_samples: int) -> Samples:
        """The clip (S,) at the encoder's sample rate."""
        name = f"{self.table.shard(shard)}, offset {offset}"
        try:
            encoded = self.shards.read(shard, offset, size)
        except OSError as error:
            raise UserError(name, found=f"cannot be read ({error})", remedy=REMEDY) from error
        if len(encoded) != size:
            found = f"the file ends {size - len(encoded)} bytes before the clip does"
            raise UserError(name, found=found, remedy=REMEDY)
        with open_audio(io.BytesIO(encoded), name) as audio:
            channels_SC, rate = audio.read(), audio.rate
        if len(channels_SC) != num_samples:
            found = f"{len(channels_SC)} samples where the corpus was written for {num_samples}"
            raise UserError(name, found=found, remedy=REMEDY)
        return to_mono(channels_SC, rate, name, self.front_end.sample_rate)

    def _error(self, document: int, number: int, found: str) -> UserError:
        return UserError(self.table.where(document, number), found=found, remedy=REMEDY)


class OpenShards:
    """Files of a table's clips, of which the latest stay open in each process.

    Args:
        table: the references.
        most: files that are open at once.
    """

    def __init__(self, table: ClipTable, most: int = 64) -> None:
        self.table, self.most = table, most
        self._open: dict[int, io.FileIO] = {}  # the latest is the last

    def read(self, number: int, offset: int, size: int) -> bytes:
        """The bytes of a shard from ``offset`` on, fewer than ``size`` at its end; raises an `OSError`."""
        file = self._open.pop(number, None) or io.FileIO(self.table.shard(number))
        self._open[number] = file
        if len(self._open) > self.most:
            self._open.pop(next(iter(self._open))).close()
        return os.pread(file.fileno(), size, offset)

    def __getstate__(self) -> dict[str, Any]:
        """Workers open the files themselves."""
        return {"table": self.table, "most": self.most, "_open": {}}


def shortest_silence(front_end: FrontEnd) -> Array:
    """Frames (F, M) of the shortest silence, to a factor of 2, that has a position."""
    length = 1
    while not front_end.num_positions(length):
        length *= 2
    return front_end.mel(np.zeros(length, dtype=np.float32)).numpy()


class CodeReader(ClipReader):
    """Codes that a corpus holds itself.

    Args:
        vocabulary: the corpus's.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def check(self, document: int, lengths: Sequence[int]) -> None:
        """Any run is a clip."""

    def fetch(self, document: int, number: int, ids: Array) -> Array:
        """(F,) int64."""
        return self.vocabulary.codes(ids).astype(np.int64)


class CollatedClips(NamedTuple):
    """Clips of a micro batch.

    Attributes:
        tensors: ``clips`` (C, F, M) or (C, F), ``clip_lengths`` (C,), ``clip_places`` (B, S); where unreadable clips
            are tolerated also ``left_out`` (B, S): positions of the documents that have one.
        num_clips: read, or not to be read.
        failures: an error for each that cannot be read.
    """

    tensors: dict[str, Tensor]
    num_clips: int
    failures: tuple[UserError, ...]


class ClipCollation:
    """Collation of clips.

    A micro batch without speech gets a clip that nothing refers to: the connector takes part in every step, or the
    reduction of gradients, which overlaps with their computation, waits for ever.

    Args:
        vocabulary: of the ids.
        unused: that clip, (F, M) or (F,), of one position at least.
        is_tolerant: leave documents out whose clips cannot be read.
    """

    def __init__(self, vocabulary: Vocabulary, unused: Array, *, is_tolerant: bool = False) -> None:
        self.vocabulary, self.unused, self.is_tolerant = vocabulary, unused, is_tolerant

    def __call__(self, samples: Sequence[SampleClips], length: int) -> CollatedClips:
        """The tensors of a micro batch of sequences of ``length`` tokens.

        Raises:
            UserError: a clip that cannot be read, where that is not tolerated; runs of speech that are not the clips.
        """
        read = _ClipsRead(self.vocabulary, len(samples), length, is_tolerant=self.is_tolerant)
        for row, sample in enumerate(samples):
            if sample.reader is not None:
                read.add(row, sample, sample.reader)
        # Decoding and Fourier transforms by turns would each find the other's data in the processor's caches.
        clips = [reader.frames(fetched) for reader, fetched in read.clips] or [self.unused]
        lengths = [len(clip) for clip in clips]
        padded = np.zeros((len(clips), max(lengths), *self.unused.shape[1:]), dtype=self.unused.dtype)
        for row_FM, clip in zip(padded, clips, strict=True):
            row_FM[: len(clip)] = clip
        tensors = {
            "clips": torch.from_numpy(padded),
            "clip_lengths": torch.tensor(lengths, dtype=torch.int64),
            "clip_places": torch.from_numpy(read.places_BS),
        }
        if self.is_tolerant:
            tensors["left_out"] = torch.from_numpy(read.left_out_BS)
        return CollatedClips(tensors, len(read.clips) + len(read.failures), tuple(read.failures))


class _ClipsRead:
    """The clips of a micro batch and their places, document by document."""

    def __init__(self, vocabulary: Vocabulary, size: int, length: int, *, is_tolerant: bool) -> None:
        self.vocabulary, self.is_tolerant = vocabulary, is_tolerant
        self.places_BS = np.full((size, length), -1, dtype=np.int64)
        self.left_out_BS = np.zeros((size, length), dtype=bool)
        self.clips: list[tuple[ClipReader, Array]] = []  # as fetched
        self.failures: list[UserError] = []

    def add(self, row: int, sample: SampleClips, reader: ClipReader) -> None:
        """Append a sample's clips, and enter where their positions are."""
        for part, ids, at in zip(sample.parts, sample.documents, sample.places, strict=True):
            failed = len(self.failures)
            self._add_document(self.places_BS[row], part, ids, at, reader)
            if len(self.failures) > failed:
                inside = slice(at, at + part.stop - part.start)
                self.places_BS[row, inside], self.left_out_BS[row, inside] = -1, True

    def _add_document(self, places: Array, part: DocumentSlice, ids: Array, at: int, reader: ClipReader) -> None:
        runs = speech_runs(ids, self.vocabulary)
        reader.check(part.document, [stop - start for start, stop in runs])
        for number, (begin, end) in enumerate(runs):
            first, last = max(begin, part.start), min(end, part.stop)  # the sequence may begin within the clip
            place = at + first - part.start
            count = min(last - first, len(places) - place)  # the last token of a sample is a label only
            if count <= 0:
                continue
            try:
                fetched = reader.fetch(part.document, number, ids[begin:end])
            except UserError as error:
                if not self.is_tolerant:
                    raise
                self.failures.append(error)
                continue
            positions = np.arange(first - begin, first - begin + count)
            places[place : place + count] = positions + (len(self.clips) << POSITION_BITS)
            self.clips.append((reader, fetched))
