"""Numbers of Mandarin in characters: cardinals, signs, magnitudes, digit by digit (num2words knows no Chinese)."""

from __future__ import annotations

from decimal import Decimal

DIGITS = "零一二三四五六七八九"
SMALL, LARGE = ("", "十", "百", "千"), ("", "万", "亿", "万亿")
NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?)"
POWERS = {"k": 3, "K": 3, "M": 6, "m": 6, "mn": 6, "B": 9, "bn": 9, "w": 4, "T": 12, "tn": 12,
          "thousand": 3, "million": 6, "billion": 9, "trillion": 12}  # fmt: skip
SIGNS = {"-": "负", "−": "负", "–": "负", "+": "正", "±": "正负", "~": "约", "～": "约", "≈": "约", "<": "小于",
         ">": "大于",         "≤": "不超过", "≥": "不低于"}  # fmt: skip
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def cardinal(number: str) -> str:
    """A number ("1,234.5") in characters; one of leading zeros or too many digits is read digit by digit."""
    whole, _, decimals = number.replace(",", "").partition(".")
    is_code = (len(whole) > 1 and whole[0] == "0") or len(whole) > 16
    words = spelt(whole) if is_code else _whole(int(whole))
    return f"{words}点{spelt(decimals)}" if decimals else words


def signed(number: str, minus: str = "负") -> str:
    """A number with the sign before it; ``minus`` is 零下 for temperatures."""
    sign = SIGNS.get(number[:1])
    if not sign:
        return cardinal(number)
    return (minus if sign == "负" else sign) + cardinal(number[1:].strip())


def spelt(digits: str) -> str:
    """Digit by digit."""
    return "".join(DIGITS[int(digit)] for digit in digits)


def _whole(number: int) -> str:
    if number == 0:
        return DIGITS[0]
    words, place, is_gap = "", 0, False
    while number:
        number, group = divmod(number, 10000)
        if group:
            zero = DIGITS[0] if is_gap else ""
            words = _group(group) + LARGE[place] + zero + words
        is_gap = bool(words) and group < 1000  # what follows a group of fewer digits is parted from it by a zero
        place += 1
    return words.removeprefix("一") if words.startswith("一十") else words


def _group(number: int) -> str:
    """1 to 9999."""
    words, is_gap = "", False
    for power, digit in zip((3, 2, 1, 0), f"{number:04d}", strict=True):
        if digit == "0":
            is_gap = bool(words)
        else:
            words += (DIGITS[0] if is_gap else "") + DIGITS[int(digit)] + SMALL[power]
            is_gap = False
    return words


def counted(number: str) -> str:
    """Before a measure word or unit: 2 is 两."""
    return "两" if number == "2" else signed(number)


def scaled(number: str, scale: str | None) -> str:
    """A number and its magnitude: ("5", "M") -> 五百万, ("3.2", "亿") -> 三点二亿."""
    if not scale:
        return counted(number)
    if scale not in POWERS:
        return f"{counted(number)}{scale}"
    amount = Decimal(number.replace(",", "")).scaleb(POWERS[scale])
    return cardinal(f"{amount:f}".removesuffix(".0"))
