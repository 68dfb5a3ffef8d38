"""Laws of the words of a transcript: written out, the same from themselves, plain words as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.normalisation import normalise
from corpus.text.spoken_form import in_words
from corpus.text.spoken_words import spoken_words

ABBREVIATIONS = "am pm mr mrs dr st vs etc no vol fig us uk oct mon kg lb ft in i ii iv x a p m o'clock fifth"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("That's $1,250.50!", "that's one thousand two hundred fifty dollars and fifty cents"),
        ("Dr. Lee left in 1990.", "doctor lee left in nineteen ninety"),
        ("HE WENT TO ST LOUIS AND SAID IT IS OK", "he went to st louis and said it is ok"),  # not "s t louis"
        ("IT COST $5", "it cost five dollars"),
        ("The FBI called", "the f b i called"),
        ("THE FBI CALLED", "the f b i called"),
        ("5°C 很冷", "五摄氏度 很冷"),
        ("-5°C 很冷", "零下五摄氏度 很冷"),
        ("今天-5 °C 很冷", "今天零下五摄氏度 很冷"),
        ("我买了 20 GB 内存", "我买了 二十吉字节 内存"),
        ("5 KM 很远", "五公里 很远"),
        ("NASA 很大", "nasa 很大"),
        ("WHO 说", "who 说"),
        ("10 °C", "ten degrees celsius"),
        ("20 MB", "twenty megabytes"),
        ("5 KM", "five kilometers"),
        ("IBM PC", "i b m p c"),
        ("MR SMITH SAW IT", "mr smith saw it"),
        ("WORLD WAR II", "world war two"),
        ("DO NOT GO", "do not go"),
        ("mr smith went to st louis", "mr smith went to st louis"),
        ("\u4ed6\u67095\u4e2a", "\u4ed6\u6709\u4e94\u4e2a"),
        ("first line 5\n\nsecond 6", "first line five second six"),
        ("5 cats. " * 2000, ("five cats " * 2000).strip()),
        ("...", ""),
    ],
)
def test_transcripts_are_written_out(text: str, words: str) -> None:
    assert spoken_words(text) == words and spoken_words(words) == words


@given(st.lists(st.sampled_from(ABBREVIATIONS.split()) | st.text("abcdrst' ", max_size=6), max_size=8).map(" ".join))
def test_plain_words_are_as_they_are(text: str) -> None:
    """What the short cut takes for granted: the whole way gives the same."""
    assert spoken_words(text) == normalise(text) == normalise(in_words(text))


@given(st.text("abcD \t.,$%/:'-0123456789\u00e9\u4e94", max_size=30))
def test_words_come_back_from_themselves(text: str) -> None:
    words = spoken_words(text)
    assert spoken_words(words) == words and not any(letter.isascii() and letter.isdigit() for letter in words)
