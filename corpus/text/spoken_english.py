"""English as it is read aloud: numbers, dates, times, money, units, abbreviations and acronyms in words.

`ENGLISH` is the table of classes (`corpus.text.semantic_classes`): which reading of a number is meant (year, ordinal,
digits, amount, version ...) follows from what stands around it. The readers are in `corpus.text.english_readings`.
"""

from __future__ import annotations

import re

from .abbreviations import ABBREVIATIONS, COMMON_WORDS
from .english_numbers import NUMBER, cardinal, decade, fraction, ordinal, plain, power, signed, year
from .english_readings import (
    CURRENCIES,
    GLYPHS,
    MONTHS,
    REFERENCES,
    ROMAN,
    SCALES,
    UNITS,
    alternatives,
    clock,
    month_number,
    plural,
    read_address,
    read_capitals,
    read_chess,
    read_coordinates,
    read_day_of_month,
    read_digit_groups,
    read_dimensions,
    read_domain,
    read_duration,
    read_equation,
    read_european_date,
    read_letters_and_number,
    read_list,
    read_mixed_fraction,
    read_money,
    read_month_day,
    read_numeric_date,
    read_plural_acronym,
    read_regnal,
    read_scaled,
    read_symbol,
    read_time,
    read_unit,
    read_version,
)
from .semantic_classes import Reading, SemanticClass

LEFT = r"(?<![0-9A-Za-z_])(?<![0-9][.,:/])"  # no part of a longer number or name
RIGHT = r"(?![0-9A-Za-z_])(?![.,:/][0-9])"
# A sign belongs to a number where nothing stands before it that the number could be taken from or that it could join.
SIGNED = rf"(?:(?<![\w.,)\]%°’'])(?:[<>]=|[-−–+±~≈≤≥<>])\s?(?=[0-9.])|{LEFT}){NUMBER}"
DASH = r"\s?[-–—~−]\s?"
MONTH = "|".join([*MONTHS, *(rf"{month[:3]}\b\.?" for month in MONTHS), r"Sept\b\.?"])
HALF = r"(?:[ap]\.m\.|[ap]\.?m\b|[AP]M\b|[AP]\.M\.)"
CLOCK = r"[0-9]{1,2}"
SCALE = rf"(?:\s?(?:{alternatives(SCALES)})(?![A-Za-z0-9])|[\s-](?:thousand|million|billion|trillion)\b)"
SIGN = alternatives({name: "" for name in CURRENCIES if not name.isalpha()})
CODE = alternatives({name: "" for name in CURRENCIES if name.isalpha()})
UNIT = alternatives(UNITS)
KINGS = (
    "Henry|Louis|Elizabeth|George|Edward|Charles|William|James|Richard|John Paul|Napoleon|Philip|Peter|Catherine|"
    "Alexander|Nicholas|Frederick|Wilhelm|Pius|Benedict|Francis|Leo|Gregory|Innocent|Ramesses|Ptolemy|Gustav|Carl|Ivan"
)
PARTS = "War|Chapter|Part|Volume|Act|Phase|Type|Book|Title|Scene|Section|Article|Bowl|Class|Level|Stage|Mark"
PARTS_AND_SINGLE = "Chapter|Volume|Act|Phase|Scene|Article|Mark"


def _row(needs: str, name: str, pattern: str, read: Reading, needs_digit: bool = True) -> SemanticClass:
    return SemanticClass(name, re.compile(pattern), read, needs_digit, needs)


