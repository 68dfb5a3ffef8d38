"""Classes of spans on one text whose positions are counted by hand."""

import pytest

from text2token.readback.span_classes import (
    SpanReadback,
    crosses_sentence_end,
    cut_of,
    length_class,
    metrics_by_class,
    new_pairs,
    place_of,
    rates,
    word_pairs,
)
from text2token.speech_generation import NO_CODES
from text2token.synthesis.unit_file import SpokenDocument, SpokenSpan

#       0123456789012345678901234567890123456789
TEXT = "the cat sleeps. a lion runs. it is red."


def span_of(words: str) -> tuple[SpokenDocument, SpokenSpan]:
    start = TEXT.index(words)
    span = SpokenSpan(start, start + len(words), len(words.split()), words, "ann", "good", NO_CODES)
    return SpokenDocument("d", TEXT, [span]), span


@pytest.mark.parametrize(
    ("words", "place", "cut", "crosses"),
    [
        ("the cat sleeps.", "start", "none", False),
        ("the cat", "start", "last", False),
        ("cat sleeps. a", "inside", "both", True),
        ("a lion runs.", "inside", "none", False),
        ("lion runs. it is red.", "end", "first", True),
        ("is red.", "end", "first", False),
        (TEXT, "whole text", "none", True),
    ],
)
def test_a_span_lies_in_its_text(words: str, place: str, cut: str, crosses: bool) -> None:
    document, span = span_of(words)
    assert (place_of(document, span), cut_of(document, span)) == (place, cut)
    assert crosses_sentence_end(document, span) is crosses


def test_lengths_and_novelty() -> None:
    lengths = [1, 2, 3, 4, 6, 7, 10, 11, 15, 16, 40]
    classes = ["1", "2 to 3", "2 to 3", "4 to 6", "4 to 6", "7 to 10", "7 to 10", "11 to 15", "11 to 15"]
    assert [length_class(length) for length in lengths] == [*classes, "over 15", "over 15"]
    known = word_pairs(["The cat sleeps.", "a red cat"])
    assert known == {("the", "cat"), ("cat", "sleeps"), ("a", "red"), ("red", "cat")}
    assert new_pairs("the cat sleeps. A red lion", known) == 2  # "sleeps a" and "red lion"
    assert new_pairs("lion", known) == 0


def row(text: str, heard: str, real: str | None, new: int | None, **more: object) -> SpanReadback:
    values = {"document": "d", "span": 0, "speaker": "ann", "tokens": 9, "place": "inside", "cut": "both"}
    return SpanReadback(
        text=text,
        heard=heard,
        heard_in_real_tokens=real,
        words=len(text.split()),
        new_pairs=new,
        crosses_sentence_end=False,
        **(values | more),  # type: ignore[arg-type]
    )


def test_error_rates_of_the_classes() -> None:
    rows = [
        row("the cat sleeps", "the dog sleeps", "the cat sleeps", 0),  # 1 of 3
        row("red", "bed bath", "red", 0, speaker="bob", cut="none"),  # 2 of 1
        row("a lion runs it", "a lion runs it", "a lion runs", 2, place="end"),  # 0 of 4; the floor 1 of 4
    ]
    assert rates(rows) == {"span_wer": 0.375, "span_wer_of_real_tokens": 0.125}
    table = {(line["by"], line["class"]): line for line in metrics_by_class(rows)}
    assert table["voice", "ann"] | {"by": 0, "class": 0} == {
        "by": 0, "class": 0, "spans": 2, "words": 7, "span_wer": 0.1429, "span_wer_of_real_tokens": 0.1429
    }  # fmt: skip
    assert [name for by, name in table if by == "length in words"] == ["1", "2 to 3", "4 to 6"]
    shares = {name: line["span_wer"] for (by, name), line in table.items() if by == "unseen word pairs"}
    assert shares == {"none": 0.3333, "one word": 2.0, "over half": 0.0}
    assert table["sentences cut", "none"]["span_wer"] == 2.0 and table["place in the text", "end"]["span_wer"] == 0.0
    unknown = [row("the cat", "the cat", None, None)]
    assert rates(unknown) == {"span_wer": 0.0}
    assert "unseen word pairs" not in {line["by"] for line in metrics_by_class(unknown)}
