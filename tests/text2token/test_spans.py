import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import UserError
from text2token.spans import POLICIES, Span, SpanConfig, choose_spans, count_words, sentence_bounds

WORDS = st.text(alphabet="abc.é", min_size=1, max_size=5)
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from([" ", "  ", "\n", "\n\n"])), max_size=80).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)


def spans_of(text: str, seed: int = 0, **options: object) -> list[Span]:
    return choose_spans(text, SpanConfig(**options), np.random.default_rng(seed))  # type: ignore[arg-type]


@given(TEXTS, st.integers(0, 99), st.floats(0, 1), st.floats(0.2, 20), st.sampled_from(sorted(POLICIES)))
def test_laws_of_spans(text: str, seed: int, ratio: float, mean: float, policy: str) -> None:
    spans = spans_of(text, seed, policy=policy, ratio=ratio, mean_words=mean)
    assert spans == spans_of(text, seed, policy=policy, ratio=ratio, mean_words=mean)
    for span in spans:
        inside = text[span.start : span.end]
        assert inside == inside.strip() and count_words(inside) == span.num_words >= 1
        assert span.start == 0 or text[span.start - 1].isspace()
        assert span.end == len(text) or text[span.end].isspace()
    for left, right in itertools.pairwise(spans):
        assert left.end < right.start and count_words(text[left.end : right.start]) >= 1
    if policy == "poisson":
        words = count_words(text)
        assert sum(span.num_words for span in spans) == math.ceil(ratio * words - 1e-9)


@pytest.mark.parametrize(
    ("words", "ratio", "spoken"),
    [(0, 0.3, 0), (1, 0.3, 1), (2, 0.3, 1), (3, 0.3, 1), (4, 0.3, 2), (10, 0.3, 3), (100, 0.3, 30), (1000, 0.2, 200)],
)
def test_short_texts_reach_the_ratio(words: int, ratio: float, spoken: int) -> None:
    text = " ".join("w" for _ in range(words))
    for seed in range(20):
        assert sum(span.num_words for span in spans_of(text, seed, ratio=ratio)) == spoken


def test_lengths_are_poisson_in_long_texts() -> None:
    text = " ".join("w" for _ in range(3000))
    lengths = [span.num_words for seed in range(30) for span in spans_of(text, seed)[:-1]]
    assert abs(np.mean(lengths) - 10) < 0.3 and abs(np.var(lengths) - 10) < 1.5


def test_all_places_are_equally_likely() -> None:
    text = "a b c d e f"  # one span of 2 words: 5 places
    starts = [spans_of(text, seed, ratio=0.3)[0].start for seed in range(2000)]
    counts = np.bincount(starts)[::2]
    assert len(counts) == 5 and counts.min() > 330 and counts.max() < 470
    pairs = {  # two spans of one word each, with a word between them: 10 places
        tuple(span.start for span in spans_of(text, seed, ratio=1 / 3, mean_words=0.01)) for seed in range(500)
    }
    assert pairs == {(2 * i, 2 * j) for i in range(6) for j in range(i + 2, 6)}


def test_whole_sentences() -> None:
    text = "The cat sat. It slept!\n\nThen it woke up. Yes."
    bounds = [text[span.start : span.end] for span in sentence_bounds(text)]
    assert bounds == ["The cat sat.", "It slept!", "Then it woke up.", "Yes."]
    both = {tuple(text[s.start : s.end] for s in spans_of(text, seed, policy="alternate")) for seed in range(20)}
    assert both == {("The cat sat.", "Then it woke up."), ("It slept!", "Yes.")}
    for seed in range(20):
        spoken = sum(span.num_words for span in spans_of(text, seed, policy="sentence", ratio=0.3))
        assert spoken >= 3 and {text[s.start : s.end] for s in spans_of(text, seed, policy="sentence")} <= set(bounds)


def test_ideographs_are_words() -> None:
    assert count_words("今天天气 very good。") == 6
    spans = spans_of("今天天气很好", 1, ratio=0.5)
    assert sum(span.end - span.start for span in spans) == 3


def test_options() -> None:
    for options, match in (
        ({"policy": "word"}, "spans.policy.*poisson"),
        ({"ratio": 1.5}, "spans.ratio"),
        ({"mean_words": 0}, "spans.mean_words"),
    ):
        with pytest.raises(UserError, match=match):
            SpanConfig(**options)  # type: ignore[arg-type]
