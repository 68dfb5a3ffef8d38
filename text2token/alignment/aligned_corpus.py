"""An interleaved LM corpus of real speech whose words have times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.manifest import BadRecord, check_bad_share
from corpus.text.words import count_words
from lm.data.corpora import finished_corpus, write_corpus
from lm.data.formats import interleaved_document
from lm.data.readers import read_split
from lm.data.vocabulary import Vocabulary
from runtime.hashing import seed_of
from runtime.stage import Run
from text2token.spans.policies import choose_spans

from .config import AlignedConfig
from .word_times import WordTime, aligned_pieces, locate_words, read_times


def write_aligned_corpus(config: AlignedConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/interleaved`` unless it is there; returns the stage's metrics."""
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    folder = run.folder / "interleaved"
    info = finished_corpus(folder, vocabulary)
    if info is None:
        counts: Counter[str] = Counter()
        times = read_times(config.words)
        train, valid = (_documents(config, split, times, vocabulary, counts) for split in (config.train, config.valid))
        made = {"stage": "text2token.aligned", "sources": [config.tokens, config.words], "counts": counts}
        info = write_corpus(folder, "interleaved", vocabulary, train, valid, made)
    split, made = info.splits["train"], info.provenance["counts"]
    return {
        "documents": split.documents,
        "tokens": split.tokens,
        "speech_tokens": split.speech_tokens,
        "valid_documents": info.splits["valid"].documents,
        "realised_ratio": round(made["spoken_words"] / max(made["words"], 1), 4),
        "bad": made.get("bad", 0),
    }


def _documents(
    config: AlignedConfig,
    split: str,
    times: Mapping[str, Sequence[WordTime]],
    vocabulary: Vocabulary,
    counts: Counter[str],
) -> Iterator[npt.NDArray[np.int32]]:
    """The documents of a split as rows of ids; adds words, spoken words and bad utterances to ``counts``."""
    if not split:
        return
    speech = read_split(config.tokens, split)
    vocabulary.check_speech_tokenizer(speech.tokenizer, config.tokens)
    bad: list[BadRecord] = []
    for item in speech.items:
        try:
            if item.id not in times:
                raise ValueError("its words have no times")
            words = locate_words(item.text, times[item.id])
        except ValueError as error:
            bad.append(BadRecord(item.id, str(error)))
            continue
        random = np.random.default_rng(seed_of(config.seed, item.id, "spans"))
        spans = choose_spans(item.text, config.spans, random)
        pieces = aligned_pieces(item.text, item.tokens, words, spans, speech.frame_rate)
        total = count_words(item.text)
        counts["words"] += total
        counts["spoken_words"] += total - sum(count_words(piece) for piece in pieces if isinstance(piece, str))
        yield interleaved_document(pieces, vocabulary, has_marks=config.has_marks)
    counts["bad"] += len(bad)
    check_bad_share(bad, len(speech.items), config.max_bad_share)
