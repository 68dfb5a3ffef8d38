"""Numbers of English in words, by num2words: cardinals, ordinals, years, fractions, digit by digit."""

from __future__ import annotations

import re
from functools import lru_cache

GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,3}(?:[\u00a0\u2009\u202f'’][0-9]{3})+"
EUROPEAN = r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]{1,2}(?![0-9])"
NUMBER = rf"(?:{EUROPEAN}|(?:{GROUPED})(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
SIGNS = {
    "-": "minus", "−": "minus", "–": "minus", "+": "plus", "±": "plus or minus", "~": "about", "≈": "about",
    "<": "less than", ">": "more than", "≤": "at most", "≥": "at least",
    "<=": "at most", ">=": "at least",
}  # fmt: skip
SIGN_CHARACTERS = "".join(SIGNS) + " "
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
IRREGULAR = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def figures(number: str) -> str:
    """Digits and a point of a number with marks between its groups of three: "1.234,50" -> "1234.50"."""
    if re.fullmatch(EUROPEAN, number):
        number = number.replace(".", "").replace(",", ".")
    return re.sub("[^0-9.]", "", number)


def cardinal(number: str) -> str:
    """A number ("1,234.50") in words; one of leading zeros or too many digits is read digit by digit."""
    whole, _, decimals = figures(number).partition(".")
    is_code = (len(whole) > 1 and whole[0] == "0") or len(whole) > 15
    words = spelt(whole) if is_code or not whole else in_words(int(whole), "cardinal")
    return f"{words} point {spelt(decimals)}".strip() if decimals else words


def signed(number: str) -> str:
    """ "-5" -> "minus five", "≥ 3" -> "at least three"."""
    sign = number[: len(number) - len(number.lstrip(SIGN_CHARACTERS))].strip()
    return f"{SIGNS[sign]} {cardinal(number.lstrip(SIGN_CHARACTERS))}" if sign else cardinal(number)


def plain(number: str) -> str:
    """A bare number: four digits from 1100 to 2099 without a comma are a year."""
    return year(number) if re.fullmatch(r"1[1-9][0-9]{2}|20[0-9]{2}", number) else signed(number)


def ordinal(number: str | int) -> str:
    """ "22" -> "twenty second"."""
    return in_words(int(number), "ordinal")


def year(number: str | int) -> str:
    """ "1905" -> "nineteen oh five"."""
    return in_words(int(number), "year")


def decade(number: str) -> str:
    """ "1990" -> "nineteen nineties", "80" -> "eighties"."""
    words = {"00": "hundreds", "2000": "two thousands"}.get(number, "")
    if words or number.endswith("00"):
        return words or f"{in_words(int(number[:-2]), 'cardinal')} hundreds"
    return several(year(number) if len(number) == 4 else cardinal(number))


def several(words: str) -> str:
    """ "fifty two" -> "fifty twos", "twenty" -> "twenties"."""
    return re.sub("y$", "ie", words) + ("es" if words.endswith("x") else "s")


def fraction(top: int, bottom: int) -> str:
    """ "3/8" -> "three eighths"; of ten or a hundred, and of no less than the whole: "out of"."""
    if (top, bottom) in ((9, 11), (24, 7)):
        return f"{in_words(top, 'cardinal')} {in_words(bottom, 'cardinal')}"
    if bottom in (10, 100) or top == bottom:
        return f"{in_words(top, 'cardinal')} out of {in_words(bottom, 'cardinal')}"
    if bottom < 2 or bottom > 99 or top > bottom:
        return f"{in_words(top, 'cardinal')} over {in_words(bottom, 'cardinal')}"
    one, many = IRREGULAR.get(bottom, (ordinal(bottom), f"{ordinal(bottom)}s"))
    return f"{in_words(top, 'cardinal')} {one if top == 1 else many}"


def power(exponent: str) -> str:
    """ "⁻³" -> "to the power of minus three"."""
    return f"to the power of {signed(exponent.translate(SUPERSCRIPTS))}"


def spelt(digits: str) -> str:
    """Digit by digit."""
    return " ".join(in_words(int(digit), "cardinal") for digit in digits)


@lru_cache(maxsize=4096)
def in_words(number: int, kind: str) -> str:
    """A whole number as ``cardinal``, ``ordinal`` or ``year``, without "and" and hyphens."""
    from num2words import num2words

    return str(num2words(number, lang="en", to=kind)).replace(",", "").replace("-", " ").replace(" and ", " ")
