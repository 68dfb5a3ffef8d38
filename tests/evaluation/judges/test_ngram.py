from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.judges.ngram import END, START, TrigramModel

SENTENCES = ["the sky is blue", "the sun is yellow", "what is the sun", "the sky"]
WORD = st.sampled_from(["the", "sky", "is", "blue", "sun"])


def next_words(model: TrigramModel) -> list[str]:
    return [*model.words, END]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(WORD, min_size=1, max_size=5).map(" ".join), min_size=1, max_size=6), st.data())
def test_every_history_sums_to_one(sentences: list[str], data: st.DataObject) -> None:
    model = TrigramModel(sentences)
    history = tuple(data.draw(st.lists(st.sampled_from([START, *model.words]), max_size=2)))
    assert math.isclose(sum(model.probability((*history, word)) for word in next_words(model)), 1.0, rel_tol=1e-9)


def test_worked_example() -> None:
    # After "the": sky (twice), sun (twice), so c = 4, T = 2. "sky" as a unigram: 18 words and ends seen, 8 kinds of
    # them, 7 words and </s> in the vocabulary.
    model = TrigramModel(SENTENCES)
    unigram = (2 + 8 * (1 / 8)) / (18 + 8)
    assert sum(model.counts[1].values()) == 18
    assert math.isclose(model.probability(("sky",)), unigram)
    assert math.isclose(model.probability(("the", "sky")), (2 + 2 * unigram) / (4 + 2))


def test_arpa_gives_the_same_probabilities_by_its_own_rules() -> None:
    model = TrigramModel(SENTENCES)
    logs: dict[tuple[str, ...], float] = {}
    weights: dict[tuple[str, ...], float] = {}
    for line in model.arpa().splitlines():
        if "\t" in line:
            value, words, *weight = line.split("\t")
            logs[tuple(words.split())] = float(value)
            weights[tuple(words.split())] = float(weight[0]) if weight else 0.0

    def by_the_file(gram: tuple[str, ...]) -> float:
        if gram in logs:
            return logs[gram]
        return weights.get(gram[:-1], 0.0) + by_the_file(gram[1:])

    for first in model.words:
        for second in model.words:
            for third in next_words(model):
                gram = (first, second, third)
                assert math.isclose(by_the_file(gram), math.log10(model.probability(gram)), abs_tol=3e-4)


def test_arpa_does_not_depend_on_order_or_repetition(tmp_path: Path) -> None:
    assert TrigramModel(SENTENCES).arpa() == TrigramModel([*SENTENCES[::-1], SENTENCES[0], ""]).arpa()
