"""Mandarin as it is read aloud: numbers, dates, times, money, percentages, units and ordinals in characters.

Rules of ours, tried in order; Latin letters stay as they are, digits in what no rule knows are read as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable

DIGITS = "零一二三四五六七八九"
SMALL, LARGE = ("", "十", "百", "千"), ("", "万", "亿", "万亿")
NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
MEASURES = "个只条张本位名家件座辆台把块杯瓶岁天年次倍种群双头匹篇部间层碗份首句周"
UNITS = {
    "km/h": "公里每小时", "m/s": "米每秒", "km": "公里", "cm": "厘米", "mm": "毫米", "kg": "公斤", "mg": "毫克",
    "ml": "毫升", "GB": "吉字节", "MB": "兆字节", "GHz": "吉赫", "MHz": "兆赫", "kHz": "千赫", "Hz": "赫兹",
    "℃": "摄氏度", "°C": "摄氏度", "°F": "华氏度", "m": "米", "g": "克", "°": "度",
}  # fmt: skip
CURRENCIES = {"$": "美元", "£": "英镑", "€": "欧元", "¥": "元", "￥": "元"}
SCALE = "万亿|千万|百万|亿|万|千"


def read_mandarin(text: str) -> str:
    """The text with everything spelt out that has a reading of its own."""
    for pattern, reading in RULES:
        text = pattern.sub(reading, text)
    return text


def cardinal(number: str) -> str:
    """A number ("1,234.5") in characters; one of leading zeros or too many digits is read digit by digit."""
    whole, _, decimals = number.replace(",", "").partition(".")
    is_code = (len(whole) > 1 and whole[0] == "0") or len(whole) > 16
    words = spelt(whole) if is_code else _whole(int(whole))
    return f"{words}点{spelt(decimals)}" if decimals else words


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


def _counted(number: str) -> str:
    """Before a measure word or unit: 2 is 两."""
    return "两" if number == "2" else cardinal(number)


def _date(found: re.Match[str]) -> str:
    return f"{spelt(found[1])}年{cardinal(str(int(found[2])))}月{cardinal(str(int(found[3])))}日"


def _time(found: re.Match[str]) -> str:
    hour, minute = _counted(str(int(found[1]))), int(found[2])
    if minute == 0:
        return f"{hour}点"
    return f"{hour}点{'零' if minute < 10 else ''}{cardinal(str(minute))}分"


Reading = Callable[[re.Match[str]], str]
_UNIT_NAMES = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
RULES: list[tuple[re.Pattern[str], Reading]] = [
    (re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"), _date),
    (re.compile(r"(?<!\d)(\d{4}|\d{2})(?=年(?![以之]?[前后内来]))"), lambda found: spelt(found[1])),
    (re.compile(r"(?<!\d)([01]?\d|2[0-4])[:：]([0-5]\d)(?![\d:：])"), _time),
    (re.compile(r"(?<!\d)(1[3-9]\d{9})(?!\d)"), lambda found: spelt(found[1]).replace("一", "幺")),
    (
        re.compile(rf"(?P<sign>[$£€¥￥])\s?(?P<number>{NUMBER})(?P<scale>{SCALE})?"),
        lambda found: f"{_counted(found['number'])}{found['scale'] or ''}{CURRENCIES[found['sign']]}",
    ),
    (re.compile(rf"({NUMBER})\s?[%％]"), lambda found: f"百分之{cardinal(found[1])}"),
    (
        re.compile(r"(?<![\d/])(\d{1,3})/(\d{1,3})(?![\d/])"),
        lambda found: f"{cardinal(found[2])}分之{cardinal(found[1])}",
    ),
    (
        re.compile(rf"(?<![\d-])({NUMBER})\s?[-–~～—]\s?({NUMBER})(?![\d-])"),
        lambda found: f"{cardinal(found[1])}到{cardinal(found[2])}",
    ),
    (
        re.compile(rf"({NUMBER})\s?({_UNIT_NAMES})(?![A-Za-z])"),
        lambda found: f"{_counted(found[1])}{UNITS[found[2]]}",
    ),
    (re.compile(r"第\s?(\d+)"), lambda found: f"第{cardinal(found[1])}"),
    (re.compile(rf"(?<![\d.])2(?=[{MEASURES}])"), lambda found: "两"),
    (re.compile(r"(?<![\w\u4e00-\u9fff])[-−](?=\d)"), lambda found: "负"),
    (re.compile(rf"(?<![A-Za-z\d.])(?:{NUMBER})(?![A-Za-z\d])"), lambda found: cardinal(found[0])),
]
