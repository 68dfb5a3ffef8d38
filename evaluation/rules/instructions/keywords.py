"""Checkers of keywords and letters."""

from __future__ import annotations

import re
import string

from .arguments import Arguments, Dialect
from .counting import HAN

# Drawn where a published script would draw an English word: rare ones, as its list of 1,500 makes a hit rare.
RARE_WORDS = ("western", "sentence", "signal", "dump", "spot", "opposite", "bottom", "potato", "administration")
DRAWN_KEYWORDS, MOST_REPEATS, MOST_LETTERS = 2, 3, 10


def whole_word(word: str) -> re.Pattern[str]:
    """A word as a whole, in any case; Chinese has no word boundaries, so there it is a substring."""
    before = r"(?<!\w)" if word[:1].isalnum() and not HAN.match(word[0]) else ""
    after = r"(?!\w)" if word[-1:].isalnum() and not HAN.match(word[-1]) else ""
    return re.compile(before + re.escape(word) + after, re.IGNORECASE)


def occurrences(word: str, text: str, dialect: Dialect) -> int:
    """Matches of a keyword: whole words by default; in the published checkers it is a regular expression anywhere."""
    if dialect == "default":
        return len(whole_word(word).findall(text))
    try:
        return len(re.findall(word, text, flags=re.IGNORECASE))
    except re.error:  # "C++": the published script stops here
        return len(re.findall(re.escape(word), text, flags=re.IGNORECASE))


def existence(text: str, arguments: Arguments) -> bool:
    """All keywords occur."""
    keywords = arguments.texts("keywords", RARE_WORDS, DRAWN_KEYWORDS)
    return all(occurrences(word, text, arguments.dialect) for word in keywords)


def frequency(text: str, arguments: Arguments) -> bool:
    """A keyword occurs a number of times."""
    keyword = arguments.text("keyword", RARE_WORDS).strip()
    wanted = arguments.number("frequency", 1, MOST_REPEATS)
    return arguments.compare(occurrences(keyword, text, arguments.dialect), wanted, "relation")


def forbidden_words(text: str, arguments: Arguments) -> bool:
    """No forbidden word occurs, as a whole word; for ``bilingual`` it may also be no part of another word."""
    words = arguments.texts("forbidden_words", RARE_WORDS, DRAWN_KEYWORDS)
    if arguments.dialect == "bilingual":
        return not any(word.lower() in text.lower() for word in words)
    return not any(whole_word(word).search(text) for word in words)


def letter_frequency(text: str, arguments: Arguments) -> bool:
    """A letter occurs a number of times, in either case."""
    letter = arguments.text("letter", string.ascii_lowercase).strip().lower()
    wanted = arguments.number("let_frequency", 1, MOST_LETTERS)
    return arguments.compare(text.lower().count(letter), wanted, "let_relation")
