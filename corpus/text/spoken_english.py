"""English as it is read aloud: numbers, dates, times, money, units, abbreviations and acronyms in words.

Numbers are num2words's; which of their readings is meant (year, ordinal, digits, amount) is decided by rules of ours,
tried in order. What no rule knows is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
MONTH = "|".join([*MONTHS, *(rf"{month[:3]}\." for month in MONTHS), "Sept\\."])
NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
SCALE = r"thousand|million|billion|trillion"
CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "")}
UNITS = {
    "km/h": "kilometers per hour", "m/s": "meters per second", "mph": "miles per hour",
    "km": "kilometers", "cm": "centimeters", "mm": "millimeters", "m": "meters", "kg": "kilograms", "mg": "milligrams",
    "g": "grams", "ml": "milliliters", "ft": "feet", "lbs": "pounds", "lb": "pounds", "oz": "ounces",
    "GB": "gigabytes", "MB": "megabytes", "KB": "kilobytes", "TB": "terabytes", "GHz": "gigahertz", "MHz": "megahertz",
    "kHz": "kilohertz", "Hz": "hertz", "kW": "kilowatts", "W": "watts", "V": "volts", "ms": "milliseconds",
    "°C": "degrees celsius", "°F": "degrees fahrenheit", "°": "degrees", "%": "percent",
}  # fmt: skip
NEVER_PLURAL = {"hertz", "gigahertz", "megahertz", "kilohertz", "percent", "feet"}
ABBREVIATIONS = {
    "Dr.": "doctor", "Mr.": "mister", "Mrs.": "missus", "Ms.": "miss", "Prof.": "professor", "Jr.": "junior",
    "Sr.": "senior", "vs.": "versus", "etc.": "et cetera", "e.g.": "for example", "i.e.": "that is",
    "approx.": "approximately", "Inc.": "incorporated", "Ltd.": "limited", "Co.": "company", "Corp.": "corporation",
    "Gen.": "general", "Gov.": "governor", "Sen.": "senator", "Rep.": "representative", "Lt.": "lieutenant",
    "Capt.": "captain", "Sgt.": "sergeant", "Mt.": "mount", "Ave.": "avenue", "Blvd.": "boulevard", "Fig.": "figure",
    "Vol.": "volume", "pp.": "pages", "Dept.": "department", "Univ.": "university", "est.": "established",
}  # fmt: skip
SAID_AS_WORDS = {
    "NASA", "NATO", "AIDS", "UNESCO", "UNICEF", "OPEC", "RAM", "ROM", "LASER", "RADAR", "SCUBA", "COVID", "FIFA", "OK",
}  # fmt: skip
ROMAN = {"II": 2, "III": 3, "IV": 4, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "XI": 11, "XII": 12}
FRACTIONS = {"1/2": "one half", "1/4": "one quarter", "3/4": "three quarters", "1/3": "one third", "2/3": "two thirds"}
SYMBOLS = {"&": " and ", "+": " plus ", "=": " equals ", "×": " times ", "½": " one half ", "¼": " one quarter "}


def read_english(text: str) -> str:
    """The text with everything spelt out that has a reading of its own."""
    for pattern, reading in RULES:
        text = pattern.sub(reading, text)
    return re.sub(r"[ \t]{2,}", " ", text).strip()


def cardinal(number: str) -> str:
    """A number ("1,234.50") in words; one of leading zeros or too many digits is read digit by digit."""
    digits = number.replace(",", "")
    whole, _, decimals = digits.partition(".")
    is_code = (len(whole) > 1 and whole[0] == "0") or len(whole) > 15
    words = spelt(whole) if is_code else _in_words(int(whole), "cardinal")
    return f"{words} point {spelt(decimals)}" if decimals else words


def ordinal(number: str | int) -> str:
    """ "22" -> "twenty second"."""
    return _in_words(int(number), "ordinal")


def year(number: str | int) -> str:
    """ "1905" -> "nineteen oh five"."""
    return _in_words(int(number), "year")


def spelt(digits: str) -> str:
    """Digit by digit."""
    return " ".join(_in_words(int(digit), "cardinal") for digit in digits)


@lru_cache(maxsize=4096)
def _in_words(number: int, kind: str) -> str:
    from num2words import num2words

    return str(num2words(number, lang="en", to=kind)).replace(",", "").replace("-", " ").replace(" and ", " ")


def _plural(word: str, number: str) -> str:
    if number in ("1", "1.0"):
        return word
    return {"penny": "pence", "yen": "yen"}.get(word, f"{word}s")


def _money(found: re.Match[str]) -> str:
    main, part = CURRENCIES[found["sign"]]
    number, scale = found["number"], found["scale"]
    whole, _, decimals = number.partition(".")
    if scale:
        return f"{cardinal(number)} {scale} {_plural(main, '2')}"
    if part and len(decimals) == 2:
        cents = "" if decimals == "00" else f" and {cardinal(str(int(decimals)))} {_plural(part, str(int(decimals)))}"
        return f"{cardinal(whole)} {_plural(main, whole)}{cents}"
    return f"{cardinal(number)} {_plural(main, number)}"


def _date(month: int, day: str, year_number: str | None) -> str:
    after = f" {year(year_number)}" if year_number else ""
    return f"{MONTHS[month - 1]} {ordinal(day)}{after}"


def _month_number(name: str) -> int:
    return next(number for number, month in enumerate(MONTHS, 1) if month[:3] == name[:3])


def _numeric_date(found: re.Match[str]) -> str:
    month, day = int(found["month"]), int(found["day"])
    return _date(month, str(day), found["year"]) if 1 <= month <= 12 and 1 <= day <= 31 else found[0]


def _time(found: re.Match[str]) -> str:
    hour, minute = int(found["hour"]), int(found["minute"])
    half = f" {' '.join(found['half'].replace('.', '').lower())}" if found["half"] else ""
    if minute == 0:
        return f"{cardinal(str(hour))}{half or ' o’clock'}"
    return f"{cardinal(str(hour))} {'oh ' if minute < 10 else ''}{cardinal(str(minute))}{half}"


def _unit(found: re.Match[str]) -> str:
    name, number = UNITS[found["unit"]], found["number"]
    if number == "1" and name not in NEVER_PLURAL:
        first, *rest = name.split(" ")
        name = " ".join([first.removesuffix("s"), *rest])
    return f"{cardinal(number)} {name}"


def _acronym(found: re.Match[str]) -> str:
    letters = found[0].replace(".", "")
    is_word = letters in SAID_AS_WORDS or (len(letters) > 3 and re.search("[AEIOU]", letters) is not None)
    return found[0] if is_word else " ".join(letters)


_UNIT_NAMES = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_SHORT = "|".join(sorted(map(re.escape, ABBREVIATIONS), key=len, reverse=True))
Reading = Callable[[re.Match[str]], str]
RULES: list[tuple[re.Pattern[str], Reading]] = [
    (
        re.compile(rf"(?P<sign>[$£€¥])\s?(?P<number>{NUMBER})(?:[\s-](?P<scale>{SCALE})\b)?"),
        _money,
    ),
    (re.compile(r"\b(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})\b"), _numeric_date),
    (re.compile(r"(?<![\d/])(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})(?![\d/])"), _numeric_date),
    (
        re.compile(rf"\b({MONTH}) (\d{{1,2}})(?:st|nd|rd|th)?(?:,? (\d{{4}}))?(?![\d:])"),
        lambda found: _date(_month_number(found[1]), found[2], found[3]),
    ),
    (
        re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?({MONTH})(?: (\d{{4}})\b)?"),
        lambda found: (
            f"the {ordinal(found[1])} of {MONTHS[_month_number(found[2]) - 1]}"
            + (f" {year(found[3])}" if found[3] else "")
        ),
    ),
    (
        re.compile(r"\b(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)(?:\s?(?P<half>[ap]\.?m\b\.?|[AP]M\b))?(?!:?\d)"),
        _time,
    ),
    (
        re.compile(r"\b(\d{1,2})\s?([ap]\.?m\b\.?|[AP]M\b)"),
        lambda found: f"{cardinal(found[1])} {' '.join(found[2].replace('.', '').lower())}",
    ),
    (re.compile(r"\b(\d{3})-(\d{3})-(\d{4})\b"), lambda found: ", ".join(map(spelt, found.groups()))),
    (
        re.compile(r"\b(\d\d)(\d0)s\b"),
        lambda found: re.sub("y$", "ies", year(found[1] + found[2])).replace("ten", "tens"),
    ),
    (re.compile(r"\b(\d+)(?:st|nd|rd|th)\b"), lambda found: ordinal(found[1])),
    (re.compile(r"(?<![\d/])(?:1/2|1/4|3/4|1/3|2/3)(?![\d/])"), lambda found: FRACTIONS[found[0]]),
    (
        re.compile(rf"(?P<number>{NUMBER})[ -]?(?P<unit>{_UNIT_NAMES})(?![A-Za-z\d/])"),
        _unit,
    ),
    (
        re.compile(rf"(?<![\w.-])({NUMBER})\s?[-–]\s?({NUMBER})(?![\w-])"),
        lambda found: f"{_plain(found[1])} to {_plain(found[2])}",
    ),
    (re.compile(r"\bNo\. ?(?=\d)|#(?=\d)"), lambda found: "number "),
    (re.compile(r"\bSt\.(?= [A-Z])"), lambda found: "saint"),
    (re.compile(r"\bSt\."), lambda found: "street"),
    (re.compile(rf"(?<![\w.])(?:{_SHORT})(?!\w)"), lambda found: ABBREVIATIONS[found[0]]),
    (
        re.compile(r"\b(War|Chapter|Part|Volume|Act|Phase|Type|Book|Title) (II|III|IV|VI|VII|VIII|IX|XI|XII)\b"),
        lambda found: f"{found[1]} {cardinal(str(ROMAN[found[2]]))}",
    ),
    (re.compile(r"\b(?:[A-Z]\.){2,}|(?<![A-Z] )\b[A-Z]{2,5}\b(?! [A-Z]{2})"), _acronym),
    (re.compile(r"(?<![\w.,])[-−](?=\d)"), lambda found: "minus "),
    (re.compile(rf"(?<![\w.])(?:{NUMBER})(?![\w])"), lambda found: _plain(found[0])),
    (re.compile("[&+=×½¼]"), lambda found: SYMBOLS[found[0]]),
]


def _plain(number: str) -> str:
    """A bare number: four digits from 1100 to 2099 without a comma are a year."""
    return year(number) if re.fullmatch(r"1[1-9]\d\d|20\d\d", number) else cardinal(number)
