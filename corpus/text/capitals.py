"""Sentences of English in capitals throughout, in the case of print, which the classes of English are written for.

    in_print("DR. LEE RAN 5 KM FOR THE BBC").text     # "Dr. Lee Ran 5 km For The BBC"

A sentence is in capitals throughout when it has two words of Latin letters at least and no small letter, and one of the
words is no unit, number or acronym: "10 °C", "20 MB RAM" and "IBM PC" are written as they are in print.
"""

from __future__ import annotations

import re

import regex

from .abbreviations import ACRONYMS, AMBIGUOUS, COMMON_WORDS, IN_CAPITALS, SAID_AS_WORDS
from .english_readings import MONTHS, SCALES, UNITS
from .english_words import KINGS, PARTS, ROMAN
from .semantic_classes import PrintedText, Range, alternatives

SMALL = {"THOUSAND", "MILLION", "BILLION", "TRILLION", "OF", "CENTURY"}  # the classes know these in small letters
WITHOUT_VOWELS = {*(name.rstrip(".") for name in IN_CAPITALS), "RD", "TH", "ND", "PT", "PFFT", "BRR"}
# A figure's capitals that are a magnitude or generation where nothing parts them ("5M users", "5G"), and a unit else.
CLINGING = {name for name in SCALES if name.isupper()} | {"D", "G"}
BEHIND_FIGURES = {unit.upper(): unit for unit in reversed([*UNITS, "bn", "mn", "tn", "trn"])} | {"X": "x"}
BEHIND_FIGURES |= {unit: unit for unit in [*UNITS, "AM", "PM"] if unit.isupper()}
ORDINALS = {"ST", "ND", "RD", "TH", "S"}
ROMAN_NUMBER = rf"(?:{ROMAN}|[IVX])"

CASED = regex.compile(
    rf"(?<=[0-9])(?P<gap>[ -]?)(?P<unit>{alternatives({*BEHIND_FIGURES, *CLINGING, *ORDINALS})})"
    r"(?![\p{L}/²³])(?!(?<!X)[0-9])"
    r"|(?P<kept>\p{Lu}{1,3}(?=[0-9$])|(?<=[°′]\s?)[CFNSEW]\b)"
    rf"|(?<![\p{{L}}.])(?P<pointed>{alternatives(IN_CAPITALS)})(?!\p{{L}})"
    rf"|\b(?P<named>{f'{KINGS}|{PARTS}'.upper()}) (?P<roman>{ROMAN_NUMBER})\b"
    rf"|\b(?P<century>{ROMAN_NUMBER})(?=(?:TH)? CENTURY\b)"
    r"|(?P<clitic>(?<=\p{L}['’])\p{Lu}+|(?<=/)\p{Lu}+\b|(?<=[\p{L}-]\.)\p{Lu}{2,})"
    rf"|(?<=\p{{L}} )(?P<title>(?!VI\b|XI\b){ROMAN})\b"
    r"|(?P<word>\p{Lu}{2,})"
)
SENTENCE_END = regex.compile(r"[.!?;:…]+[\"'”’)\]]*(?=\s|$)|\n")
NO_END = regex.compile(
    rf"(?<!\p{{L}})(?:\p{{Lu}}|{'|'.join(month[:3].upper() for month in MONTHS)}|{alternatives(IN_CAPITALS)})\.?$"
)
WORD = regex.compile(r"\p{L}[\p{L}\p{M}'’&]*")
LATIN_CAPITALS = regex.compile(r"(?:[\p{Latin}&&\p{Lu}]|[\p{M}'’\&])+", regex.V1)
IS_ROMAN = re.compile(ROMAN)
TWO_CAPITALS = re.compile("[A-Z]{2}")
VOWEL = regex.compile(r"[AEIOU]|[^\x00-\x7f]|Y(?=...)|(?<=...)Y")


def in_print(text: str) -> PrintedText:
    """The text with its sentences of capitals as print has them: words with one capital, units of measure small.

    Acronyms that are known or have no vowel keep their capitals, and so do Roman numbers behind "WAR", "HENRY" ...
    """
    if not TWO_CAPITALS.search(text):
        return PrintedText(text)
    capitals = tuple(sentence for sentence in _sentences(text) if _is_in_capitals(text[sentence.start : sentence.end]))
    for start, end in capitals:  # all replacements are as long as what they replace
        text = text[:start] + CASED.sub(_cased, text[start:end]) + text[end:]
    return PrintedText(text, capitals)


def _sentences(text: str) -> list[Range]:
    sentences, at = [], 0
    for found in SENTENCE_END.finditer(text):
        if found[0] == "." and NO_END.search(text, max(at, found.start() - 8), found.end()):
            continue
        sentences.append(Range(at, found.end()))
        at = found.end()
    return [*sentences, Range(at, len(text))]


def _is_in_capitals(sentence: str) -> bool:
    if not TWO_CAPITALS.search(sentence):
        return False
    words = WORD.findall(sentence)
    if len(words) < 2 or not all(LATIN_CAPITALS.fullmatch(word) for word in words):
        return False
    is_unsure = 0
    for word in words:
        if len(word) < 2 or "&" in word or word in ACRONYMS or word in SAID_AS_WORDS or IS_ROMAN.fullmatch(word):
            continue
        if word in AMBIGUOUS:
            is_unsure += 1
        elif word.lower() in COMMON_WORDS or (len(word) > 3 and VOWEL.search(word)):
            return True
    return is_unsure > 1


def _cased(found: regex.Match[str]) -> str:
    if unit := found["unit"]:
        if found["gap"]:
            return found["gap"] + (unit if unit in ORDINALS - {"S"} else BEHIND_FIGURES.get(unit, unit))
        return unit.lower() if unit in ORDINALS else unit if unit in CLINGING else BEHIND_FIGURES[unit]
    if found["kept"] or found["century"] or found["title"]:
        return found[0]
    if found["pointed"]:
        return IN_CAPITALS[found[0]]
    if found["named"]:
        return f"{found['named'].title()} {found['roman']}"
    if found["clitic"] or found[0] in SMALL:
        return small_letters(found[0])
    is_word = VOWEL.search(found[0]) or found[0] in WITHOUT_VOWELS or found[0].lower() in COMMON_WORDS
    if found[0] in ACRONYMS or not is_word:
        return found[0]
    return found[0][0] + small_letters(found[0][1:])


def small_letters(letters: str) -> str:
    """The letters in lower case, place for place: one whose small letter is two characters long stays."""
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in letters)
