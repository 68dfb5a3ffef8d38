"""Mandarin as it is read aloud: numbers, dates, times, money, percentages, units and ordinals in characters.

`MANDARIN` is the table of classes (`corpus.text.semantic_classes`); the readers are in `corpus.text.mandarin_readings`.
Latin words stay as they are.
"""

from __future__ import annotations

import re

from .mandarin_numbers import NUMBER, SUPERSCRIPTS, cardinal, scaled, signed, spelt
from .mandarin_readings import (
    CODES,
    CURRENCIES,
    GLYPHS,
    HAN,
    MEASURES,
    TEMPERATURES,
    UNITS,
    clock,
    decade,
    read_chess,
    read_dash,
    read_date,
    read_equation,
    read_magnitudes,
    read_money,
    read_more,
    read_network_address,
    read_percent,
    read_quantity,
    read_range,
    read_scientific,
    read_temperature,
    read_tolerance,
    read_version,
)
from .semantic_classes import SemanticClass, alternatives, row

RATES = "小时|分钟|秒|[天日周月年人次个件台股晚吨升斤米]|公[斤里]|千克|平方米|立方米"
SOFTWARE = "Python|Java|PHP|Ruby|Rust|iOS|macOS|Android|Windows|Ubuntu|CUDA|PyTorch|Firefox|Chrome|Node"
SCALE = "万亿|千万|百万|亿|万|千"
LEFT = r"(?<![0-9A-Za-z_])(?<![0-9][.,:/])"
RIGHT = r"(?![0-9A-Za-z_])(?![.,:/][0-9])"
SIGNED = rf"(?:(?<![0-9A-Za-z_.,)\]%°])[-−–+±~～≈≤≥<>]\s?(?=[0-9])|{LEFT}){NUMBER}"
DASH = r"\s?[-–~～—−至到]\s?"
CURRENCY, CODE, UNIT, TEMPERATURE = map(alternatives, (CURRENCIES, CODES, UNITS, TEMPERATURES))
MAGNITUDE = (
    rf"(?:\s?(?:{SCALE})|(?:[kKMBTm]|bn|mn|tn)(?![A-Za-z0-9])|\s(?:thousand|million|billion|trillion)(?![A-Za-z]))"
)
AFTER_MONEY = rf"(?:\s?(?:{'|'.join(sorted(set(CURRENCIES.values()) - {'元'}))})|(?:(?<=[万亿千])|(?<=[0-9])\s?)元)?"
SEASON = "赛季|学年|财年|年度"


