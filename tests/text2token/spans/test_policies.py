import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.speakability import unspeakable_parts
from corpus.text.words import count_words
from runtime.errors import UserError
from runtime.hashing import seed_of
from text2token.spans.layout import Span, sentence_bounds
from text2token.spans.policies import POLICIES, SpanConfig, choose_spans

WORD = st.text(alphabet="abc.é", min_size=1, max_size=5)
LATIN = st.lists(st.tuples(WORD, st.sampled_from([" ", "  ", "\n", "\n\n"])), max_size=80).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)
PIECES = ["今天，", "天气。", "😀", "مرحبا", "`x`", "http://a.b", "x = 3", "\0", " ", "\n", "|a|b|"]
ANYTHING = st.lists(st.one_of(WORD, st.sampled_from(PIECES)), max_size=60).map(" ".join)


def spans_of(text: str, seed: int = 0, **options: object) -> list[Span]:
    return choose_spans(text, SpanConfig(**options), np.random.default_rng(seed))  # type: ignore[arg-type]


@given(
    st.one_of(LATIN, ANYTHING, st.text(max_size=200)),
    st.integers(0, 99),
    st.floats(0, 1),
    st.floats(5, 20),
    st.sampled_from(sorted(POLICIES)),
)
def test_laws_of_spans(text: str, seed: int, ratio: float, mean: float, policy: str) -> None:
    spans = spans_of(text, seed, policy=policy, ratio=ratio, mean_words=mean)
    assert spans == spans_of(text, seed, policy=policy, ratio=ratio, mean_words=mean)
    for span in spans:
        inside = text[span.start : span.end]
        assert 0 <= span.start < span.end <= len(text) and count_words(inside) == span.num_words >= 1
        assert inside == inside.strip()
    for left, right in itertools.pairwise(spans):  # never touch, never overlap
        assert left.end < right.start and count_words(text[left.end : right.start]) >= 1
    for start, end in unspeakable_parts(text):
        assert not any(span.start < end and start < span.end for span in spans)
    if policy == "word":
        assert all(span.num_words >= 5 for span in spans)


@given(LATIN, st.integers(0, 99), st.floats(0, 1), st.floats(0.2, 20))
def test_poisson_takes_the_share_it_is_asked(text: str, seed: int, ratio: float, mean: float) -> None:
    spans = spans_of(text, seed, ratio=ratio, mean_words=mean)
    assert abs(sum(span.num_words for span in spans) - ratio * count_words(text)) < 1
    for span in spans:  # whole words
        assert span.start == 0 or text[span.start - 1].isspace()
        assert span.end == len(text) or text[span.end].isspace()


@pytest.mark.parametrize(("policy", "ratio"), [("poisson", 0.3), ("poisson", 0.05), ("word", 0.3), ("sentence", 0.4)])
def test_realised_share_over_2000_documents(policy: str, ratio: float) -> None:
    random = np.random.default_rng(5)
    words = spoken = 0
    for number in range(3000):
        lengths = random.integers(4, 16, random.integers(2, 16))  # sentences
        text = " ".join(" ".join(["word"] * int(length - 1)) + " end." for length in lengths)
        seed = seed_of(1, f"doc-{number}")
        words += count_words(text)
        spoken += sum(span.num_words for span in spans_of(text, seed, policy=policy, ratio=ratio))
    assert words > 200_000
    assert abs(spoken / words - ratio) <= 0.005 * ratio


@pytest.mark.parametrize(
    ("words", "ratio", "possible"),
    [
        (0, 0.3, {0}),
        (1, 0.3, {0, 1}),
        (3, 0.3, {0, 1}),
        (4, 0.3, {1, 2}),
        (10, 0.3, {3}),
        (10, 1.0, {10}),
        (10, 0.95, {9, 10}),
        (1000, 0.2, {200}),
    ],
)
def test_counts_of_short_texts(words: int, ratio: float, possible: set[int]) -> None:
    text = " ".join("w" for _ in range(words))
    counts = [sum(span.num_words for span in spans_of(text, seed, ratio=ratio)) for seed in range(60)]
    assert set(counts) == possible
    if len(possible) == 2:
        assert abs(np.mean(counts) - ratio * words) < 0.25


def test_lengths_are_poisson_in_long_texts() -> None:
    text = " ".join("w" for _ in range(3000))
    lengths = [span.num_words for seed in range(30) for span in spans_of(text, seed)[:-1]]
    assert abs(np.mean(lengths) - 10) < 0.3 and abs(np.var(lengths) - 10) < 1.5


def test_all_places_are_equally_likely() -> None:
    text = "a b c d e f"  # one span of 2 words: 5 places
    starts = [spans_of(text, seed, ratio=1 / 3)[0].start for seed in range(2000)]
    counts = np.bincount(starts)[::2]
    assert len(counts) == 5 and counts.min() > 330 and counts.max() < 470
    pairs = {  # two spans of one word each, with a word between them: 10 places
        tuple(span.start for span in spans_of(text, seed, ratio=1 / 3, mean_words=0.01)) for seed in range(500)
    }
    assert pairs == {(2 * i, 2 * j) for i in range(6) for j in range(i + 2, 6)}


def cut(text: str, seed: int, **options: object) -> tuple[str, ...]:
    return tuple(text[span.start : span.end] for span in spans_of(text, seed, **options))


