"""Documents of speech that is read as vectors: transcripts of the clips of a speech corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from corpus.manifest import BadRecord, check_bad_share
from corpus.speech_clips import SegmentArchive, find_clips
from corpus.text.spoken_form import in_words
from runtime.errors import UserError

from .clips import ClipDocument, ClipRecord
from .formats import asr_document
from .vector_clips import EncodedClips, VectorSpan
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
        vectors: the encoder.
        corpus: folder of the speech corpus.
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
        self.encoded = EncodedClips(vectors, vocabulary)
        self.left_out: Counter[str] = Counter()

    @property
    def paths(self) -> list[str]:
        """The speech corpus."""
        return [self.corpus]

    @property
    def clips(self) -> ClipRecord:
        """Of all documents."""
        return self.encoded.record

    def documents(self, split: str) -> Iterator[ClipDocument]:
        """A document for each clip that can be used, in the corpus's order."""
        if not self.splits[split]:
            return
        bad: list[BadRecord] = []
        count = 0
        for item in self._spans(self.splits[split], split):
            count += 1
            if isinstance(item, BadRecord):
                bad.append(item)
                continue
            span, text = item
            words = in_words(text) if self.options.is_spoken else text
            yield ClipDocument(asr_document(span.codes, words, self.vocabulary), [span.clip])
        self.left_out.update(reason_of(one.reason) for one in bad)
        check_bad_share(bad, count, self.options.max_bad_share)

    def _spans(self, name: str, split: str) -> Iterator[tuple[VectorSpan, str] | BadRecord]:
        """Speech and transcript of each clip."""
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
                elif not clip.text:
                    yield BadRecord(f"{clip.place.file}, {clip.id}", "no transcript")
                else:
                    try:
                        yield self.encoded.span(clip.place, clip.length), clip.text
                    except UserError as error:
                        yield BadRecord(f"{clip.place.file}, {clip.id}", error.found)


def reason_of(reason: str) -> str:
    """A reason to count by: without what stands in brackets."""
    return reason.split(" (")[0]
