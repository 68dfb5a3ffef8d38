"""Real speech as interleaved documents: spans of an utterance's words become its own speech tokens (Spirit-LM's way).

    python -m text2token.aligned tokens=runs/tokens words=words.jsonl vocabulary=runs/vocabulary/vocabulary \
        spans.ratio=0.5 out=runs/aligned

``words.jsonl`` tells when each word was spoken, as a forced aligner knows it: one
``{"id": utterance, "words": [["the", 0.31, 0.42], ...]}`` a line (seconds). Any span policy chooses the words; the
recording is cut in the midst of the silence between a span and what lies before and after it. Nothing is generated.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.errors import UserError, check_option
from runtime.hashing import seed_of
from runtime.stage import Run, Stage, StageConfig

from .spans import Span, SpanConfig, choose_spans

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from corpus.tokens import TokenisedUtterance
    from lm.data.vocabulary import Vocabulary

    Codes = npt.NDArray[np.uint16]


class TimedWord(NamedTuple):
    """A word of a text: characters ``start`` to ``end``, spoken from ``begin`` to ``finish`` (seconds)."""

    start: int
    end: int
    begin: float
    finish: float


@dataclass(kw_only=True)
class AlignedConfig(StageConfig):
    """Options of text2token.aligned.

    Attributes:
        tokens: output folder of tokenizer.encode.
        words: JSON lines with the times of each utterance's words.
        vocabulary: folder of the vocabulary.
        spans: which words become speech.
        train: split of the tokens to train on.
        valid: split of the validation documents ("" = none).
        has_marks: mark each change of modality by ``<|begin_of_audio|>`` and ``<|end_of_audio|>``.
        max_bad_share: share of utterances whose words may be missing or not fit.
    """

    tokens: str
    words: str
    vocabulary: str
    spans: SpanConfig = field(default_factory=lambda: SpanConfig(ratio=0.5))
    train: str = "train"
    valid: str = ""
    has_marks: bool = True
    max_bad_share: float = 0.05

    def __post_init__(self) -> None:
        check_option(0 <= self.max_bad_share <= 1, "max_bad_share", self.max_bad_share, "give a share in [0, 1]")


def timed_words(text: str, words: list[Any]) -> list[TimedWord]:
    """The words with their places in the text.

    Raises:
        ValueError: a word that is not in the text (in order), or times that run backwards; the message tells which.
    """
    placed: list[TimedWord] = []
    lower, at, clock = text.lower(), 0, 0.0
    for word, begin, finish in words:
        start = lower.find(str(word).lower(), at)
        if start < 0 or not word:
            raise ValueError(f"the word {word!r} is not in what is left of the text")
        if not clock - 1e-6 <= begin <= finish:
            raise ValueError(f"the word {word!r} is spoken from {begin} to {finish}, after {clock}")
        at, clock = start + len(word), finish
        placed.append(TimedWord(start, at, begin, finish))
    return placed


def cut_speech(span: Span, words: list[TimedWord], codes: Codes, frame_rate: float) -> Codes:
    """The speech tokens of a span: from the midst of the silence before it to the midst of that after it.

    Spans at the utterance's ends reach to its ends. None of its words has a time: no tokens.
    """
    inside = [at for at, word in enumerate(words) if span.start < word.end and word.start < span.end]
    if not inside:
        return codes[:0]
    first, last = inside[0], inside[-1]
    begin = 0.0 if first == 0 else (words[first - 1].finish + words[first].begin) / 2
    after = (words[last].finish + words[last + 1].begin) / 2 if last + 1 < len(words) else None
    stop = len(codes) if after is None else min(round(after * frame_rate), len(codes))
    return codes[min(round(begin * frame_rate), stop) : stop]


def aligned_pieces(
    item: TokenisedUtterance, words: list[TimedWord], spans: list[Span], frame_rate: float
) -> list[str | Codes]:
    """Texts and speech tokens in turn; a span without a token stays text."""
    pieces: list[str | Codes] = []
    at = 0
    for span in spans:
        codes = cut_speech(span, words, item.tokens, frame_rate)
        if len(codes):
            pieces += [item.text[at : span.start], codes]
            at = span.end
    return [*pieces, item.text[at:]]


def run(config: AlignedConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/interleaved``; returns what it holds."""
    from lm.data.corpora import finished_corpus, write_corpus
    from lm.data.vocabulary import Vocabulary

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


def read_times(path: str) -> dict[str, list[Any]]:
    """Utterance -> [[word, begin, end], ...].

    Raises:
        UserError: no such file, or a line that is no such record.
    """
    times = {}
    if not Path(path).is_file():
        raise UserError(path, found="no such file", remedy="give the words' times, one utterance a line")
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        try:
            record = json.loads(line)
            times[str(record["id"])] = [[str(word), float(begin), float(end)] for word, begin, end in record["words"]]
        except (ValueError, KeyError, TypeError) as error:
            found, remedy = f"no record of words ({error})", 'write {"id": ..., "words": [[word, begin, end], ...]}'
            raise UserError(f"{path}, line {number}", found=found, remedy=remedy) from error
    return times


def _documents(
    config: AlignedConfig, split: str, times: dict[str, list[Any]], vocabulary: Vocabulary, counts: Counter[str]
) -> Iterator[npt.NDArray[np.int32]]:
    import numpy as np

    from corpus.manifest import BadRecord, check_bad_share
    from corpus.text.words import count_words
    from lm.data.formats import interleaved_document
    from lm.data.readers import read_split

    if not split:
        return
    speech = read_split(config.tokens, split)
    vocabulary.check_speech_tokenizer(speech.tokenizer, config.tokens)
    bad: list[BadRecord] = []
    for item in speech.items:
        try:
            if item.id not in times:
                raise ValueError("its words have no times")
            words = timed_words(item.text, times[item.id])
        except ValueError as error:
            bad.append(BadRecord(item.id, str(error)))
            continue
        random = np.random.default_rng(seed_of(config.seed, item.id, "spans"))
        pieces = aligned_pieces(item, words, choose_spans(item.text, config.spans, random), speech.frame_rate)
        total = count_words(item.text)
        counts["words"] += total
        counts["spoken_words"] += total - sum(count_words(one) for one in pieces if isinstance(one, str))
        yield interleaved_document(pieces, vocabulary, has_marks=config.has_marks)
    counts["bad"] += len(bad)
    check_bad_share(bad, len(speech.items), config.max_bad_share)


STAGE = Stage(
    name="text2token.aligned",
    config=AlignedConfig,
    run=run,
    summary="Make interleaved documents of real speech whose words have times; nothing is generated.",
    inputs=lambda config: [config.tokens, config.words, config.vocabulary],
    example="tokens=runs/tokens words=words.jsonl vocabulary=runs/vocabulary/vocabulary out=runs/aligned",
)

if __name__ == "__main__":
    STAGE.exit()
