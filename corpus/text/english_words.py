"""Words of English that are read otherwise than they are written: abbreviations, Roman numbers, acronyms, signs.

`ENGLISH_WORDS` are the last rows of `corpus.text.spoken_english`, and `RANGES_OF_NAMES` stand above its dates; none of
them needs a figure in the text.
"""

from __future__ import annotations

import re

from .abbreviations import (
    ABBREVIATIONS,
    ACRONYMS,
    AMBIGUOUS,
    COMMON_WORDS,
    IN_CAPITALS,
    SAID_AS_WORDS,
    STARTERS,
)
from .english_numbers import cardinal, ordinal
from .english_readings import MONTHS, RATES, read_rate, read_symbol
from .semantic_classes import SemanticClass, alternatives, row

KINGS = (
    "Henry|Louis|Elizabeth|George|Edward|Charles|William|James|Richard|John Paul|Napoleon|Philip|Peter|Catherine|"
    "Alexander|Nicholas|Frederick|Wilhelm|Pius|Benedict|Francis|Leo|Gregory|Innocent|Ramesses|Ptolemy|Gustav|Carl|Ivan"
)
SINGLE_PARTS = "Chapter|Volume|Act|Phase|Scene|Article|Mark|Episode|Part|Type"
PARTS = f"{SINGLE_PARTS}|War|Book|Title|Section|Bowl|Class|Level|Stage|Season|Grade|Figure|Table|Appendix|Category"
ROMAN = r"(?=[IVXL]{2})(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})"  # two letters or more, up to 89
TITLES = ("DR.", "MR.", "MRS.", "MS.", "PROF.", "JR.", "SR.")  # also among words in small letters
DAYS = {day[:length]: day for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
        for length in (3, 4, 5, len(day))}  # fmt: skip
_MONTHS = {month[:length]: month for month in MONTHS for length in (3, len(month))}
CLITIC = re.compile(r"['’](?:T|LL|RE|VE|D|M)\b")


def roman_number(letters: str) -> int:
    """ "XLIX" -> 49."""
    values = [{"I": 1, "V": 5, "X": 10, "L": 50}[letter] for letter in letters]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))


def _regnal_number(found: re.Match[str]) -> str:
    """ "Henry VIII" -> "Henry the eighth"."""
    return f"{found[1]} the {ordinal(roman_number(found[2]))}"


def _number_behind_a_name(found: re.Match[str]) -> str | None:
    """ "Rocky II" -> "Rocky two"; None behind a word that begins a sentence."""
    return None if found[1].lower() in STARTERS else f"{found[1]} {cardinal(str(roman_number(found[2])))}"


def _days(found: re.Match[str]) -> str:
    """ "Mon.-Fri." -> "Monday to Friday"."""
    return f"{DAYS[found[1]]} to {DAYS[found[2]]}"


def read_capitals(found: re.Match[str]) -> str:
    """An acronym is spelt; capitals for stress are words, as long ones with a vowel are."""
    letters, after = found[0], found.string[found.end() : found.end() + 3]
    is_common = letters.lower() in COMMON_WORDS
    is_contracted = CLITIC.match(after) is not None or (is_common and re.match(r"['’]S\b", after) is not None)
    is_said = is_contracted or (letters == "AM" and re.match(r" I\b", after) is not None)
    is_long = len(letters) > 3 and re.search("[AEIOU]", letters) is not None and letters not in ACRONYMS
    if letters in SAID_AS_WORDS or is_said or (is_common and letters not in AMBIGUOUS) or is_long:
        return letters
    return " ".join(letters)


RANGES_OF_NAMES: tuple[SemanticClass, ...] = (
    row("MTWFS", "days", rf"\b({alternatives(DAYS)})\.?\s?[-–]\s?({alternatives(DAYS)})\b\.?", _days, False),
    row(
        "-–",
        "months",
        rf"\b({alternatives(_MONTHS)})\.?[-–]({alternatives(_MONTHS)})\b\.?(?! [0-9]{{1,2}}\b)",
        lambda found: f"{_MONTHS[found[1]]} to {_MONTHS[found[2]]}",
        False,
    ),
    row("-–", "all letters", r"\bA[-–]Z\b", lambda found: "A to Z", False),
)
ENGLISH_WORDS: tuple[SemanticClass, ...] = (
    row(
        ".",
        "saint",
        r"\bSt\.(?= [A-Z])(?! (?:The|A|An|It|He|She|They|We|But|And|In|On|At|I)\b)",
        lambda found: "saint",
        False,
    ),
    row(".", "street", r"\bSt\.", lambda found: "street", False),
    row(".", "half of the day", r"(?<![\w.])([ap])\.m\.", lambda found: f"{found[1]} m", False),
    row(
        ".",
        "abbreviation",
        rf"(?<![\w.])(?:{alternatives([*ABBREVIATIONS, *TITLES])})(?!\w)",
        lambda found: ABBREVIATIONS[IN_CAPITALS.get(found[0], found[0])],
        False,
    ),
    row("IVX", "regnal number", rf"\b({KINGS}) ({ROMAN}|V|X)\b", _regnal_number, False),
    row("IVXL", "number of a part", rf"\b({PARTS}) ({ROMAN})\b", _number_behind_a_name, False),
    row(
        "IVX",
        "single letter of a part",
        rf"\b(World War|{SINGLE_PARTS}) ([IVX])\b(?=[,;:!?)]|\.?$|\.? (?:of|and|to|was|is|in) )",
        _number_behind_a_name,
        False,
    ),
    row("VX", "Roman letter", rf"\b({SINGLE_PARTS}) ([VX])\b(?!\.)", _number_behind_a_name, False),
    row(
        "IVX",
        "number of a title",
        rf"\b([A-Z][\w’']*[a-z0-9]) ((?=[IVX]{{2}})(?!VI\b|XI\b){ROMAN})\b",
        _number_behind_a_name,
        False,
    ),
    row(
        "IVX",
        "Roman century",
        rf"\b({ROMAN}|V|X)(?:th)? century",
        lambda found: f"{ordinal(roman_number(found[1]))} century",
        False,
    ),
    row("W", "world war", r"\bWW(II?)\b", lambda found: f"World War {cardinal(str(len(found[1])))}", False),
    row(".", "initials", r"(?<![\w.])(?:[A-Z]\.){2,}", lambda found: " ".join(found[0].replace(".", "")), False),
    row(".", "initial", r"(?<![\w.])[A-Z]\.(?=\s(?:[A-Z]\.\s)*[A-Z][a-z])", lambda found: found[0][0], False),
    row(
        "s",
        "acronyms",
        r"\b([A-Z]{2,4})s\b",
        lambda found: " ".join(found[1]) + "'s" if found[1].lower() not in COMMON_WORDS else None,
        False,
    ),
    row("", "capitals", r"(?<![A-Za-z]['’])\b[A-Z]{2,5}\b", read_capitals, False),
    row("#", "hashtag", r"(?<!\w)#(?=[A-Za-z])", lambda found: "hashtag ", False),
    row(
        "/",
        "rate",
        rf"(?<=[0-9A-Za-z])/(second|minute|hour|day|week|month|year|night|person|user|page)\b|(?<=[0-9])/(?P<short>{alternatives(RATES)})\b",
        read_rate,
        False,
    ),
    row("®™©", "silent mark", "[®™©]", lambda found: "", False),
    row("&+=×÷", "symbol", "[&+=×÷]", read_symbol, False),
    row("@", "at", r"(?<=\s)@(?=\s)", lambda found: "at", False),
)
