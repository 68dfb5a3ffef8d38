"""Abbreviations, acronyms and common words of English: where a full stop ends a sentence, which capitals are a word."""

from __future__ import annotations

import re

ABBREVIATIONS = {
    "Dr.": "doctor", "Mr.": "mister", "Mrs.": "missus", "Ms.": "miss", "Prof.": "professor", "Jr.": "junior",
    "Sr.": "senior", "vs.": "versus", "etc.": "et cetera", "e.g.": "for example", "i.e.": "that is",
    "approx.": "approximately", "Inc.": "incorporated", "Ltd.": "limited", "Co.": "company", "Corp.": "corporation",
    "Gen.": "general", "Gov.": "governor", "Sen.": "senator", "Rep.": "representative", "Lt.": "lieutenant",
    "Capt.": "captain", "Sgt.": "sergeant", "Mt.": "mount", "Ave.": "avenue", "Blvd.": "boulevard", "Fig.": "figure",
    "Vol.": "volume", "pp.": "pages", "Dept.": "department", "Univ.": "university", "est.": "established",
    "Col.": "colonel", "Maj.": "major", "Rev.": "reverend", "Figs.": "figures", "Ft.": "fort", "Messrs.": "messieurs",
    "Cmdr.": "commander", "cf.": "compare", "Ph.D.": "P H D", "al.": "al", "Mon.": "Monday", "Tue.": "Tuesday",
    "Tues.": "Tuesday", "Wed.": "Wednesday", "Thu.": "Thursday", "Thurs.": "Thursday", "Fri.": "Friday",
}  # fmt: skip
BEFORE_A_NAME = {
    "Dr.", "Mr.", "Mrs.", "Ms.", "Prof.", "Gen.", "Gov.", "Sen.", "Rep.", "Lt.", "Capt.", "Sgt.", "Mt.", "Col.", "Maj.",
    "Rev.", "Ft.", "Messrs.", "Cmdr.", "vs.", "e.g.", "i.e.", "approx.", "cf.",
}  # fmt: skip
BEFORE_A_NUMBER = {
    "No.", "Nos.", "no.", "nos.", "Fig.", "fig.", "Figs.", "Vol.", "vol.", "p.", "pp.", "Ch.", "ch.", "Sec.", "sec.",
    "Eq.", "Art.", "Jan.", "Feb.", "Mar.", "Apr.", "Jun.", "Jul.", "Aug.", "Sep.", "Sept.", "Oct.", "Nov.", "Dec.",
}  # fmt: skip
IN_CAPITALS = {name.upper(): name for name in [*ABBREVIATIONS, "St.", "p.", "vol.", "No.", "Nos.", "a.m.", "p.m."]}
_STARTERS = (
    "the a an this that these those he she it they we you i his her its their our your my there here who what "
    "when where why how which and but or so yet if then as at by for from in into of on to with after before "
    "because although though while since until once unless however also perhaps maybe is are was were do does did "
    "not yes some many most all both each every everyone nobody nothing now today tomorrow yesterday another one "
    "two"
)
STARTERS = frozenset(_STARTERS.split())
# Words of two and three letters, and longer ones without a vowel; other capitals of more than three are words anyway.
_COMMON_WORDS = (
    "am be been being had has have can may must shall will would should could him them us me any no nor out up "
    "off over under own too very than such only just never ever always really please stop wait go get got let put "
    "see saw say said new old big bad good day way man men boy girl use used try cry dry fly sky shy why pay buy "
    "ask act add age ago air arm art bag bar bed bet bit box bus car cat cup cut dad dog ear eat egg end eye far "
    "few fit fix fun god gun guy hat hey hit hot ice ill job joy key kid law lay led leg lie lot low mad map mom "
    "mix mum net nut odd oil pan pen pet pie pig pin pop pot raw red rid row run sad sea set sex sin sir sit six "
    "son sun tax tea ten tie tip toe top toy war wet win won worn yes yet zoo ah oh hi ha ok none wow yay eh um "
    "ooh huh nah five four lots less more much stay keep need want know like love hate help look make take give "
    "tell call free sale back down left right well even still again away best first last next long high hmm shh "
    "psst myth spy sly wry pry ply gym rhythm nope yeah hell damn live life time year home work"
)
COMMON_WORDS = STARTERS | frozenset(_COMMON_WORDS.split())
AMBIGUOUS = {"US", "IT", "WHO", "AM", "PM"}
_ACRONYMS = (
    "IEEE ISBN HDMI UEFA USSR UCLA USDA USAF OECD ESPN IMDB NAACP AI API BMI CEO CFO CIA CIO CPU CTO DIY DNA EPA EU "
    "FAQ FBI FDA GDP GPA GPU HIV IBM IMF IOC IPO IQ IRS YMCA LAPD MBA MIT MRI NBA NYPD NYU PDA RNA SUV UAE UFC UFO UK "
    "UN UPS URL USA USB USD EUR GBP CNY RMB CHF JPY VIP WTO"
)
ACRONYMS = frozenset(_ACRONYMS.split())  # of those with a vowel, which are spelt also among capitals
SAID_AS_WORDS = {
    "NASA", "NATO", "AIDS", "UNESCO", "UNICEF", "OPEC", "RAM", "ROM", "LASER", "RADAR", "SCUBA", "COVID", "FIFA", "OK",
}  # fmt: skip
WORD_BEFORE = re.compile(r"(?<![^\W\d_])(?:[^\W\d_]{1,6}\.)+$|(?:^|\n)[ \t]*[0-9]{1,2}\.$")
NEXT_WORD = re.compile(r"\s*([\"'(“‘]*)([^\W_][\w']*)?")
INITIALS = re.compile(r"(?:[A-Z]\.)+$")


def ends_sentence(text: str, end: int) -> bool:
    """Whether the full stop before position ``end`` ends a sentence, and not only an abbreviation or an initial.

    Titles ("Dr.") never end one, "No." and months never before a number, other abbreviations and initials only where
    one of `STARTERS` follows with a capital ("at 5 p.m. The cat"), or nothing.
    """
    found = WORD_BEFORE.search(text, max(0, end - 14), end)
    next_word = NEXT_WORD.match(text, end)
    follows = (next_word and next_word[2]) or ""
    word = found[0].strip() if found else ""
    word = IN_CAPITALS.get(word, word)
    if word in BEFORE_A_NAME and text[end : end + 3].strip():
        return False
    if not word or not next_word or not follows:
        return True
    if word[0].isdigit():
        return False  # the number of a list's entry
    if word in BEFORE_A_NUMBER and (follows[0].isdigit() or (word not in ("No.", "no.") and follows[0].islower())):
        return False
    if word in BEFORE_A_NUMBER and word not in ABBREVIATIONS:
        return True
    is_abbreviation = word in ABBREVIATIONS or word == "St." or INITIALS.match(word) or re.match(r"[ap]\.m\.$", word)
    if not is_abbreviation:
        return True
    if word == "I." and not re.match(r"\s*[A-Z]\.", text[end : end + 4]):
        return True
    is_initial = len(follows) == 1 and follows != "I" and text[next_word.end() : next_word.end() + 1] == "."
    return follows[0].isupper() and follows.lower() in STARTERS and not is_initial
