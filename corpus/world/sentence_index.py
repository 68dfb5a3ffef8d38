"""Search for whole sentences among the words of longer texts: what a text must not tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class SentenceIndex:
    """Finds which of some sentences stand in a text, word for word.

    Args:
        sentences: plain words, parted by spaces.
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = {tuple(sentence.split()) for sentence in sentences}
        self.lengths = sorted({len(sentence) for sentence in self.sentences})

    def found_in(self, words: Iterable[str]) -> Iterator[str]:
        """The sentences that are a stretch of the words, the shorter ones first."""
        text = tuple(words)
        for length in self.lengths:
            for first in range(len(text) - length + 1):
                if text[first : first + length] in self.sentences:
                    yield " ".join(text[first : first + length])
