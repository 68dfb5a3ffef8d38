"""An interleaved LM corpus of real speech whose words have times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.clip_job import ClipJob
from corpus.manifest import BadRecord, check_bad_share
from corpus.text.words import count_words
from lm.data.clips import ClipDocument
from lm.data.corpora import finished_corpus, write_corpus
from lm.data.formats import Codes, interleaved_document
from lm.data.vocabulary import Vocabulary
from runtime.hashing import seed_of
from runtime.stage import Run
from text2token.spans.policies import choose_spans

from .aligned_speech import AlignedSpeech, AlignedUtterance, RecordedSpeech, SpanSpeech, StoredSpeech, TokenSpeech
from .config import AlignedConfig
from .word_times import WordTime, locate_words, read_times, time_span


def write_aligned_corpus(config: AlignedConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/interleaved`` unless it is there; returns the stage's metrics."""
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    folder = run.folder / "interleaved"
    info = finished_corpus(folder, vocabulary)
    if info is None:
        counts: Counter[str] = Counter()
        search = ClipJob(run.folder / "clips", config, run, max_seconds=config.vectors.max_seconds)
        speech, times = open_speech(config, vocabulary, search), read_times(config.words)
        corpus = AlignedDocuments(config, speech, times, vocabulary, counts)
        train, valid = corpus.documents(config.train), corpus.documents(config.valid)
        sources = [config.tokens or config.corpus or config.vectors.features, config.words]
        made = {"stage": "text2token.aligned", "sources": sources, "counts": counts}
        info = write_corpus(folder, "interleaved", vocabulary, train, valid, made, clips=speech.record)
        search.tidy()
    split, made = info.splits["train"], info.provenance["counts"]
    return {
        "documents": split.documents,
        "tokens": split.tokens,
        "speech_tokens": split.speech_tokens,
        "valid_documents": info.splits["valid"].documents,
        "realised_ratio": round(made["spoken_words"] / max(made["words"], 1), 4),
        "bad": made.get("bad", 0),
    }


def open_speech(config: AlignedConfig, vocabulary: Vocabulary, search: ClipJob) -> AlignedSpeech:
    """The source that the options name."""
    if config.tokens:
        return TokenSpeech(config.tokens, vocabulary)
    if config.vectors.features:
        return StoredSpeech(config.vectors, vocabulary)
    return RecordedSpeech(config.corpus, config.vectors, vocabulary, search, config.max_bad_share)


class AlignedDocuments:
    """The documents of each split.

    Args:
        config: spans, seed and marks.
        speech: of the utterances.
        times: id of an utterance -> its words.
        vocabulary: of the ids.
        counts: words, spoken words and bad utterances are added to it.
    """

    def __init__(
        self,
        config: AlignedConfig,
        speech: AlignedSpeech,
        times: Mapping[str, Sequence[WordTime]],
        vocabulary: Vocabulary,
        counts: Counter[str],
    ) -> None:
        self.config, self.speech, self.times, self.vocabulary, self.counts = config, speech, times, vocabulary, counts

    def documents(self, split: str) -> Iterator[npt.NDArray[np.int32] | ClipDocument]:
        """The documents of a split ("": none): rows of ids, with clips where speech is read as vectors.

        Raises:
            UserError: too many bad utterances.
        """
        if not split:
            return
        self.speech.begin(split, (one for one in self._aligned(split) if isinstance(one, AlignedUtterance)))
        bad: list[BadRecord] = []
        count = 0
        for one in self._aligned(split):
            count += 1
            if isinstance(one, BadRecord):
                bad.append(one)
                continue
            yield self._document(one, self.speech.cut(one))
        self.counts["bad"] += len(bad)
        check_bad_share(bad, count, self.config.max_bad_share)

    def _aligned(self, split: str) -> Iterator[AlignedUtterance | BadRecord]:
        """The utterances with their spans; the same in each call."""
        for item in self.speech.items(split):
            try:
                if item.id not in self.times:
                    raise ValueError("its words have no times")
                words = locate_words(item.text, self.times[item.id])
            except ValueError as error:
                yield BadRecord(item.id, str(error))
                continue
            random = np.random.default_rng(seed_of(self.config.seed, item.id, "spans"))
            timed = [time_span(span, words) for span in choose_spans(item.text, self.config.spans, random)]
            yield AlignedUtterance(item, [span for span in timed if span is not None])

    def _document(
        self, utterance: AlignedUtterance, speech: Sequence[SpanSpeech | None]
    ) -> npt.NDArray[np.int32] | ClipDocument:
        """Texts and speech in turn; a span without speech stays text."""
        text, at = utterance.item.text, 0
        pieces: list[str | Codes] = []
        heard = [(one.span, said) for one, said in zip(utterance.spans, speech, strict=True) if said is not None]
        for span, said in heard:
            pieces += [text[at : span.start], said.codes]
            at = span.end
        pieces.append(text[at:])
        total = count_words(text)
        self.counts["words"] += total
        self.counts["spoken_words"] += total - sum(count_words(piece) for piece in pieces if isinstance(piece, str))
        ids = interleaved_document(pieces, self.vocabulary, has_marks=self.config.has_marks)
        if self.speech.record is None:
            return ids
        return ClipDocument(ids, [said.vectors.clip for _, said in heard if said.vectors is not None])