ENGLISH: tuple[SemanticClass, ...] = (
    _row(
        "@",
        "e-mail",
        r"(?<![\w.+-])[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,6}",
        read_domain,
        False,
    ),
    _row(
        ".",
        "domain",
        r"(?<![\w.@/-])(?:[A-Za-z0-9-]{1,63}\.){1,4}(?:com|org|net|edu|gov|io)\b(?![\w/-])",
        read_domain,
        False,
    ),
    _row(
        "-/",
        "date and time",
        rf"{LEFT}(?P<year>[0-9]{{4}})([-/])(?P<month>[0-9]{{1,2}})\2(?P<day>[0-9]{{1,2}})"
        rf"(?:[T ](?P<hour>[0-2][0-9]):(?P<minute>[0-5][0-9])(?::[0-5][0-9](?:\.[0-9]+)?)?Z?)?{RIGHT}(?!-[0-9])",
        read_numeric_date,
    ),
    _row(
        "/",
        "US date",
        rf"{LEFT}(?P<month>[0-9]{{1,2}})/(?P<day>[0-9]{{1,2}})/(?P<year>[0-9]{{4}}){RIGHT}",
        read_numeric_date,
    ),
    _row(
        "./",
        "European date",
        rf"{LEFT}(?P<day>[0-9]{{1,2}})([./])(?P<month>[0-9]{{1,2}})\2(?P<year>(?:1[5-9]|20)[0-9]{{2}}){RIGHT}",
        read_european_date,
    ),
    _row(
        "JFMASOND",
        "month and day",
        rf"\b(?P<month>{MONTH}) (?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?"
        rf"(?:[-–](?P<last>[0-9]{{1,2}})(?:st|nd|rd|th)?)?(?:,? (?P<year>[0-9]{{4}})(?![0-9]))?"
        r"(?![0-9:A-Za-z%])(?!\.[0-9])",
        read_month_day,
    ),
    _row(
        "JFMASOND",
        "day and month",
        rf"(?P<the>\b[Tt]he )?{LEFT}(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?"
        r"(?:[-–](?P<last>[0-9]{1,2})(?:st|nd|rd|th)?)? (?:of )?"
        rf"(?P<month>{MONTH})(?![A-Za-z])(?:,? (?P<year>[0-9]{{4}})\b)?",
        read_day_of_month,
    ),
    _row("JFMASOND", "month", rf"\b({MONTH}) (?=[0-9]{{4}}\b)", lambda found: f"{MONTHS[month_number(found[1]) - 1]} "),
    _row(":", "time to the second", rf"{LEFT}({CLOCK}):([0-5][0-9]):([0-5][0-9]){RIGHT}", read_duration),
    _row(
        "apAP",
        "times",
        rf"{LEFT}(?P<hour>{CLOCK})(?::(?P<minute>[0-5][0-9]))?\s?(?P<half>{HALF})?{DASH}"
        rf"(?P<to_hour>{CLOCK})(?::(?P<to_minute>[0-5][0-9]))?\s?(?P<to_half>{HALF})",
        read_time,
    ),
    _row(
        ":",
        "times of the day",
        rf"{LEFT}(?P<hour>{CLOCK}):(?P<minute>[0-5][0-9])(?P<half>){DASH}"
        rf"(?P<to_hour>{CLOCK}):(?P<to_minute>[0-5][0-9])(?P<to_half>){RIGHT}",
        read_time,
    ),
    _row(":", "time", rf"{LEFT}(?P<hour>{CLOCK}):(?P<minute>[0-5][0-9])(?:\s?(?P<half>{HALF}))?(?!:?[0-9])", read_time),
    _row(
        "apAP",
        "hour",
        rf"{LEFT}(?P<hour>{CLOCK})(?P<minute>)\s?(?P<half>{HALF})",
        lambda found: clock(found[1], None, found["half"]),
    ),
    _row(
        ":",
        "ratio",
        rf"{LEFT}({NUMBER}):({NUMBER}){RIGHT}",
        lambda found: f"{cardinal(found[1])} to {cardinal(found[2])}",
    ),
    _row(
        ".",
        "network address",
        rf"{LEFT}(?P<parts>[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}})(?::(?P<port>[0-9]{{1,5}}))?(?:/(?P<mask>[0-9]{{1,2}}))?{RIGHT}",
        read_address,
    ),
    _row(
        ".",
        "number with points",
        rf"{LEFT}[1-9][0-9]{{0,2}}(?:\.[0-9]{{3}}){{2,}}{RIGHT}",
        lambda found: cardinal(found[0].replace(".", "")),
    ),
    _row(".", "version", rf"{LEFT}(?P<v>[vV]\.?\s?)?(?P<parts>[0-9]+(?:\.[0-9]+){{2,}}){RIGHT}", read_version),
    _row("vV", "named version", rf"{LEFT}(?P<v>[vV])(?P<parts>[0-9]+(?:\.[0-9]+)*){RIGHT}", read_version),
    _row(
        "+",
        "international telephone",
        r"(?<![\w+])(?P<plus>\+)(?P<digits>[0-9]{1,3}(?:[ .-]?\(?[0-9]{1,4}\)?){2,5})(?![0-9])(?!\.[0-9])",
        lambda found: read_digit_groups(found) if len(re.sub("[^0-9]", "", found["digits"])) > 7 else None,
    ),
    _row(
        ".-",
        "telephone",
        rf"(?:(?<![\w(])\(|{LEFT}(?<![-]))(?P<digits>[0-9]{{3}}\)?[ .-][0-9]{{3}}[.-][0-9]{{4}}){RIGHT}(?!-[0-9])",
        read_digit_groups,
    ),
    _row(
        "-CcDdPpTt",
        "telephone of a cue",
        rf"\b(?P<cue>(?:[Cc]all|[Dd]ial|[Pp]hone:?|[Tt]el\.?:?) )"
        rf"(?P<digits>[0-9]{{3}}-[0-9]{{4}}|[0-9]{{3}}){RIGHT}(?!-)"
        rf"|{LEFT}(?<!-)(?P<own>555-[0-9]{{4}}){RIGHT}(?!-)",
        read_digit_groups,
    ),
    _row("-", "groups of digits", rf"{LEFT}(?<!-)(?P<digits>[0-9]+(?:-[0-9]+){{2,}}){RIGHT}(?!-)", read_digit_groups),
    _row(
        "$£€¥₹₩",
        "money",
        rf"(?<![\w$])(?P<minus>[-−–+~≈<>±]\s?(?=\S))?(?P<sign>{SIGN})\s?(?P<number>[-−]?{NUMBER})(?P<scale>{SCALE})?"
        rf"(?:{DASH}(?:{SIGN})?(?P<upper>{NUMBER})(?P<upper_scale>{SCALE})?)?(?![0-9A-Za-z%])(?!\.[0-9])",
        read_money,
    ),
    _row(
        "€£UEGJCR",
        "money, sign behind",
        rf"{LEFT}(?P<number>{NUMBER})(?P<scale>{SCALE})?(?:{DASH}(?P<upper>{NUMBER})(?P<upper_scale>{SCALE})?)?\s?(?P<behind>[€£]|(?:{CODE})\b)",
        read_money,
    ),
    _row(
        "UEGJCR",
        "money, code before",
        rf"\b(?P<behind>{CODE})\s?(?P<number>{NUMBER})(?P<scale>{SCALE})?(?:{DASH}(?P<upper>{NUMBER})(?P<upper_scale>{SCALE})?)?{RIGHT}",
        read_money,
    ),
    _row("¢", "cents", rf"{LEFT}({NUMBER})\s?¢", lambda found: f"{cardinal(found[1])} {plural('cent', found[1])}"),
    _row(
        "×x*·eE",
        "scientific",
        rf"(?P<number>{SIGNED})(?:\s?[×x*·]\s?10(?:\^(?P<caret>[-−]?[0-9]+)|(?P<raised>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))|[eE](?P<e>[-−+]?[0-9]+)){RIGHT}",
        lambda found: (
            f"{signed(found['number'])} times ten "
            + power((found["caret"] or found["raised"] or found["e"]).removeprefix("+"))
        ),
    ),
    _row(
        "^⁻⁰¹²³⁴⁵⁶⁷⁸⁹",
        "power",
        rf"{LEFT}({NUMBER})(?:\^([-−]?[0-9]+)|([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)){RIGHT}",
        lambda found: f"{cardinal(found[1])} {power(found[2] or found[3])}",
    ),
    _row(
        "=", "equation", rf"(?<![\w.,=]){NUMBER}(?:\s?[×*÷/+−x-]\s?{NUMBER})+\s?=\s?[-−]?{NUMBER}{RIGHT}", read_equation
    ),
    _row(
        "abcdefgh",
        "chess",
        r"(?<![\w-])(?:[KQRBN][a-h]?[1-8]?x?[a-h][1-8]|[a-h]x[a-h][1-8](?:=[QRBN])?|[a-h][18]=[QRBN]|[a-h][2-7])[+#]?(?![\w+#=-])",
        read_chess,
    ),
    _row("O", "castling", r"(?<![\w-])O-O(?:-O)?(?![\w-])[+#]?", read_chess, False),
    _row(
        "°",
        "coordinates",
        rf"{LEFT}(?P<degrees>{NUMBER})\s?°\s?(?:(?P<minutes>[0-9]{{1,2}})[′']\s?)?(?P<side>[NSEW])\b",
        read_coordinates,
    ),
    _row(
        "'′’",
        "feet and inches",
        rf"{LEFT}([0-9])['′’]\s?([0-9]{{1,2}})(?:[\"″”]|'')",
        lambda found: f"{cardinal(found[1])} foot {cardinal(found[2])}",
    ),
    _row(
        "x×",
        "dimensions",
        rf"{LEFT}(?P<sizes>{NUMBER}(?:(?:\s?x\s?|×){NUMBER})+|{NUMBER}(?:\s?×\s?{NUMBER})+(?=\s?(?:{UNIT})(?![A-Za-z0-9/])))"
        rf"(?:\s?(?P<unit>{UNIT})(?![A-Za-z0-9/]))?(?![0-9A-Za-z])",
        read_dimensions,
    ),
    _row(
        "s",
        "decade",
        rf"(?:(?<![\w])['’](?=[0-9]0s)|{LEFT})(1[1-9][0-9]0|20[0-9]0|[2-9]0)['’]?s\b",
        lambda found: decade(found[1]),
    ),
    _row("s", "decade of hundreds", rf"{LEFT}(1[1-9]00)['’]?s\b", lambda found: decade(found[1])),
    _row(
        "-–/",
        "years",
        rf"{LEFT}(?P<from>1[1-9][0-9]{{2}}|20[0-9]{{2}})[-–/](?P<to>1[1-9][0-9]{{2}}|20[0-9]{{2}}|[0-9]{{2}}){RIGHT}(?!\s?(?:{UNIT})(?![A-Za-z]))(?!-)",
        lambda found: (
            f"{year(found['from'])} to "
            + (plain(found["to"]) if found["to"][0] != "0" else f"oh {cardinal(found['to'][1])}")
        ),
    ),
    _row(
        "thd",
        "ordinal",
        rf"{LEFT}([0-9]+|[0-9]{{1,3}}(?:,[0-9]{{3}})+)(?:st|nd|rd|th)\b",
        lambda found: ordinal(found[1].replace(",", "")),
    ),
    _row(
        "/½¼¾⅓⅔⅛⅜⅝",
        "mixed fraction",
        rf"{LEFT}([0-9]{{1,3}})(?:[ -]([1-9])/([1-9][0-9]?)|\s?([{''.join(GLYPHS)}])){RIGHT}",
        read_mixed_fraction,
    ),
    _row(
        "/",
        "fraction",
        rf"{LEFT}([0-9]{{1,3}})/([1-9][0-9]{{0,2}}){RIGHT}(?!/)",
        lambda found: fraction(int(found[1]), int(found[2])),
    ),
    _row(
        "½¼¾⅓⅔⅛⅜⅝",
        "fraction of one character",
        f"[{''.join(GLYPHS)}]",
        lambda found: f" {fraction(*GLYPHS[found[0]])} ",
        False,
    ),
    _row("DG", "generation", rf"{LEFT}([1-9])([DG]){RIGHT}", lambda found: f"{cardinal(found[1])} {found[2]}"),
    _row(
        "K",
        "resolution",
        rf"{LEFT}([248])K\s?(?=(?:TV|[Vv]ideo|[Ss]creen|[Mm]onitor|resolution|display))",
        lambda found: f"{cardinal(found[1])} K ",
    ),
    _row(
        "-–—~−",
        "percentages",
        rf"(?P<number>{SIGNED})(?P<own_unit>%|°C|°F|°|{UNIT})?{DASH}(?P<upper>[-−+]?{NUMBER})[ -]?"
        rf"(?P<unit>{UNIT})(?![A-Za-z0-9/²³])",
        read_unit,
    ),
    _row(
        "",
        "quantity",
        rf"(?P<number>{SIGNED})[ -]?(?P<unit>{UNIT})(?P<upper>)(?![A-Za-z0-9/²³])",
        read_unit,
    ),
    _row("kKMBbm", "magnitude", rf"(?P<number>{SIGNED})(?P<scale>[kKMB]|bn|mn)\b(?![.-]?[0-9])", read_scaled),
    _row(
        ".№#§",
        "reference",
        r"(?:(?<![\w.])(?:No\.|Nos\.|no\.|nos\.|p\.|pp\.|Figs?\.|fig\.|[Vv]ol\.|[Cc]h\.|[Ss]ec\.|Eq\.|Art\.)|№|#|§§?)\s?(?=[0-9])",
        lambda found: f"{REFERENCES[found[0].strip()]} ",
    ),
    _row(
        "-–—~−",
        "range",
        rf"(?<![\w-])(?P<number>{SIGNED}){DASH}(?P<upper>[-−+]?{NUMBER}){RIGHT}(?!-[0-9])",
        lambda found: f"{plain(found['number'])} to {plain(found['upper'])}",
    ),
    _row("", "chemical or model", rf"(?<![\w.-])([A-Z]{{1,3}})([1-9][0-9]?)([A-Z])?{RIGHT}", read_letters_and_number),
    _row(",", "list of numbers", rf"{LEFT}[0-9]+(?:,[0-9]+)+{RIGHT}", read_list),
    _row("", "number", rf"{SIGNED}{RIGHT}", lambda found: plain(found[0])),
    _row(
        ".",
        "saint",
        r"\bSt\.(?= [A-Z])(?! (?:The|A|An|It|He|She|They|We|But|And|In|On|At|I)\b)",
        lambda found: "saint",
        False,
    ),
    _row(".", "street", r"\bSt\.", lambda found: "street", False),
    _row(".", "half of the day", r"(?<![\w.])([ap])\.m\.", lambda found: f"{found[1]} m", False),
    _row(
        ".",
        "abbreviation",
        rf"(?<![\w.])(?:{alternatives(ABBREVIATIONS)})(?!\w)",
        lambda found: ABBREVIATIONS[found[0]],
        False,
    ),
    _row(
        "IVX",
        "regnal number",
        rf"\b({KINGS}) (II|III|IV|V|VI|VII|VIII|IX|X|XI|XII|XIII|XIV|XV|XVI|XXIII)\b",
        read_regnal,
        False,
    ),
    _row(
        "IVX",
        "Roman number",
        rf"\b({PARTS}) (II|III|IV|VI|VII|VIII|IX|XI|XII|XIII|XIV|XV)\b",
        lambda found: f"{found[1]} {cardinal(str(ROMAN[found[2]]))}",
        False,
    ),
    _row(
        "VX",
        "Roman letter",
        rf"\b({PARTS_AND_SINGLE}) (V|X)\b(?!\.)",
        lambda found: f"{found[1]} {cardinal(str(ROMAN[found[2]]))}",
        False,
    ),
    _row(
        "XV",
        "Roman century",
        r"\b(XV|XVI|XVII|XVIII|XIX|XX|XXI|XIV|XIII|XII)(?:th)? century",
        lambda found: f"{ordinal(ROMAN[found[1]])} century",
        False,
    ),
    _row(".", "initials", r"(?<![\w.])(?:[A-Z]\.){2,}", lambda found: " ".join(found[0].replace(".", "")), False),
    _row(".", "initial", r"(?<![\w.])[A-Z]\.(?=\s(?:[A-Z]\.\s)*[A-Z][a-z])", lambda found: found[0][0], False),
    _row(
        "s",
        "acronyms",
        r"\b([A-Z]{2,4})s\b",
        lambda found: read_plural_acronym(found) if found[1].lower() not in COMMON_WORDS else None,
        False,
    ),
    _row("", "capitals", r"\b[A-Z]{2,5}\b", read_capitals, False),
    _row("#", "hashtag", r"(?<!\w)#(?=[A-Za-z])", lambda found: "hashtag ", False),
    _row(
        "/",
        "rate",
        r"(?<=[0-9A-Za-z])/(?=(?:second|minute|hour|day|week|month|year|night|person|user|page|kg|lb|h)\b)",
        lambda found: " per ",
        False,
    ),
    _row("®™©", "silent mark", "[®™©]", lambda found: "", False),
    _row("&+=×÷", "symbol", "[&+=×÷]", read_symbol, False),
    _row("@", "at", r"(?<=\s)@(?=\s)", lambda found: "at", False),
)
