"""Classes of synthesised spans: length, place in the text, edges, crossing of a sentence's end, novelty, voice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from corpus.text.spoken_words import spoken_words
from corpus.text.word_errors import corpus_word_errors
from corpus.text.words import word_bounds
from text2token.spans.layout import sentence_bounds
from text2token.synthesis.unit_file import SpokenDocument, SpokenSpan

LENGTHS = ((1, 1), (2, 3), (4, 6), (7, 10), (11, 15))  # words; longer ones are one class
WordPairs = set[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class SpanReadback:
    """A synthesised span and what the tokenizer reads in its tokens; a line of ``spans.jsonl``.

    Attributes:
        document: id of the text.
        span: number of the span in its document.
        speaker: of the generation.
        text: normalised.
        heard: transcript of the synthesised tokens.
        heard_in_real_tokens: transcript of a synthesiser's tokens of the same words (None: not asked for).
        tokens: number of synthesised ones.
        words: of the normalised text.
        place: ``whole text``, ``start``, ``inside`` or ``end`` of the text.
        cut: sentences that the span's edges cut: ``none``, ``first``, ``last`` or ``both``.
        crosses_sentence_end: whether a sentence ends within the span.
        new_pairs: number of word pairs that the model has not seen in training (None: not asked for).
    """

    document: str
    span: int
    speaker: str
    text: str
    heard: str
    heard_in_real_tokens: str | None
    tokens: int
    words: int
    place: str
    cut: str
    crosses_sentence_end: bool
    new_pairs: int | None


def place_of(document: SpokenDocument, span: SpokenSpan) -> str:
    """The place of a span in its text."""
    words = word_bounds(document.text)
    is_first, is_last = span.start <= words[0][0], span.end >= words[-1][1]
    return {(True, True): "whole text", (True, False): "start", (False, True): "end"}.get((is_first, is_last), "inside")


def cut_of(document: SpokenDocument, span: SpokenSpan) -> str:
    """The sentences that the edges of a span cut: the first, the last, both or none."""
    bounds = sentence_bounds(document.text)
    is_cut = span.start not in {start for start, _ in bounds}, span.end not in {end for _, end in bounds}
    return {(True, True): "both", (True, False): "first", (False, True): "last"}.get(is_cut, "none")


def crosses_sentence_end(document: SpokenDocument, span: SpokenSpan) -> bool:
    """Whether a sentence begins within the span, behind its first word."""
    return any(span.start < start < span.end for start, _ in sentence_bounds(document.text))


def word_pairs(texts: Iterable[str]) -> WordPairs:
    """Every pair of neighbouring words of some texts, as they are said."""
    return {pair for text in texts for pair in pairwise(spoken_words(text).split())}


def new_pairs(text: str, known: WordPairs) -> int:
    """Number of the neighbouring words of a text that are no known pair."""
    return sum(pair not in known for pair in pairwise(spoken_words(text).split()))


def length_class(words: int) -> str:
    """The class of a length in words."""
    for low, high in LENGTHS:
        if words <= high:
            return f"{low}" if low == high else f"{low} to {high}"
    return f"over {LENGTHS[-1][1]}"


def novelty_class(row: SpanReadback) -> str:
    """The share of unseen word pairs, in four classes."""
    pairs = row.words - 1
    if pairs < 1:
        return "one word"
    share = (row.new_pairs or 0) / pairs
    return "none" if share == 0 else "up to half" if share <= 0.5 else "over half"


CLASSES: dict[str, Callable[[SpanReadback], str]] = {
    "length in words": lambda row: length_class(row.words),
    "place in the text": lambda row: row.place,
    "sentences cut": lambda row: row.cut,
    "crosses a sentence's end": lambda row: "yes" if row.crosses_sentence_end else "no",
    "unseen word pairs": novelty_class,
    "voice": lambda row: row.speaker,
}


def metrics_by_class(rows: Sequence[SpanReadback]) -> Iterator[dict[str, Any]]:
    """The word error rates of each class of each kind; a line of ``classes.jsonl`` each."""
    for kind, class_of in CLASSES.items():
        if kind == "unseen word pairs" and rows[0].new_pairs is None:
            continue
        members: dict[str, list[SpanReadback]] = {}
        for row in sorted(rows, key=lambda row: row.words):  # so that classes of lengths stand in order
            members.setdefault(class_of(row), []).append(row)
        names = list(members) if kind == "length in words" else sorted(members)
        for name in names:
            own = members[name]
            yield {"by": kind, "class": name, "spans": len(own), "words": sum(row.words for row in own), **rates(own)}


def rates(rows: Sequence[SpanReadback]) -> dict[str, float]:
    """``span_wer``, and ``span_wer_of_real_tokens`` where a synthesiser spoke the same words."""
    said = [row.text for row in rows]
    found = {"span_wer": round(corpus_word_errors(said, [row.heard for row in rows]).rate, 4)}
    real = [row.heard_in_real_tokens for row in rows if row.heard_in_real_tokens is not None]
    if len(real) == len(rows):
        found["span_wer_of_real_tokens"] = round(corpus_word_errors(said, real).rate, 4)
    return found
