import pytest

from corpus.text.normalisation import join_sentences, normalise, split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t stop, Tom!", "don't stop tom"),
        ("  'Hello' -- she_said ", "hello she said"),
        ("the sky is blue", "the sky is blue"),
        ("Größe: ÜBER", "größe über"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(expected) == expected


def test_sentences_round_trip() -> None:
    sentences = ["tom has a ball", "it is red"]
    assert join_sentences(sentences) == "tom has a ball. it is red."
    assert [normalise(part) for part in split_sentences(join_sentences(sentences))] == sentences
    text = 'He said "no." Then he left!\n\nShe stayed'
    assert split_sentences(text) == ['He said "no."', "Then he left!", "She stayed"]
