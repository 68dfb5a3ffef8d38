"""Words and sentences of English and Chinese answers, as the dialects count them."""

from __future__ import annotations

import re

import regex

from corpus.text.normalisation import split_sentences

from .arguments import Arguments, Dialect

WORD = regex.compile(r"\p{Han}|[[\p{L}\p{M}\p{N}]--\p{Han}]+(?:['’-][[\p{L}\p{M}\p{N}]--\p{Han}]+)*", regex.V1)
HAN = re.compile("[\u4e00-\u9fff]")
CHINESE_END = re.compile("[！？。]")
MOST_SENTENCES, FEWEST_WORDS, MOST_WORDS = 20, 100, 500
MOST_CAPITALS = 20


def is_chinese(text: str) -> bool:
    """Whether a text has any Chinese character: what the bilingual checkers decide by."""
    return HAN.search(text) is not None


def count_words(text: str, dialect: Dialect) -> int:
    """Words; a Chinese character is one.

    ``google`` counts runs of letters, digits and underscores ("don't" is two), ``bilingual`` nothing but the Chinese
    characters wherever there is one; by default "don't" and "well-known" are one word each, and both scripts count.
    """
    if dialect == "default":
        return len(WORD.findall(text))
    if dialect == "bilingual" and is_chinese(text):
        return len(HAN.findall(text))
    return len(re.findall(r"\w+", text))


def count_sentences(text: str, dialect: Dialect) -> int:
    """Sentences, by our splitter; the published checkers split English with punkt, whose model is not shipped."""
    if dialect == "default":
        return len(split_sentences(text))
    if dialect == "bilingual" and is_chinese(text):
        return sum(bool(part.strip()) for part in CHINESE_END.split(text))
    return len(split_sentences(" ".join(text.split())))


def number_words(text: str, arguments: Arguments) -> bool:
    """A number of words."""
    wanted = arguments.number("num_words", FEWEST_WORDS, MOST_WORDS)
    return arguments.compare(count_words(text, arguments.dialect), wanted, "relation")


def number_sentences(text: str, arguments: Arguments) -> bool:
    """A number of sentences."""
    wanted = arguments.number("num_sentences", 1, MOST_SENTENCES)
    return arguments.compare(count_sentences(text, arguments.dialect), wanted, "relation")


def capital_words(text: str, arguments: Arguments) -> bool:
    """A number of words in capitals. Words are parted by blanks, without the signs around them: "U.S." is one."""
    words = [word.strip(".,;:!?\"'()[]{}<>*_`“”‘’") for word in text.split()]
    found = sum(word.isupper() for word in words)
    wanted = arguments.number("capital_frequency", 1, MOST_CAPITALS)
    return arguments.compare(found, wanted, "capital_relation")