def test_whole_sentences() -> None:
    text = "The cat sat. It slept!\n\nThen it woke up. Yes."
    bounds = [text[start:end] for start, end in sentence_bounds(text)]
    assert bounds == ["The cat sat.", "It slept!", "Then it woke up.", "Yes."]
    both = {cut(text, seed, policy="alternate") for seed in range(20)}
    assert both == {("The cat sat.", "Then it woke up."), ("It slept!", "Yes.")}
    assert {cut(text, seed, policy="sentence", ratio=1.0) for seed in range(5)} == {(text,)}
    some = {cut(text, seed, policy="sentence", ratio=0.3) for seed in range(50)}
    assert {sentence for spans in some for sentence in spans} == set(bounds) and len(some) > 4
    mandarin = "今天天气很好。我们去公园吧！好的。"
    assert {cut(mandarin, seed, policy="alternate") for seed in range(9)} == {
        ("今天天气很好。", "好的。"),
        ("我们去公园吧！",),
    }


@pytest.mark.parametrize(
    ("text", "policy", "spoken"),
    [
        ("see `rm -r x` now", "poisson", {("see", "now")}),
        ("a b http://c.de e f", "poisson", {("a b", "e f")}),
        ("One two. The x = 3 holds. Five six.", "sentence", {("One two.", "Five six.")}),
        ("One two. The x = 3 holds. Five six.", "alternate", {("One two.",), ("Five six.",)}),
        ("```\nall code\n```", "word", {()}),
        ("one two three four `x` one two three four five", "word", {("one two three four five",)}),
    ],
)
def test_unspeakable_words_stay_text(text: str, policy: str, spoken: set[tuple[str, ...]]) -> None:
    assert {cut(text, seed, policy=policy, ratio=1.0, mean_words=6) for seed in range(30)} == spoken
    config = {"policy": "poisson", "ratio": 1.0, "skips_unspeakable": False}
    assert cut(text, 0, **config) == (text,)


def test_chinese_words() -> None:
    text = "今天天气很好，我们去公园玩。"
    assert count_words(text) == 12 and count_words("今天天气 very good。") == 6 and count_words("“你好！” hi") == 3
    assert sum(span.num_words for span in spans_of(text, 1, ratio=0.5)) == 6
    starts = {span.start for seed in range(60) for span in spans_of(text, seed, mean_words=1, ratio=0.3)}
    assert starts == set(range(14)) - {6, 13}  # every character, but no punctuation
    pytest.importorskip("rjieba")
    options = {"mean_words": 0.01, "ratio": 0.3, "segmenter": "jieba"}
    words = {word for seed in range(60) for word in cut(text, seed, **options)}
    assert words == {"今天天气", "很", "好，", "我们", "去", "公园", "玩。"}


def test_options() -> None:
    for options, match in (
        ({"policy": "aligned"}, r"option policy: found 'aligned'\. choose one of poisson"),
        ({"ratio": 1.5}, r"option ratio: found 1\.5.*at most 1"),
        ({"mean_words": 0}, r"option mean_words: found 0.*above 0"),
        ({"min_words": 0}, r"option min_words: found 0.*at least 1"),
        ({"policy": "word", "mean_words": 3}, "spans.min_words"),
        ({"segmenter": "spaces"}, r"option segmenter: found 'spaces'.*jieba"),
    ):
        with pytest.raises(UserError, match=match):
            SpanConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "unit",
    ["St. Louis", "No. 5", "Jan. 5", "J. R. R. Tolkien", "$5 million", "March 5, 2019", "5 - 10 kg", "War II"],
)
def test_no_span_ends_within_what_is_read_as_one(unit: str) -> None:
    text = f"they say that {unit} was there before"
    for policy, seed in itertools.product(("poisson", "word"), range(60)):
        for span in spans_of(text, seed, policy=policy, ratio=0.5, mean_words=2, min_words=1):
            inside = text[span.start : span.end]
            assert unit in inside or not set(unit.split()) & set(inside.split()), inside


@pytest.mark.parametrize("unit", ["2024年3月5日", "1990-1995年", "2个", "90年代", "¥5万", "-5 °C到10 °C"])
def test_no_span_ends_within_what_is_read_as_one_in_mandarin(unit: str) -> None:
    text = f"他们说在{unit}之前来过这里"
    start, end = text.index(unit), text.index(unit) + len(unit)
    for seed in range(80):
        for span in spans_of(text, seed, ratio=0.5, mean_words=2):
            assert span.end <= start or span.start >= end or (span.start <= start and span.end >= end)


def test_what_has_no_reading_stays_text() -> None:
    text = "one two x86-64 three 😀 four $5M five"
    assert {cut(text, seed, ratio=1.0, mean_words=9) for seed in range(9)} == {("one two", "three", "four $5M five")}
    assert cut("他用x86芯片", 0, ratio=1.0, mean_words=9) == ("他用", "芯片")


def test_sentence_policies_cut_at_no_abbreviation() -> None:
    text = "He met J. R. Smith in St. Louis. It was No. 5."
    assert {cut(text, seed, policy="alternate") for seed in range(9)} == {
        ("He met J. R. Smith in St. Louis.",),
        ("It was No. 5.",),
    }


@pytest.mark.parametrize("policy", ["poisson", "word"])
def test_every_part_of_a_text_is_spoken_alike(policy: str) -> None:
    """Neither the halves of a text nor the first and the last span differ in their share of speech."""
    text = " ".join(["word"] * 50)
    halves, ends = np.zeros(2), []
    for seed in range(3000):
        spans = spans_of(text, seed, policy=policy)
        for span in spans:
            first = count_words(text[: span.start])
            for word in range(first, first + span.num_words):
                halves[word // 25] += 1
        ends += [(spans[0].num_words, spans[-1].num_words)] if spans else []
    share = halves / (3000 * 25)
    assert abs(share[0] - share[1]) < 0.015, share
    first, last = np.mean(ends, axis=0)
    assert abs(first - last) < 0.35, (first, last)
