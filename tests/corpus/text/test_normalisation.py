import pytest

from corpus.text.normalisation import join_sentences, normalise, split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t stop, Tom!", "don't stop tom"),
        ("  'Hello' -- she_said ", "hello she said"),
        ("the sky is blue", "the sky is blue"),
        ("Größe: ÜBER", "größe über"),
        ("किताब मेज़ पर है।", "किताब मेज़ पर है"),  # Hindi
        ("วันนี้ อากาศดี", "วันนี้ อากาศดี"),  # Thai
        ("தமிழ் மொழி!", "தமிழ் மொழி"),  # Tamil
        ("مُحَمَّدٌ، رَسُول", "مُحَمَّدٌ رَسُول"),  # pointed Arabic
        ("שָׁלוֹם, עוֹלָם", "שָׁלוֹם עוֹלָם"),  # pointed Hebrew
        ("co\u00adoperate zero\u200bwidth \ufeffmark", "cooperate zerowidth mark"),
        ("می\u200cخواهم क्\u200dष", "می\u200cخواهم क्\u200dष"),  # joiners that spell
        ("a\u200db 👨\u200d👩 👍\ufe0f ok", "ab ok"),  # joiners that do not
        ("İstanbul x\u0302y", "i\u0307stanbul x\u0302y"),
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


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("He lives in St. Louis. It is No. 5 on Jan. 5.", ["He lives in St. Louis.", "It is No. 5 on Jan. 5."]),
        ("J. R. R. Tolkien wrote it. J. Smith read it.", ["J. R. R. Tolkien wrote it.", "J. Smith read it."]),
        ("At 5 p.m. The cat slept.", ["At 5 p.m.", "The cat slept."]),
        ("Is it? No. I left. Dr. No came.", ["Is it?", "No.", "I left.", "Dr. No came."]),
        ("Plan B. Then we left. It was I. He stayed.", ["Plan B.", "Then we left.", "It was I.", "He stayed."]),
        ("The U.S. Army left the U.S. They won.", ["The U.S. Army left the U.S.", "They won."]),
        (
            "Apples, pears, etc. are fruit, e.g. here vs. Smith.",
            ["Apples, pears, etc. are fruit, e.g. here vs. Smith."],
        ),
        ("See pp. 5-10 of vol. 2, i.e. ch. 3. Wait... go", ["See pp. 5-10 of vol. 2, i.e. ch. 3.", "Wait...", "go"]),
        ("1. Buy milk.\n2. Go home.", ["1. Buy milk.", "2. Go home."]),
        ("“你好。”他说。真的吗？！是，3.5元。", ["“你好。”", "他说。", "真的吗？！", "是，3.5元。"]),
        ("版本2.4.1。好！St. Louis很大。", ["版本2.4.1。", "好！", "St. Louis很大。"]),
        ("यह किताब है। वह घर है। هل هذا؟ نعم", ["यह किताब है।", "वह घर है।", "هل هذا؟", "نعم"]),
    ],
)
def test_sentences_end_at_no_abbreviation(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences
