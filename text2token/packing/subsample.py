"""Subsampling of a finished synthesis to a smaller ratio of speech: some of the good spans become text again."""

from __future__ import annotations

import dataclasses

import numpy as np

from runtime.hashing import seed_of
from text2token.gate import GOOD
from text2token.synthesis.unit_file import SpokenDocument

UNUSED = "unused"  # verdict of a good span that is left as text for the ratio


class SpanSubsampler:
    """Keeps spans, document after document, so that the share of spoken words stays at ``ratio``.

    Spans are kept whole, so a document has a little more or less than its share; the difference is carried over.

    Args:
        ratio: eta, share of the words that become speech; at most what was synthesised.
        seed: of the order in which a document's spans are tried.
    """

    def __init__(self, ratio: float, seed: int) -> None:
        self.ratio, self.seed = ratio, seed
        self.missing = 0.0  # words of speech, carried over

    def subsample(self, document: SpokenDocument, num_words: int) -> SpokenDocument:
        """The document with the spans that are kept; the other good ones get the verdict ``unused``.

        Args:
            document: the next one.
            num_words: of its text.
        """
        self.missing += self.ratio * num_words
        spans = list(document.spans)
        good = [number for number, span in enumerate(spans) if span.verdict == GOOD]
        random = np.random.default_rng(seed_of(self.seed, document.id, "ratio"))
        for number in random.permutation(np.array(good, dtype=np.int64)).tolist():
            if spans[number].num_words <= 2 * self.missing:  # nearer to the ratio with it than without
                self.missing -= spans[number].num_words
            else:
                no_tokens = spans[number].tokens[:0]
                spans[number] = dataclasses.replace(spans[number], verdict=UNUSED, tokens=no_tokens)
        return SpokenDocument(document.id, document.text, spans)
