"""English as it is read aloud: numbers, dates, times, money, units, abbreviations and acronyms in words.

`ENGLISH` is the table of classes (`corpus.text.semantic_classes`): which reading of a number is meant (year, ordinal,
digits, amount, version ...) follows from what stands around it. The readers are in `corpus.text.english_readings`.
"""

from __future__ import annotations

import re

from .english_numbers import NUMBER, cardinal, decade, fraction, ordinal, plain, power, several, signed, year
from .english_readings import (
    CURRENCIES,
    GLYPHS,
    MONTHS,
    REFERENCES,
    SCALE_WORDS,
    SCALES,
    UNITS,
    clock,
    month_number,
    plural,
    read_address,
    read_chess,
    read_coordinates,
    read_dash,
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
    read_range,
    read_scaled,
    read_time,
    read_tolerance,
    read_unit,
    read_version,
)
from .english_words import ENGLISH_WORDS, RANGES_OF_NAMES
from .semantic_classes import SemanticClass, alternatives, row

LEFT = r"(?<![0-9A-Za-z_])(?<![0-9][.,:/])"  # no part of a longer number or name
RIGHT = r"(?![0-9A-Za-z_])(?![.,:/][0-9])"
# A sign belongs to a number where nothing stands before it that the number could be taken from or that it could join.
SIGNED = rf"(?:(?<![\w.,)\]%°’'])(?:[<>]=|[-−–+±~≈≤≥<>])\s?(?=[0-9.])|{LEFT}){NUMBER}"
DASH = r"\s?[-–—~−]\s?"
MONTH = "|".join([*MONTHS, *(rf"{month[:3]}\b\.?" for month in MONTHS), r"Sept\b\.?"])
HALF = r"(?:[ap]\.m\.|[ap]\.?m\b|[AP]M\b|[AP]\.M\.)"
CLOCK = r"[0-9]{1,2}"
SCALE = rf"(?:\s?(?:{alternatives(SCALES)})(?![A-Za-z0-9])|[\s-](?:{SCALE_WORDS})\b)"
SIGN = alternatives(name for name in CURRENCIES if not name.isalpha())
CODE = alternatives(name for name in CURRENCIES if name.isalpha())
UNIT = alternatives(UNITS)
SOFTWARE = (
    "Python|Java|PHP|Ruby|Perl|Rust|Swift|Kotlin|iOS|iPadOS|macOS|Android|Windows|Ubuntu|Debian|Fedora|Linux|CUDA|PyTorch|"
    "TensorFlow|Firefox|Chrome|Safari|Node|GCC|Qt|Blender|Django|React"
)
ENGLISH: tuple[SemanticClass, ...] = (
    row(
        "@",
        "e-mail",
        r"(?<![\w.+-])[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,6}",
        read_domain,
        False,
    ),
    row(
        ".",
        "domain",
        r"(?<![\w.@/-])(?:[A-Za-z0-9-]{1,63}\.){1,4}(?:com|org|net|edu|gov|io)\b(?![\w/-])",
        read_domain,
        False,
    ),
    row(
        "-/",
        "date and time",
        rf"{LEFT}(?P<year>[0-9]{{4}})([-/])(?P<month>[0-9]{{1,2}})\2(?P<day>[0-9]{{1,2}})"
        rf"(?:[T ](?P<hour>[0-2][0-9]):(?P<minute>[0-5][0-9])(?::[0-5][0-9](?:\.[0-9]+)?)?Z?)?{RIGHT}(?!-[0-9])",
        read_numeric_date,
    ),
    row(
        "-/",
        "US date",
        rf"{LEFT}(?<!-)(?P<month>[0-9]{{1,2}})([-/])(?P<day>[0-9]{{1,2}})\2(?P<year>(?:1[5-9]|20)[0-9]{{2}}){RIGHT}(?!-)",
        read_numeric_date,
    ),
    row(
        "-./",
        "European date",
        rf"{LEFT}(?<!-)(?P<day>[0-9]{{1,2}})([-./])(?P<month>[0-9]{{1,2}})\2(?P<year>(?:1[5-9]|20)[0-9]{{2}}){RIGHT}",
        read_european_date,
    ),
    *RANGES_OF_NAMES,
    row(
        "JFMASOND",
        "month and day",
        rf"\b(?P<month>{MONTH}) (?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?"
        rf"(?:[-–](?P<last>[0-9]{{1,2}})(?:st|nd|rd|th)?)?(?:,? (?P<year>[0-9]{{4}})(?![0-9]))?"
        r"(?![0-9:A-Za-z%])(?!\.[0-9])",
        read_month_day,
    ),
    row(
        "JFMASOND",
        "day and month",
        rf"(?P<the>\b[Tt]he )?{LEFT}(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?"
        r"(?:[-–](?P<last>[0-9]{1,2})(?:st|nd|rd|th)?)? (?:of )?"
        rf"(?P<month>{MONTH})(?![A-Za-z])(?:,? (?P<year>[0-9]{{4}})\b)?",
        read_day_of_month,
    ),
    row("JFMASOND", "month", rf"\b({MONTH}) (?=[0-9]{{4}}\b)", lambda found: f"{MONTHS[month_number(found[1]) - 1]} "),
    row(":", "time to the second", rf"{LEFT}({CLOCK}):([0-5][0-9]):([0-5][0-9]){RIGHT}", read_duration),
    row(
        "apAP",
        "times",
        rf"{LEFT}(?P<hour>{CLOCK})(?::(?P<minute>[0-5][0-9]))?\s?(?P<half>{HALF})?{DASH}"
        rf"(?P<to_hour>{CLOCK})(?::(?P<to_minute>[0-5][0-9]))?\s?(?P<to_half>{HALF})",
        read_time,
    ),
    row(
        ":",
        "times of the day",
        rf"{LEFT}(?P<hour>{CLOCK}):(?P<minute>[0-5][0-9])(?P<half>){DASH}"
        rf"(?P<to_hour>{CLOCK}):(?P<to_minute>[0-5][0-9])(?P<to_half>){RIGHT}",
        read_time,
    ),
    row(":", "time", rf"{LEFT}(?P<hour>{CLOCK}):(?P<minute>[0-5][0-9])(?:\s?(?P<half>{HALF}))?(?!:?[0-9])", read_time),
    row(
        "apAP",
        "hour",
        rf"{LEFT}(?P<hour>{CLOCK})(?P<minute>)\s?(?P<half>{HALF})",
        lambda found: clock(found[1], None, found["half"]),
    ),
    row(
        ":",
        "ratio",
        rf"{LEFT}{NUMBER}(?::{NUMBER})+{RIGHT}",
        lambda found: " to ".join(map(cardinal, found[0].split(":"))),
    ),
    row(
        ".",
        "network address",
        rf"{LEFT}(?P<parts>[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}})(?::(?P<port>[0-9]{{1,5}}))?(?:/(?P<mask>[0-9]{{1,2}}))?{RIGHT}",
        read_address,
    ),
    row(
        ".",
        "number with points",
        rf"{LEFT}[1-9][0-9]{{0,2}}(?:\.[0-9]{{3}}){{2,}}{RIGHT}",
        lambda found: cardinal(found[0].replace(".", "")),
    ),
    row(".", "version", rf"{LEFT}(?P<v>[vV]\.?\s?)?(?P<parts>[0-9]+(?:\.[0-9]+){{2,}}){RIGHT}", read_version),
    row(
        ".",
        "version of a cue",
        rf"\b(?P<cue>(?:[Vv]ersion|{SOFTWARE}) )(?P<parts>[0-9]+(?:\.[0-9]+)+){RIGHT}",
        read_version,
    ),
    row("vV", "named version", rf"{LEFT}(?P<v>[vV])(?P<parts>[0-9]+(?:\.[0-9]+)*){RIGHT}", read_version),
    row(
        "+",
        "international telephone",
        r"(?<![\w+])(?P<plus>\+)(?P<digits>[0-9]{1,3}(?:[ .-]?\(?[0-9]{1,4}\)?){2,5})(?![0-9])(?!\.[0-9])",
        lambda found: read_digit_groups(found) if len(re.sub("[^0-9]", "", found["digits"])) > 7 else None,
    ),
    row(
        ".-",
        "telephone",
        rf"(?:(?<![\w(])\(|{LEFT}(?<![-]))(?P<digits>[0-9]{{3}}\)?[ .-][0-9]{{3}}[.-][0-9]{{4}}){RIGHT}(?!-[0-9])",
        read_digit_groups,
    ),
    row(
        "-CcDdPpTt",
        "telephone of a cue",
        rf"\b(?P<cue>(?:[Cc]all|[Dd]ial|[Pp]hone:?|[Tt]el\.?:?) )"
        rf"(?P<digits>[0-9]{{3}}-[0-9]{{4}}|[0-9]{{3}}){RIGHT}(?!-)"
        rf"|{LEFT}(?<!-)(?P<own>555-[0-9]{{4}}){RIGHT}(?!-)",
        read_digit_groups,
    ),
    row("-", "groups of digits", rf"{LEFT}(?<!-)(?P<digits>[0-9]+(?:-[0-9]+){{2,}}){RIGHT}(?!-)", read_digit_groups),
    row(
        "$£€¥₹₩₽₱฿",
        "money",
        rf"(?<![\w$])(?P<minus>[-−–+~≈<>±]\s?(?=\S))?(?P<sign>{SIGN})\s?(?P<number>[-−]?{NUMBER})(?P<scale>{SCALE})?"
        rf"(?:{DASH}(?:{SIGN})?(?P<upper>{NUMBER})(?P<upper_scale>{SCALE})?)?(?![0-9A-Za-z%])(?!\.[0-9])",
        read_money,
    ),
    row(
        "€£UEGJCRAHI",
        "money, sign behind",
        rf"{LEFT}(?P<number>{NUMBER})(?P<scale>{SCALE})?(?:{DASH}(?P<upper>{NUMBER})(?P<upper_scale>{SCALE})?)?\s?(?P<behind>[€£]|(?:{CODE})\b)",
        read_money,
    ),
    row(
        "UEGJCRAHI",
        "money, code before",
        rf"\b(?P<behind>{CODE})\s?(?P<number>{NUMBER})(?P<scale>{SCALE})?(?:{DASH}(?P<upper>{NUMBER})(?P<upper_scale>{SCALE})?)?{RIGHT}",
        read_money,
    ),
    row("¢", "cents", rf"{LEFT}({NUMBER})\s?¢", lambda found: f"{cardinal(found[1])} {plural('cent', found[1])}"),
    row(
        "×x*·eE",
        "scientific",
        rf"(?P<number>{SIGNED})(?:\s?[×x*·]\s?10(?:\^(?P<caret>[-−]?[0-9]+)|(?P<raised>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))|[eE](?P<e>[-−+]?[0-9]+)){RIGHT}",
        lambda found: (
            f"{signed(found['number'])} times ten "
            + power((found["caret"] or found["raised"] or found["e"]).removeprefix("+"))
        ),
    ),
    row(
        "^⁻⁰¹²³⁴⁵⁶⁷⁸⁹",
        "power",
        rf"{LEFT}({NUMBER})(?:\^([-−]?[0-9]+)|([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)){RIGHT}",
        lambda found: f"{cardinal(found[1])} {power(found[2] or found[3])}",
    ),
    row(
        "=", "equation", rf"(?<![\w.,=]){NUMBER}(?:\s?[×*÷/+−x-]\s?{NUMBER})+\s?=\s?[-−]?{NUMBER}{RIGHT}", read_equation
    ),
    row(
        "abcdefgh",
        "chess",
        r"(?<![\w-])(?:[KQRBN][a-h]?[1-8]?x?[a-h][1-8]|[a-h]x[a-h][1-8](?:=[QRBN])?|[a-h][18]=[QRBN]|[a-h][2-7])[+#]?(?![\w+#=-])",
        read_chess,
    ),
    row("O", "castling", r"(?<![\w-])O-O(?:-O)?(?![\w-])[+#]?", read_chess, False),
    row(
        "°",
        "coordinates",
        rf"{LEFT}(?P<degrees>{NUMBER})\s?°\s?(?:(?P<minutes>[0-9]{{1,2}})[′']\s?)?(?P<side>[NSEW])\b",
        read_coordinates,
    ),
    row(
        "'′’",
        "feet and inches",
        rf"{LEFT}([0-9])['′’]\s?([0-9]{{1,2}})(?:[\"″”]|'')",
        lambda found: f"{cardinal(found[1])} foot {cardinal(found[2])}",
    ),
    row(
        "x×",
        "dimensions",
        rf"{LEFT}(?P<sizes>{NUMBER}(?:(?:\s?x\s?|×){NUMBER})+|{NUMBER}(?:\s?×\s?{NUMBER})+(?=\s?(?:{UNIT})(?![A-Za-z0-9/])))"
        rf"(?:\s?(?P<unit>{UNIT})(?![A-Za-z0-9/]))?(?![0-9A-Za-z])",
        read_dimensions,
    ),
    row("s", "several of a type", r"(?<=[A-Za-z]-)([1-9][0-9]{0,2})s\b", lambda found: several(cardinal(found[1]))),
    row(
        "s",
        "decade",
        rf"(?:(?<![\w])['’](?=[0-9]0s)|{LEFT})(1[1-9][0-9]0|20[0-9]0|[2-9]0)['’]?s\b",
        lambda found: decade(found[1]),
    ),
    row("s", "decade of hundreds", rf"{LEFT}(1[1-9]00)['’]?s\b", lambda found: decade(found[1])),
    row(
        "-–/",
        "years",
        rf"{LEFT}(?P<from>1[1-9][0-9]{{2}}|20[0-9]{{2}})[-–/](?P<to>1[1-9][0-9]{{2}}|20[0-9]{{2}}|[0-9]{{2}}){RIGHT}(?!\s?(?:{UNIT})(?![A-Za-z]))(?!-)",
        lambda found: (
            f"{year(found['from'])} to "
            + (plain(found["to"]) if found["to"][0] != "0" else f"oh {cardinal(found['to'][1])}")
        ),
    ),
    row(
        "thd",
        "ordinal",
        rf"{LEFT}([0-9]+|[0-9]{{1,3}}(?:,[0-9]{{3}})+)(?:st|nd|rd|th)\b",
        lambda found: ordinal(found[1].replace(",", "")),
    ),
    row(
        "/½¼¾⅓⅔⅛⅜⅝",
        "mixed fraction",
        rf"{LEFT}([0-9]{{1,3}})(?:[ -]([1-9])/([1-9][0-9]?)|\s?([{''.join(GLYPHS)}])){RIGHT}",
        read_mixed_fraction,
    ),
    row(
        "/",
        "fraction",
        rf"{LEFT}([0-9]{{1,3}})/([1-9][0-9]{{0,2}}){RIGHT}(?!/)",
        lambda found: fraction(int(found[1]), int(found[2])),
    ),
    row(
        "½¼¾⅓⅔⅛⅜⅝",
        "fraction of one character",
        f"[{''.join(GLYPHS)}]",
        lambda found: f" {fraction(*GLYPHS[found[0]])} ",
        False,
    ),
    row("DG", "generation", rf"{LEFT}([1-9])([DG]){RIGHT}", lambda found: f"{cardinal(found[1])} {found[2]}"),
    row(
        "K",
        "resolution",
        rf"{LEFT}([248])K\s?(?=(?:TV|[Vv]ideo|[Ss]creen|[Mm]onitor|resolution|display))",
        lambda found: f"{cardinal(found[1])} K ",
    ),
    row(
        "±",
        "tolerance",
        rf"(?P<number>{SIGNED})\s?(?P<own_unit>{UNIT})?\s?±\s?(?P<tolerance>{NUMBER})"
        rf"(?:\s?(?P<unit>{UNIT})(?![A-Za-z0-9/²³]))?(?![0-9A-Za-z])",
        read_tolerance,
    ),
    row(
        "-–—~−",
        "percentages",
        rf"(?P<number>{SIGNED})(?:\s?(?P<own_unit>{UNIT}))?{DASH}(?P<upper>[-−+]?{NUMBER})[ -]?"
        rf"(?P<unit>{UNIT})(?![A-Za-z0-9/²³])",
        read_unit,
    ),
    row(
        "",
        "quantity",
        rf"(?P<number>{SIGNED})[ -]?(?P<unit>{UNIT})(?P<upper>)(?![A-Za-z0-9/²³])",
        read_unit,
    ),
    row(
        "-–—~−",
        "magnitudes",
        rf"(?P<number>{SIGNED})(?P<own_scale>[kKMB]|bn|mn)?{DASH}(?P<upper>{NUMBER})(?P<scale>[kKMB]|bn|mn)\b(?![.-]?[0-9])",
        read_range,
    ),
    row("kKMBbm", "magnitude", rf"(?P<number>{SIGNED})(?P<scale>[kKMB]|bn|mn)\b(?![.-]?[0-9])", read_scaled),
    row(
        ".№#§",
        "reference",
        r"(?:(?<![\w.])(?:No\.|Nos\.|no\.|nos\.|p\.|pp\.|Figs?\.|fig\.|[Vv]ol\.|[Cc]h\.|[Ss]ec\.|Eq\.|Art\.)|№|#|§§?)\s?(?=[0-9])",
        lambda found: f"{REFERENCES[found[0].strip()]} ",
    ),
    row(
        "-–—~−",
        "range",
        rf"(?<![\w-])(?P<number>{SIGNED}){DASH}(?P<upper>[-−+]?{NUMBER}){RIGHT}(?!-[0-9])(?!/[0-9])",
        read_range,
    ),
    row("", "chemical or model", rf"(?<![\w.-])([A-Z]{{1,3}})([1-9][0-9]?)([A-Z])?{RIGHT}", read_letters_and_number),
    row(",", "list of numbers", rf"{LEFT}[0-9]+(?:,[0-9]+)+{RIGHT}", read_list),
    row("", "number", rf"{SIGNED}{RIGHT}", lambda found: plain(found[0])),
    row("-–—~−", "range of readings", rf"\s?[-–—~−]\s?(?=[#$£€¥]?[0-9.½¼¾⅓⅔⅛⅜⅝]|(?:{MONTH}) [0-9])", read_dash),
    *ENGLISH_WORDS,
)
