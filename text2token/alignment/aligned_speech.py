"""Speech of aligned utterances: tokens, recordings that an encoder hears in training, or its stored vectors.

| source | an utterance | a span of its words |
|---|---|---|
| `TokenSpeech` | of tokenizer.encode | its tokens |
| `StoredSpeech` | of tokenizer.features | its rows, which have heard the utterance as far as the encoder does |
| `RecordedSpeech` | of a manifest | a segment of the recording, cut into a tar of FLAC |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from corpus.audio.segments import AudioSegment
from corpus.clip_job import ClipJob
from corpus.features import FeatureUtterance
from corpus.manifest import Utterance, read_manifest
from corpus.speech_clips import ClipRequest, SpeechClip
from corpus.tokens import TokenisedUtterance
from lm.data.clips import ClipRecord, FeatureClip
from lm.data.formats import Codes
from lm.data.readers import read_split
from lm.data.vector_clips import EncodedClips, StoredClips, VectorSpan, vector_span
from lm.data.vector_config import VectorsConfig
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError

from .word_times import TimedSpan, cut_rows

AlignedItem = TokenisedUtterance | FeatureUtterance | Utterance


class SpanSpeech(NamedTuple):
    """Speech of a span: the codes in the document, and where they are placeholders the clip."""

    codes: Codes
    vectors: VectorSpan | None = None


class AlignedUtterance(NamedTuple):
    """An utterance and the spans of its words that become speech."""

    item: AlignedItem
    spans: Sequence[TimedSpan]


class AlignedSpeech(Protocol):
    """A source of utterances and of the speech of their spans."""

    @property
    def record(self) -> ClipRecord | None:
        """Of the corpus's clips; None of tokens."""
        ...

    def items(self, split: str) -> Iterable[AlignedItem]:
        """The utterances of a split."""
        ...

    def begin(self, split: str, utterances: Iterable[AlignedUtterance]) -> None:
        """Called before the spans of a split are cut, with all of them."""
        ...

    def cut(self, utterance: AlignedUtterance) -> list[SpanSpeech | None]:
        """The speech of each span, None where it has none; for each utterance of `begin`, in order."""
        ...


class TokenSpeech:
    """Tokens of tokenizer.encode."""

    record = None

    def __init__(self, tokens: str, vocabulary: Vocabulary) -> None:
        self.tokens, self.vocabulary, self.frame_rate = tokens, vocabulary, 0.0

    def items(self, split: str) -> Sequence[TokenisedUtterance]:
        """The utterances of a split."""
        speech = read_split(self.tokens, split)
        self.vocabulary.check_speech_tokenizer(speech.tokenizer, self.tokens)
        self.frame_rate = speech.frame_rate
        return speech.items

    def begin(self, split: str, utterances: Iterable[AlignedUtterance]) -> None:
        """Nothing to prepare."""

    def cut(self, utterance: AlignedUtterance) -> list[SpanSpeech | None]:
        """The tokens of each span."""
        item = utterance.item
        assert isinstance(item, TokenisedUtterance)
        rows = [cut_rows(span, len(item.tokens), self.frame_rate) for span in utterance.spans]
        return [SpanSpeech(item.tokens[begin:stop]) if stop > begin else None for begin, stop in rows]


class StoredSpeech:
    """Stored vectors of tokenizer.features."""

    def __init__(self, vectors: VectorsConfig, vocabulary: Vocabulary) -> None:
        self.stored = StoredClips(vectors, vocabulary)
        self.record = self.stored.record

    def items(self, split: str) -> Iterator[FeatureUtterance]:
        """The utterances of a split."""
        return self.stored.features.utterances(split)

    def begin(self, split: str, utterances: Iterable[AlignedUtterance]) -> None:
        """Nothing to prepare."""

    def cut(self, utterance: AlignedUtterance) -> list[SpanSpeech | None]:
        """The rows of each span."""
        item = utterance.item
        assert isinstance(item, FeatureUtterance)
        file, rate = self.stored.features.file(item).absolute(), self.record.positions_per_second
        rows = [cut_rows(span, item.frames, rate) for span in utterance.spans]
        clips = [FeatureClip(file, item.first + begin, stop - begin) for begin, stop in rows]
        made = [vector_span(clip, self.record) if clip.frames else None for clip in clips]
        return [None if one is None else SpanSpeech(one.codes, one) for one in made]


class RecordedSpeech:
    """Recordings of manifests.

    Args:
        corpus: folder of the manifests.
        vectors: the encoder.
        vocabulary: of one speech token.
        search: finds the segments.
        max_bad_share: of a manifest's lines.
    """

    def __init__(
        self, corpus: str, vectors: VectorsConfig, vocabulary: Vocabulary, search: ClipJob, max_bad_share: float
    ) -> None:
        self.corpus, self.search, self.max_bad_share = Path(corpus), search, max_bad_share
        self.encoded = EncodedClips(vectors, vocabulary)
        self.record = self.encoded.record

    def items(self, split: str) -> Sequence[Utterance]:
        """The utterances of a split."""
        return read_manifest(self.corpus / f"{split}.jsonl", self.max_bad_share, should_check_audio=False).utterances

    def begin(self, split: str, utterances: Iterable[AlignedUtterance]) -> None:
        """Search for the segments."""
        self.found = self.search.of_requests(split, (one for each in utterances for one in _segments(each)))

    def cut(self, utterance: AlignedUtterance) -> list[SpanSpeech | None]:
        """The segment of each span."""
        return [self._heard(next(self.found)) for _ in utterance.spans]

    def _heard(self, clip: object) -> SpanSpeech | None:
        if not isinstance(clip, SpeechClip):  # silent, longer than max_seconds, or beyond the recording
            return None
        try:
            vectors = self.encoded.span(clip.place, clip.length)
        except UserError:  # too short
            return None
        return SpanSpeech(vectors.codes, vectors)


def _segments(utterance: AlignedUtterance) -> Iterator[ClipRequest]:
    item = utterance.item
    assert isinstance(item, Utterance)
    for span in utterance.spans:
        end = item.duration if span.end is None else min(span.end, item.duration)
        start = (item.offset or 0.0) + span.begin
        yield ClipRequest(AudioSegment(item.audio, start, max(end - span.begin, 0.0)), item.id)