MANDARIN: tuple[SemanticClass, ...] = (
    row(
        "-/.",
        "date",
        rf"{LEFT}(?P<year>[0-9]{{4}})([-/.])(?P<month>[0-9]{{1,2}})\2(?P<day>[0-9]{{1,2}})"
        rf"(?:[T ](?P<hour>[0-2][0-9]):(?P<minute>[0-5][0-9]))?{RIGHT}(?!-[0-9])",
        read_date,
    ),
    row(
        "年",
        "years",
        r"(?<![0-9])([0-9]{4})\s?[-–~～—至到]\s?([0-9]{4}|[0-9]{2})年",
        lambda found: f"{spelt(found[1])}到{spelt(found[2])}年",
    ),
    row(
        "年季度",
        "season",
        rf"(?<![0-9])([0-9]{{4}})[-–/~～—至到]([0-9]{{4}}|[0-9]{{2}})(?={SEASON})",
        lambda found: f"{spelt(found[1])}到{spelt(found[2])}",
    ),
    row(
        "年",
        "decades",
        r"(?<![0-9])([0-9]0)[-–~～—至到]([0-9]0)年代",
        lambda found: f"{decade(found[1])}到{decade(found[2])}年代",
    ),
    row("年", "decade", r"(?<![0-9])([2-9]0)年代", lambda found: f"{cardinal(found[1])}年代"),
    row(
        "年",
        "day of a year",
        r"(?<![0-9.])([0-9]{4}|[0-9]{2})年([01]?[0-9])月(?:([0-3]?[0-9])([日号]))?(?![0-9])",
        lambda found: (
            f"{spelt(found[1])}年{cardinal(str(int(found[2])))}月"
            + (f"{cardinal(str(int(found[3])))}{found[4]}" if found[3] else "")
        ),
    ),
    row("年", "year", r"(?<![0-9.])([0-9]{4}|[0-9]{2})年(?![以之]?[前后内来])", lambda found: f"{spelt(found[1])}年"),
    row(
        ":：",
        "time to the second",
        rf"{LEFT}([01]?[0-9]|2[0-4])[:：]([0-5][0-9])[:：]([0-5][0-9]){RIGHT}",
        lambda found: clock(found[1], found[2], found[3]),
    ),
    row(
        ":：",
        "times",
        rf"{LEFT}([01]?[0-9]|2[0-4])[:：]([0-5][0-9]){DASH}([01]?[0-9]|2[0-4])[:：]([0-5][0-9])(?![0-9:：])",
        lambda found: f"{clock(found[1], found[2])}到{clock(found[3], found[4])}",
    ),
    row(
        ":：",
        "time",
        rf"{LEFT}([01]?[0-9]|2[0-4])[:：]([0-5][0-9])(?![0-9:：])",
        lambda found: clock(found[1], found[2]),
    ),
    row(
        ":：",
        "ratio",
        rf"{LEFT}{NUMBER}(?:[:：]{NUMBER})+{RIGHT}",
        lambda found: "比".join(map(cardinal, re.split("[:：]", found[0]))),
    ),
    row(
        ".",
        "network address",
        rf"{LEFT}(?P<parts>[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}})(?::(?P<port>[0-9]{{1,5}}))?{RIGHT}",
        read_network_address,
    ),
    row(".", "version", rf"{LEFT}(?P<v>[vV])?(?P<parts>[0-9]+(?:\.[0-9]+){{2,}}){RIGHT}", read_version),
    row(
        ".",
        "version of a cue",
        rf"(?P<cue>(?:版本|(?<![A-Za-z])(?:{SOFTWARE}))\s?)(?P<parts>[0-9]+(?:\.[0-9]+)+){RIGHT}",
        read_version,
    ),
    row("vV", "named version", rf"{LEFT}(?P<v>[vV])(?P<parts>[0-9]+(?:\.[0-9]+)*){RIGHT}", read_version),
    row(
        "1",
        "mobile telephone",
        r"(?<![0-9])(?:(\+86)[ -]?)?(1[3-9][0-9])[ -]?([0-9]{4})[ -]?([0-9]{4})(?![0-9])",
        lambda found: ("加八六" if found[1] else "") + spelt(found[2] + found[3] + found[4]).replace("一", "幺"),
    ),
    row(
        "-",
        "telephone",
        rf"{LEFT}(0[0-9]{{2,3}}|[48]00)-([0-9]{{3,4}})-?([0-9]{{4}}){RIGHT}(?!-)",
        lambda found: spelt("".join(found.groups())).replace("一", "幺"),
    ),
    row(
        "打拨",
        "emergency telephone",
        r"(?<=[打拨])(1[12][0-9])(?![0-9])",
        lambda found: spelt(found[1]).replace("一", "幺"),
    ),
    row(
        "$£€¥₹₩₽฿",
        "money",
        rf"(?P<minus>(?<![0-9A-Za-z])[-−+~≈<>]\s?)?(?<![A-Za-z])(?P<sign>{CURRENCY})\s?(?P<number>{NUMBER})(?P<scale>{MAGNITUDE})?"
        rf"(?:{DASH}(?:{CURRENCY})?(?P<upper>{NUMBER})(?P<upper_scale>{MAGNITUDE})?)?{AFTER_MONEY}(?![0-9])(?!\.[0-9])",
        read_money,
    ),
    row(
        "UEGCRJHA",
        "money of a code",
        rf"{LEFT}(?P<number>{NUMBER})(?P<scale>{MAGNITUDE})?(?:{DASH}(?P<upper>{NUMBER})(?P<upper_scale>{MAGNITUDE})?)?"
        rf"\s?(?P<code>{CODE})(?![A-Za-z])",
        read_money,
    ),
    row(
        "UEGCRJHA",
        "money, code before",
        rf"(?<![A-Za-z])(?P<code>{CODE})\s?(?P<number>{NUMBER})(?P<scale>{MAGNITUDE})?"
        rf"(?:{DASH}(?P<upper>{NUMBER})(?P<upper_scale>{MAGNITUDE})?)?{AFTER_MONEY}(?![0-9A-Za-z])(?!\.[0-9])",
        read_money,
    ),
    row(
        "€£",
        "money, sign behind",
        rf"{LEFT}(?P<number>{NUMBER})(?P<scale>{MAGNITUDE})?(?P<upper>)(?P<upper_scale>)\s?(?P<sign>[€£])",
        read_money,
    ),
    row("-–~～—−", "range of one measure", r"\s?[-–~～—−]\s?(?=[0-9])", read_dash),
    row(
        "±",
        "tolerance",
        rf"(?P<number>{LEFT}{NUMBER})\s?±\s?(?P<tolerance>{NUMBER})(?:\s?(?P<unit>{UNIT}))?(?![0-9A-Za-z])",
        read_tolerance,
    ),
    row(
        "+",
        "more than",
        rf"(?P<number>{LEFT}{NUMBER})(?P<scale>[kKMBw]|{SCALE})?\+(?![0-9A-Za-z+=]|\s?[0-9])",
        read_more,
    ),
    row(
        "%‰",
        "percentage",
        rf"(?P<number>{SIGNED})\s?(?:(?P<own>%)?{DASH}(?P<upper>{NUMBER})\s?)?(?P<mark>[%‰])",
        read_percent,
    ),
    row(
        "×x*eE",
        "scientific",
        rf"(?P<number>{SIGNED})(?:\s?[×x*]\s?10(?:\^(?P<caret>[-−]?[0-9]+)|(?P<raised>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))|[eE](?P<e>[-−+]?[0-9]+)){RIGHT}",
        read_scientific,
    ),
    row(
        "^⁻⁰¹²³⁴⁵⁶⁷⁸⁹",
        "power",
        rf"{LEFT}({NUMBER})(?:\^([-−]?[0-9]+)|([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)){RIGHT}",
        lambda found: f"{cardinal(found[1])}的{signed((found[2] or found[3]).translate(SUPERSCRIPTS))}次方",
    ),
    row(
        "=",
        "equation",
        rf"(?<![0-9A-Za-z.,=]){NUMBER}(?:\s?[×*÷/+−x-]\s?{NUMBER})+\s?=\s?{NUMBER}(?![0-9])",
        read_equation,
    ),
    row("+×÷", "sum", rf"{LEFT}{NUMBER}\s?[+×÷]\s?{NUMBER}(?![0-9A-Za-z])", read_equation),
    row(
        "abcdefgh",
        "chess",
        r"(?<![0-9A-Za-z-])(?:[KQRBN][a-h]?[1-8]?x?[a-h][1-8]|[a-h]x[a-h][1-8]|[a-h][1-8])[+#]?(?![0-9A-Za-z+#=-])",
        read_chess,
    ),
    row(
        "x×*",
        "dimensions",
        rf"{LEFT}({NUMBER})\s?[x×*]\s?({NUMBER})(?![0-9A-Za-z])",
        lambda found: f"{cardinal(found[1])}乘{cardinal(found[2])}",
    ),
    row(
        "/",
        "fraction",
        rf"{LEFT}([0-9]{{1,3}})/([0-9]{{1,3}}){RIGHT}(?!/)",
        lambda found: f"{cardinal(found[2])}分之{cardinal(found[1])}",
    ),
    row(
        "½¼¾⅓⅔",
        "mixed fraction",
        rf"{LEFT}([0-9]+)([½¼¾⅓⅔])",
        lambda found: f"{cardinal(found[1])}又{GLYPHS[found[2]]}",
    ),
    row(
        "℃°℉",
        "temperature",
        rf"(?P<number>{SIGNED})\s?(?:(?P<own>{TEMPERATURE}|°)?{DASH}(?P<upper>[-−]?{NUMBER})\s?)?(?P<unit>{TEMPERATURE})(?![A-Za-z])",
        read_temperature,
    ),
    row(
        "",
        "quantity",
        rf"(?P<number>{SIGNED})\s?(?:(?:{UNIT})?{DASH}(?P<upper>[-−]?{NUMBER})\s?)?(?P<unit>{UNIT})(?![A-Za-z0-9²³]|/[^0-9])",
        read_quantity,
    ),
    row(
        "DGK",
        "generation",
        rf"{LEFT}([1-9](?=[DG])|[248](?=K))([DGK]){RIGHT}",
        lambda found: f"{cardinal(found[1])}{found[2]}",
    ),
    row(
        "-–~～—−至到",
        "magnitudes",
        rf"(?P<number>{LEFT}{NUMBER})(?P<own>[kKMBw]|bn|mn)?{DASH}(?P<upper>{NUMBER})(?P<scale>[kKMBw]|bn|mn)(?![A-Za-z0-9])",
        read_magnitudes,
    ),
    row(
        "kKMBbmw",
        "magnitude",
        rf"(?P<number>{LEFT}{NUMBER})(?P<scale>[kKMBw]|bn|mn)(?![A-Za-z0-9])",
        lambda found: scaled(found["number"], found["scale"]),
    ),
    row(
        "第",
        "ordinal",
        rf"第\s?([0-9]+)(?:{DASH}([0-9]+))?(?![0-9]|[.,:/][0-9])",
        lambda found: f"第{cardinal(found[1])}" + (f"到{cardinal(found[2])}" if found[2] else ""),
    ),
    row(
        "N№#",
        "reference",
        r"(?:(?<![A-Za-z.])No\.|№|#)\s?([0-9]+)(?![0-9]|[.,:/][0-9])",
        lambda found: f"第{cardinal(found[1])}号",
    ),
    row(
        "-–~～—−至到",
        "range",
        rf"(?<![0-9A-Za-z-])(?P<number>{SIGNED}){DASH}(?P<upper>[-−]?{NUMBER}){RIGHT}(?!-[0-9])",
        read_range,
    ),
    row(
        "",
        "room or flight",
        rf"(?<![0-9A-Za-z.-])([A-Z]{{1,3}})([1-9][0-9]?)([A-Z]?){RIGHT}",
        lambda found: f"{found[1]}{cardinal(found[2])}{found[3]}",
    ),
    row("2", "two of", rf"{LEFT}2({MEASURES})", lambda found: f"两{found[1]}"),
    row(
        ",",
        "list of numbers",
        rf"{LEFT}[0-9]+(?:,[0-9]+)+{RIGHT}",
        lambda found: "，".join(map(cardinal, found[0].split(","))),
    ),
    row("", "number", rf"{SIGNED}{RIGHT}", lambda found: signed(found[0].strip())),
    row(
        "-–~～—−",
        "range of readings",
        r"(?<=[0-9½¼¾⅓⅔])(?<![-–][0-9])\s?[-–~～—−]\s?(?=[0-9])(?![0-9]-)",
        lambda found: "到",
    ),
    row("/", "rate", rf"(?<=[{HAN}])/(?={RATES})", lambda found: "每"),
    row("½¼¾⅓⅔", "fraction of one character", "[½¼¾⅓⅔]", lambda found: GLYPHS[found[0]], needs_digit=False),
    row("®™©", "silent mark", "[®™©]", lambda found: "", needs_digit=False),
    row("&", "and", r"\s?&\s?", lambda found: "和", needs_digit=False),
)
