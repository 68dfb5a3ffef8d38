"""English number words as digits ("twenty three" -> "23"), for rules that compare numbers in either writing."""

from __future__ import annotations

from num2words import num2words

LARGEST_PART = 1000
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def _small_numbers() -> dict[str, int]:
    small = {num2words(number).replace("-", " "): number for number in range(LARGEST_PART)}
    return small | {words.replace(" and ", " "): number for words, number in small.items()}


SMALL = _small_numbers()


def digits_of(text: str) -> str | None:
    """The digits of a text that is a whole number in words; None for any other text."""
    words = text.lower().replace("-", " ").replace(",", " ").split()
    number, part = 0, list[str]()
    for word in words:
        if word not in SCALES:
            part.append(word)
            continue
        value = _small(part)
        if value is None:
            return None
        number, part = number + value * SCALES[word], []
    if not words:
        return None
    rest = 0 if not part else _small(part[1:] if part[0] == "and" and number else part)
    return None if rest is None else str(number + rest)


def _small(words: list[str]) -> int | None:
    return SMALL.get(" ".join("one" if word == "a" else word for word in words))
