"""Documents of speech that is read as vectors: transcripts of the clips of a speech corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from corpus.manifest import BadRecord, check_bad_share
from corpus.speech_clips import SegmentArchive, find_clips
from corpus.text.spoken_form import in_words
from runtime.errors import UserError

from .clips import ClipDocument, ClipRecord
from .formats import asr_document
from .vector_clips import EncodedClips, StoredClips, VectorSpan
from .vector_config import VectorsConfig
from .vocabulary import Vocabulary


class SourceOptions(NamedTuple):
    """Options of documents of speech.

    Attributes:
        kinds: of the utterances (none: all).
        is_spoken: transcripts are written out in words.
        max_bad_share: share of records left out that is tolerated.
    """

    kinds: Sequence[str]
    is_spoken: bool
    max_bad_share: float


class TranscribedClips:
    """Documents of the format asr with clips; see `lm.data.preparation.DocumentSource`.

    Args:
        vectors: the encoder, or stored features.
        corpus: folder of the speech corpus that the encoder hears.
        splits: ``train`` and ``valid`` -> split of the corpus ("" = none).
        vocabulary: of one speech token.
        segments: folder that receives segments of longer recordings.
        options: of the documents.
    """

    def __init__(
        self,
        vectors: VectorsConfig,
        corpus: str,
        splits: Mapping[str, str],
        vocabulary: Vocabulary,
        segments: Path,
        options: SourceOptions,
    ) -> None:
        self.vectors, self.corpus, self.splits, self.vocabulary = vectors, corpus, splits, vocabulary
        self.segments, self.options = segments, options
        self.clip_maker = StoredClips(vectors, vocabulary) if vectors.features else EncodedClips(vectors, vocabulary)
        self.left_out: Counter[str] = Counter()

    @property
    def paths(self) -> list[str]:
        """The speech corpus, or its features."""
        return [self.corpus or self.vectors.features]

    @property
    def clips(self) -> ClipRecord:
        """Of all documents."""
        return self.clip_maker.record

    def documents(self, split: str) -> Iterator[ClipDocument]:
        """A document for each clip that can be used, in the corpus's order."""
        if not self.splits[split]:
            return
        bad: list[BadRecord] = []
        count = 0
        maker, name = self.clip_maker, self.splits[split]
        spans = self._heard(maker, name, split) if isinstance(maker, EncodedClips) else self._stored(maker, name)
        for item in spans:
            count += 1
            if isinstance(item, BadRecord):
                bad.append(item)
                continue
            words = in_words(item.text) if self.options.is_spoken else item.text
            yield ClipDocument(asr_document(item.span.codes, words, self.vocabulary), [item.span.clip])
        self.left_out.update(reason_of(one.reason) for one in bad)
        check_bad_share(bad, count, self.options.max_bad_share)

    def _heard(self, maker: EncodedClips, name: str, split: str) -> Iterator[_Transcribed | BadRecord]:
        """Recordings of the corpus."""
        with SegmentArchive(self.segments / f"{split}.tar") as segments:
            for clip in find_clips(
                Path(self.corpus),
                name,
                segments,
                max_seconds=self.vectors.max_seconds,
                kinds=self.options.kinds,
                max_bad_share=self.options.max_bad_share,
            ):
                if isinstance(clip, BadRecord):
                    yield clip
                else:
                    where = f"{clip.place.file}, {clip.id}"
                    yield _transcribed(clip.text, where, partial(maker.span, clip.place, clip.length))

    def _stored(self, maker: StoredClips, name: str) -> Iterator[_Transcribed | BadRecord]:
        """Utterances of the features."""
        kinds, most = self.options.kinds, self.vectors.max_seconds
        for one in maker.features.utterances(name):
            where = f"{maker.features.file(one)}, {one.id}"
            if one.duration > most:
                yield BadRecord(where, f"longer than max_seconds={most:g} ({one.duration:.1f} s)")
            elif not kinds or one.kind in kinds:
                yield _transcribed(one.text, where, partial(maker.span, one))


class _Transcribed(NamedTuple):
    span: VectorSpan
    text: str


def _transcribed(text: str, where: str, make: Callable[[], VectorSpan]) -> _Transcribed | BadRecord:
    """A clip and its transcript; a `BadRecord` where it has none, or no vector."""
    if not text:
        return BadRecord(where, "no transcript")
    try:
        return _Transcribed(make(), text)
    except UserError as error:
        return BadRecord(where, error.found)


def reason_of(reason: str) -> str:
    """A reason to count by: without what stands in brackets."""
    return reason.split(" (")[0]
