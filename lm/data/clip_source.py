"""Documents of speech that is read as vectors: transcripts of the clips of a speech corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from corpus.clip_job import ClipJob
from corpus.manifest import BadRecord, check_bad_share
from corpus.text.spoken_form import in_words
from runtime.errors import UserError

from .clips import ClipDocument, ClipRecord
from .formats import asr_document
from .vector_clips import EncodedClips, StoredClips, VectorSpan, open_clips
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
        search: for the clips of the speech corpus.
        options: of the documents.
    """

    def __init__(
        self,
        vectors: VectorsConfig,
        corpus: str,
        splits: Mapping[str, str],
        vocabulary: Vocabulary,
        search: ClipJob,
        options: SourceOptions,
    ) -> None:
        self.vectors, self.corpus, self.splits, self.vocabulary = vectors, corpus, splits, vocabulary
        self.search, self.options = search, options
        self.clip_maker = open_clips(vectors, vocabulary)
        self.left_out: Counter[str] = Counter()
        self.bad: list[BadRecord] = []

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
        for clip in clips_of_split(
            self.clip_maker,
            self.corpus,
            self.splits[split],
            self.search,
            kinds=self.options.kinds,
            max_bad_share=self.options.max_bad_share,
        ):
            count += 1
            document = clip if isinstance(clip, BadRecord) else self._document(clip)
            if isinstance(document, BadRecord):
                bad.append(document)
            else:
                yield document
        self.left_out.update(reason_of(one.reason) for one in bad)
        self.bad += bad
        check_bad_share(bad, count, self.options.max_bad_share)

    def _document(self, clip: SplitClip) -> ClipDocument | BadRecord:
        """A clip and its transcript; a `BadRecord` where it has none, or no vector."""
        if not clip.text:
            return BadRecord(clip.where, "no transcript")
        try:
            span = clip.span()
        except UserError as error:
            return BadRecord(clip.where, error.found)
        words = in_words(clip.text) if self.options.is_spoken else clip.text
        return ClipDocument(asr_document(span.codes, words, self.vocabulary), [span.clip])


class SplitClip(NamedTuple):
    """A clip of a split of a corpus.

    Attributes:
        id: of the utterance.
        text: its transcript, "" where unknown.
        where: it lies, for errors.
        span: makes it speech of a document; raises a `UserError` where it has no vector.
    """

    id: str
    text: str
    where: str
    span: Callable[[], VectorSpan]


def clips_of_split(
    clips: EncodedClips | StoredClips,
    corpus: str,
    split: str,
    search: ClipJob,
    *,
    kinds: Sequence[str] = (),
    max_bad_share: float,
) -> Iterator[SplitClip | BadRecord]:
    """The clips of a split, in its order, and its bad records; too long ones for the search are among these.

    Args:
        clips: of stored features, whose split it is; or of recordings.
        corpus: folder of the recordings.
        split: its name.
        search: for the clips among the recordings.
        kinds: of the utterances (none: all).
        max_bad_share: share of bad records of the corpus that is tolerated.
    """
    if isinstance(clips, StoredClips):
        for one in clips.features.utterances(split):
            where = f"{clips.features.file(one)}, {one.id}"
            if one.duration > search.max_seconds:
                yield BadRecord(where, f"longer than vectors.max_seconds={search.max_seconds:g} ({one.duration:.1f} s)")
            elif not kinds or one.kind in kinds:
                yield SplitClip(one.id, one.text, where, partial(clips.span, one))
        return
    for clip in search.of_split(Path(corpus), split, kinds=kinds, max_bad_share=max_bad_share):
        if isinstance(clip, BadRecord):
            yield clip
        else:
            where = f"{clip.place.file}, {clip.id}"
            yield SplitClip(clip.id, clip.text, where, partial(clips.span, clip.place, clip.length))


def reason_of(reason: str) -> str:
    """A reason to count by: without what stands in brackets."""
    return reason.split(" (")[0]
