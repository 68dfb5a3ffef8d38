"""A trigram language model with interpolated Witten-Bell smoothing, written in the ARPA format.

Witten and Bell (1991), "The zero-frequency problem"; interpolated as in Chen and Goodman (1998), section 2.5. A history
h that was seen c(h) times with T(h) different next words gives::

    p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h))        h' = h without its first word

so the back-off weight of the ARPA file is T(h) / (c(h) + T(h)) exactly, and every history's probabilities sum to one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

START, END = "<s>", "</s>"
ORDER = 3
MINUS_INFINITY = -99.0  # how ARPA files write the logarithm of zero

Gram = tuple[str, ...]


class TrigramModel:
    """Counts the trigrams of ``sentences`` (words parted by spaces; each distinct sentence counts once).

    Attributes:
        words: the distinct words, sorted.
        counts: how often each n-gram was seen, for n = 1, 2, 3.
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        self.counts: dict[int, Counter[Gram]] = {order: Counter() for order in range(1, ORDER + 1)}
        words: set[str] = set()
        for sentence in sorted({" ".join(sentence.split()) for sentence in sentences}):
            spoken = sentence.split()
            if not spoken:
                continue
            words.update(spoken)
            padded = [START, *spoken, END]
            for order in self.counts:
                grams = zip(*(padded[start:] for start in range(order)), strict=False)
                self.counts[order].update(gram for gram in grams if gram != (START,))
        self.words = sorted(words)
        self.history_counts: Counter[Gram] = Counter()
        self.num_followers: Counter[Gram] = Counter()
        for counted in self.counts.values():
            for gram, count in counted.items():
                self.history_counts[gram[:-1]] += count
                self.num_followers[gram[:-1]] += 1
        self.known: dict[Gram, float] = {}

    def backoff(self, history: Gram) -> float:
        """The probability mass that ``history`` leaves to shorter histories: T(h) / (c(h) + T(h))."""
        followers = self.num_followers[history]
        return followers / (self.history_counts[history] + followers) if followers else 1.0

    def probability(self, gram: Gram) -> float:
        """p(last word | the words before it)."""
        if gram not in self.known:
            shorter = self.probability(gram[1:]) if len(gram) > 1 else 1 / (len(self.words) + 1)
            left = self.backoff(gram[:-1])
            seen = self.history_counts[gram[:-1]]
            share = self.counts[len(gram)][gram] / seen if seen else 0.0
            self.known[gram] = (1 - left) * share + left * shorter
        return self.known[gram]

    def arpa(self) -> str:
        """The model as the text of an ARPA file."""
        listed = {order: sorted(counted) for order, counted in self.counts.items()}
        listed[1] = sorted([*listed[1], (START,)])
        lines = ["\\data\\", *(f"ngram {order}={len(grams)}" for order, grams in listed.items()), ""]
        for order, grams in listed.items():
            lines.append(f"\\{order}-grams:")
            for gram in grams:
                weight = MINUS_INFINITY if gram == (START,) else math.log10(self.probability(gram))
                line = f"{weight:.4f}\t{' '.join(gram)}"
                if order < ORDER:
                    line += f"\t{math.log10(self.backoff(gram)):.4f}"
                lines.append(line)
            lines.append("")
        return "\n".join([*lines, "\\end\\", ""])
