"""Statistics of an LM corpus, in one pass and bounded memory: formats, modalities, lengths, exact duplicates."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .loss_mask import document_format
from .vocabulary import Vocabulary

MAX_HASHES = 500_000  # about 100 MB
NUM_EXTREMES = 5


@dataclass
class FormatCounts:
    """Of one format: documents, and tokens by modality."""

    documents: int = 0
    text_tokens: int = 0
    speech_tokens: int = 0
    special_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.text_tokens + self.speech_tokens + self.special_tokens


@dataclass(frozen=True, order=True)
class Extreme:
    """A long or short document: its tokens, and its number in the corpus."""

    tokens: int
    number: int


class DuplicateCounter:
    """Counts documents that are token for token the same as an earlier one.

    Holds at most ``limit`` digests. When there are more, only every second, fourth, ... digest is kept on: equal
    documents have equal digests, so what is left is a fair sample, and counts are scaled up.

    Args:
        limit: most digests held.
    """

    def __init__(self, limit: int = MAX_HASHES) -> None:
        self.limit, self.shift = limit, 0
        self.seen: dict[int, list[int]] = {}  # digest -> [times, number of the first]

    def add(self, number: int, document: npt.NDArray[np.integer]) -> None:
        """Take note of document ``number``."""
        digest = int.from_bytes(hashlib.blake2b(document.tobytes(), digest_size=8).digest(), "little")
        if digest & ((1 << self.shift) - 1):
            return
        self.seen.setdefault(digest, [0, number])[0] += 1
        while len(self.seen) > self.limit:
            self.shift += 1
            mask = (1 << self.shift) - 1
            self.seen = {digest: entry for digest, entry in self.seen.items() if not digest & mask}

    @property
    def is_exact(self) -> bool:
        """Whether all documents were looked at."""
        return self.shift == 0

    @property
    def duplicates(self) -> int:
        """Documents that repeat an earlier one (an estimate unless `is_exact`)."""
        return sum(times - 1 for times, _ in self.seen.values()) << self.shift

    def most_frequent(self, count: int) -> list[tuple[int, int]]:
        """(times, number of the first) of the most frequent ones that come more than once."""
        repeated = ((times, first) for times, first in self.seen.values() if times > 1)
        return heapq.nsmallest(count, repeated, key=lambda entry: (-entry[0], entry[1]))


@dataclass
class CorpusStatistics:
    """Counts of one split.

    Attributes:
        formats: format of a document -> its counts.
        lengths: power of two -> documents of at least that many tokens and fewer than twice as many.
        longest: the longest documents, longest first.
        shortest: the shortest, shortest first.
        duplicates: exact ones.
    """

    formats: dict[str, FormatCounts] = field(default_factory=dict)
    lengths: Counter[int] = field(default_factory=Counter)
    longest: list[Extreme] = field(default_factory=list)
    shortest: list[Extreme] = field(default_factory=list)
    duplicates: DuplicateCounter = field(default_factory=DuplicateCounter)

    @classmethod
    def of(cls, documents: Iterable[npt.NDArray[np.integer]], vocabulary: Vocabulary) -> CorpusStatistics:
        """Count documents, one after the other."""
        found = cls()
        long: list[tuple[int, int]] = []
        short: list[tuple[int, int]] = []
        for number, document in enumerate(documents):
            counts = found.formats.setdefault(document_format(document, vocabulary), FormatCounts())
            speech = int(vocabulary.is_speech(document).sum())
            text = int(vocabulary.is_text(document).sum())
            counts.documents += 1
            counts.speech_tokens += speech
            counts.text_tokens += text
            counts.special_tokens += len(document) - speech - text
            found.lengths[1 << (len(document).bit_length() - 1)] += 1
            found.duplicates.add(number, document)
            _keep(long, (len(document), -number))
            _keep(short, (-len(document), -number))
        found.longest = [Extreme(length, -number) for length, number in sorted(long, reverse=True)]
        found.shortest = [Extreme(-length, -number) for length, number in sorted(short, reverse=True)]
        return found

    @property
    def total(self) -> FormatCounts:
        """Over all formats."""
        rows = self.formats.values()
        return FormatCounts(
            documents=sum(row.documents for row in rows),
            text_tokens=sum(row.text_tokens for row in rows),
            speech_tokens=sum(row.speech_tokens for row in rows),
            special_tokens=sum(row.special_tokens for row in rows),
        )


def _keep(heap: list[tuple[int, int]], entry: tuple[int, int]) -> None:
    """Keep the largest few entries."""
    if len(heap) < NUM_EXTREMES:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
