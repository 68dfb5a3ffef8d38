"""Mandarin as it is read aloud: numbers, dates, times, money, percentages, units and ordinals in characters.

`MANDARIN` is the table of classes (`corpus.text.semantic_classes`); num2words knows no Chinese, the numbers are ours.
Latin words stay as they are.
"""

from __future__ import annotations

import re
from decimal import Decimal

from .semantic_classes import Reading, SemanticClass, spell_out

DIGITS = "零一二三四五六七八九"
SMALL, LARGE = ("", "十", "百", "千"), ("", "万", "亿", "万亿")
NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?)"
MEASURES = "个只条张本位名家件座辆台把块杯瓶岁天年次倍种群双头匹篇部间层碗份首句周"
UNITS = {
    "km/h": "公里每小时", "m/s": "米每秒", "km²": "平方公里", "m²": "平方米", "㎡": "平方米", "m³": "立方米",
    "km": "公里", "cm": "厘米", "mm": "毫米", "nm": "纳米", "kg": "公斤", "mg": "毫克", "ml": "毫升",
    "mL": "毫升", "L": "升",
    "TB": "太字节", "GB": "吉字节", "MB": "兆字节", "KB": "千字节", "Mbps": "兆比特每秒", "GHz": "吉赫", "MHz": "兆赫",
    "kHz": "千赫", "Hz": "赫兹", "kWh": "千瓦时", "kW": "千瓦", "W": "瓦", "V": "伏", "mAh": "毫安时", "dB": "分贝",
    "m": "米", "g": "克", "s": "秒", "min": "分钟", "h": "小时", "°": "度", "MB/s": "兆字节每秒",
}  # fmt: skip
CARELESS_UNITS = {"KM": "km", "Km": "km", "KM/H": "km/h", "Km/h": "km/h", "KG": "kg", "Kg": "kg", "CM": "cm",
                  "MM": "mm", "ML": "ml", "GHZ": "GHz", "MHZ": "MHz", "KHZ": "kHz", "KWH": "kWh", "DB": "dB",
                  "kB": "KB"}  # fmt: skip
UNITS |= {name: UNITS[unit] for name, unit in CARELESS_UNITS.items()}
TEMPERATURES = {"℃": "摄氏度", "°C": "摄氏度", "° C": "摄氏度", "℉": "华氏度", "°F": "华氏度", "° F": "华氏度"}
CURRENCIES = {"$": "美元", "US$": "美元", "HK$": "港元", "£": "英镑", "€": "欧元", "¥": "元", "₩": "韩元", "₹": "卢比"}
CODES = {"USD": "美元", "EUR": "欧元", "GBP": "英镑", "CNY": "元", "RMB": "元", "JPY": "日元"}
POWERS = {"k": 3, "K": 3, "M": 6, "m": 6, "mn": 6, "B": 9, "bn": 9, "T": 12, "tn": 12, "thousand": 3, "million": 6,
          "billion": 9, "trillion": 12}  # fmt: skip
SCALE = "万亿|千万|百万|亿|万|千"
SIGNS = {"-": "负", "−": "负", "–": "负", "+": "正", "±": "正负", "~": "约", "～": "约", "≈": "约", "<": "小于",
         ">": "大于",         "≤": "不超过", "≥": "不低于"}  # fmt: skip
OPERATORS = {"+": "加", "-": "减", "−": "减", "×": "乘", "*": "乘", "x": "乘", "÷": "除以", "/": "除以", "=": "等于"}
PIECES = {"K": "王", "Q": "后", "R": "车", "B": "象", "N": "马", "x": "吃", "+": "将军", "#": "将杀", "=": "升变"}
GLYPHS = {"½": "二分之一", "¼": "四分之一", "¾": "四分之三", "⅓": "三分之一", "⅔": "三分之二"}
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
SPELT_SYMBOLS = {
    ".": "点", "-": "杠", "/": "斜杠", "_": "下划线", "#": "井号", "@": "艾特", "%": "百分号", "&": "和", "+": "加",
    "=": "等于", "×": "乘", "*": "星号", "$": "美元", "€": "欧元", "£": "英镑", "¥": "元", "<": "小于",
    ">": "大于", "°": "度",
    "²": "平方", "³": "立方", ":": "比", "→": "到",
}  # fmt: skip

Match = re.Match[str]


def spell_mandarin(text: str) -> str:
    """A token that no class reads, part by part: "x86" -> "x八六"."""
    return spell_out(text, DIGITS, SPELT_SYMBOLS, "")


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


def _counted(number: str) -> str:
    """Before a measure word or unit: 2 is 两."""
    return "两" if number == "2" else signed(number)


def _scaled(number: str, scale: str | None) -> str:
    """A number and its magnitude: ("5", "M") -> 五百万, ("3.2", "亿") -> 三点二亿."""
    if not scale:
        return _counted(number)
    if scale not in POWERS:
        return f"{_counted(number)}{scale}"
    amount = Decimal(number.replace(",", "")).scaleb(POWERS[scale])
    return cardinal(f"{amount:f}".removesuffix(".0"))


def _date(found: Match) -> str | None:
    month, day = int(found["month"]), int(found["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    said = f"{spelt(found['year'])}年{cardinal(str(month))}月{cardinal(str(day))}日"
    return f"{said}{_clock(found['hour'], found['minute'])}" if found["hour"] else said


def _clock(hour: str, minute: str, second: str | None = None) -> str:
    said = f"{_counted(str(int(hour)))}点"
    if int(minute) or second:
        said += f"{'零' if int(minute) < 10 else ''}{cardinal(str(int(minute)))}分"
    return f"{said}{cardinal(str(int(second)))}秒" if second else said


def _money(found: Match) -> str:
    groups = found.groupdict()
    currency = CURRENCIES[groups["sign"]] if groups.get("sign") else CODES[groups["code"]]
    scale, upper_scale = (found[name] and found[name].strip() for name in ("scale", "upper_scale"))
    minus = SIGNS[found["minus"].strip()] if groups.get("minus") else ""
    if not found["upper"]:
        return f"{minus}{_scaled(found['number'], scale)}{currency}"
    low = _scaled(found["number"], scale)
    return f"{minus}{low}到{_scaled(found['upper'], upper_scale)}{currency}"


def _percent(found: Match) -> str:
    parts = "千分之" if found["mark"] == "‰" else "百分之"
    number = found["number"]
    sign = SIGNS.get(number[:1], "")
    first = f"{sign}{parts}{cardinal(number[1:].strip() if sign else number)}"
    if not found["upper"]:
        return first
    return f"{first}到{parts if found['own'] else ''}{cardinal(found['upper'])}"


def _quantity(found: Match) -> str:
    name = UNITS[found["unit"]]
    if found["upper"]:
        return f"{signed(found['number'])}到{_counted(found['upper'])}{name}"
    return f"{_counted(found['number'])}{name}"


def _temperature(found: Match) -> str:
    name = TEMPERATURES[found["unit"]]
    first, upper = signed(found["number"], "零下"), found["upper"]
    return f"{first}{name if found['own'] else ''}到{signed(upper, '零下')}{name}" if upper else f"{first}{name}"


def _range(found: Match) -> str:
    low, high = found["number"], found["upper"]
    is_score = "." not in low + high and low.isdigit() and high.isdigit() and int(low) >= int(high) and int(low) < 1000
    return f"{signed(low)}{'比' if is_score else '到'}{signed(high)}"


def _scientific(found: Match) -> str:
    exponent = (found["caret"] or found["raised"] or found["e"]).translate(SUPERSCRIPTS).removeprefix("+")
    return f"{signed(found['number'])}乘以十的{signed(exponent)}次方"


def _equation(found: Match) -> str:
    return "".join(OPERATORS.get(part) or cardinal(part) for part in re.findall(rf"{NUMBER}|[-+×*÷/=−x]", found[0]))


def _chess(found: Match) -> str:
    return "".join(PIECES.get(sign) or (cardinal(sign) if sign.isdigit() else sign) for sign in found[0])


def _network_address(found: Match) -> str:
    said = "点".join(spelt(part) for part in found["parts"].split("."))
    return f"{said}端口{spelt(found['port'])}" if found["port"] else said


def _version(found: Match) -> str:
    said = "点".join(cardinal(part) for part in found["parts"].split("."))
    is_named = found.string[: found.start()].endswith("版本")
    return f"版本{said}" if found["v"] and not is_named else said


def _names(table: dict[str, str] | dict[str, int]) -> str:
    return "|".join(sorted(map(re.escape, table), key=len, reverse=True))


LEFT = r"(?<![0-9A-Za-z_])(?<![0-9][.,:/])"
RIGHT = r"(?![0-9A-Za-z_])(?![.,:/][0-9])"
SIGNED = rf"(?:(?<![0-9A-Za-z_.,)\]%°])[-−–+±~～≈≤≥<>]\s?(?=[0-9])|{LEFT}){NUMBER}"
DASH = r"\s?[-–~～—−至到]\s?"
CURRENCY, CODE, UNIT, TEMPERATURE = _names(CURRENCIES), _names(CODES), _names(UNITS), _names(TEMPERATURES)
MAGNITUDE = (
    rf"(?:\s?(?:{SCALE})|(?:[kKMBT]|bn|mn|tn)(?![A-Za-z0-9])|\s(?:thousand|million|billion|trillion)(?![A-Za-z]))"
)


def _row(needs: str, name: str, pattern: str, read: Reading) -> SemanticClass:
    return SemanticClass(name, re.compile(pattern), read, needs=needs)


MANDARIN: tuple[SemanticClass, ...] = (
    _row(
        "-/.",
        "date",
        rf"{LEFT}(?P<year>[0-9]{{4}})([-/.])(?P<month>[0-9]{{1,2}})\2(?P<day>[0-9]{{1,2}})"
        rf"(?:[T ](?P<hour>[0-2][0-9]):(?P<minute>[0-5][0-9]))?{RIGHT}(?!-[0-9])",
        _date,
    ),
    _row(
        "年",
        "years",
        r"(?<![0-9])([0-9]{4})\s?[-–~～—至到]\s?([0-9]{4})年",
        lambda found: f"{spelt(found[1])}到{spelt(found[2])}年",
    ),
    _row("年", "decade", r"(?<![0-9])([2-9]0)年代", lambda found: f"{cardinal(found[1])}年代"),
    _row(
        "年",
        "day of a year",
        r"(?<![0-9.])([0-9]{4}|[0-9]{2})年([01]?[0-9])月(?:([0-3]?[0-9])([日号]))?(?![0-9])",
        lambda found: (
            f"{spelt(found[1])}年{cardinal(str(int(found[2])))}月"
            + (f"{cardinal(str(int(found[3])))}{found[4]}" if found[3] else "")
        ),
    ),
    _row("年", "year", r"(?<![0-9.])([0-9]{4}|[0-9]{2})年(?![以之]?[前后内来])", lambda found: f"{spelt(found[1])}年"),
    _row(
        ":：",
        "time to the second",
        rf"{LEFT}([01]?[0-9]|2[0-4])[:：]([0-5][0-9])[:：]([0-5][0-9]){RIGHT}",
        lambda found: _clock(found[1], found[2], found[3]),
    ),
    _row(
        ":：",
        "times",
        rf"{LEFT}([01]?[0-9]|2[0-4])[:：]([0-5][0-9]){DASH}([01]?[0-9]|2[0-4])[:：]([0-5][0-9])(?![0-9:：])",
        lambda found: f"{_clock(found[1], found[2])}到{_clock(found[3], found[4])}",
    ),
    _row(
        ":：",
        "time",
        rf"{LEFT}([01]?[0-9]|2[0-4])[:：]([0-5][0-9])(?![0-9:：])",
        lambda found: _clock(found[1], found[2]),
    ),
    _row(
        ":：",
        "ratio",
        rf"{LEFT}({NUMBER})[:：]({NUMBER}){RIGHT}",
        lambda found: f"{cardinal(found[1])}比{cardinal(found[2])}",
    ),
    _row(
        ".",
        "network address",
        rf"{LEFT}(?P<parts>[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}})(?::(?P<port>[0-9]{{1,5}}))?{RIGHT}",
        _network_address,
    ),
    _row(".", "version", rf"{LEFT}(?P<v>[vV])?(?P<parts>[0-9]+(?:\.[0-9]+){{2,}}){RIGHT}", _version),
    _row("vV", "named version", rf"{LEFT}(?P<v>[vV])(?P<parts>[0-9]+(?:\.[0-9]+)*){RIGHT}", _version),
    _row(
        "1",
        "mobile telephone",
        r"(?<![0-9])(?:(\+86)[ -]?)?(1[3-9][0-9])[ -]?([0-9]{4})[ -]?([0-9]{4})(?![0-9])",
        lambda found: ("加八六" if found[1] else "") + spelt(found[2] + found[3] + found[4]).replace("一", "幺"),
    ),
    _row(
        "-",
        "telephone",
        rf"{LEFT}(0[0-9]{{2,3}}|[48]00)-([0-9]{{3,4}})-?([0-9]{{4}}){RIGHT}(?!-)",
        lambda found: spelt("".join(found.groups())).replace("一", "幺"),
    ),
    _row(
        "打拨",
        "emergency telephone",
        r"(?<=[打拨])(1[12][0-9])(?![0-9])",
        lambda found: spelt(found[1]).replace("一", "幺"),
    ),
    _row(
        "$£€¥₹₩",
        "money",
        rf"(?P<minus>(?<![0-9A-Za-z])[-−+~≈<>]\s?)?(?P<sign>{CURRENCY})\s?(?P<number>{NUMBER})(?P<scale>{MAGNITUDE})?"
        rf"(?:{DASH}(?:{CURRENCY})?(?P<upper>{NUMBER})(?P<upper_scale>{MAGNITUDE})?)?(?:(?<=[万亿千])元)?(?![0-9])(?!\.[0-9])",
        _money,
    ),
    _row(
        "UEGCRJ",
        "money of a code",
        rf"{LEFT}(?P<number>{NUMBER})(?P<scale>{MAGNITUDE})?(?P<upper>)(?P<upper_scale>)\s?(?P<code>{CODE})(?![A-Za-z])",
        _money,
    ),
    _row(
        "€£",
        "money, sign behind",
        rf"{LEFT}(?P<number>{NUMBER})(?P<scale>{MAGNITUDE})?(?P<upper>)(?P<upper_scale>)\s?(?P<sign>[€£])",
        _money,
    ),
    _row(
        "%‰",
        "percentage",
        rf"(?P<number>{SIGNED})\s?(?:(?P<own>%)?{DASH}(?P<upper>{NUMBER})\s?)?(?P<mark>[%‰])",
        _percent,
    ),
    _row(
        "×x*eE",
        "scientific",
        rf"(?P<number>{SIGNED})(?:\s?[×x*]\s?10(?:\^(?P<caret>[-−]?[0-9]+)|(?P<raised>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))|[eE](?P<e>[-−+]?[0-9]+)){RIGHT}",
        _scientific,
    ),
    _row(
        "^⁻⁰¹²³⁴⁵⁶⁷⁸⁹",
        "power",
        rf"{LEFT}({NUMBER})(?:\^([-−]?[0-9]+)|([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)){RIGHT}",
        lambda found: f"{cardinal(found[1])}的{signed((found[2] or found[3]).translate(SUPERSCRIPTS))}次方",
    ),
    _row(
        "=", "equation", rf"(?<![0-9A-Za-z.,=]){NUMBER}(?:\s?[×*÷/+−x-]\s?{NUMBER})+\s?=\s?{NUMBER}(?![0-9])", _equation
    ),
    _row("+×÷", "sum", rf"{LEFT}{NUMBER}\s?[+×÷]\s?{NUMBER}(?![0-9A-Za-z])", _equation),
    _row(
        "abcdefgh",
        "chess",
        r"(?<![0-9A-Za-z-])(?:[KQRBN][a-h]?[1-8]?x?[a-h][1-8]|[a-h]x[a-h][1-8]|[a-h][1-8])[+#]?(?![0-9A-Za-z+#=-])",
        _chess,
    ),
    _row(
        "x×*",
        "dimensions",
        rf"{LEFT}({NUMBER})\s?[x×*]\s?({NUMBER})(?![0-9A-Za-z])",
        lambda found: f"{cardinal(found[1])}乘{cardinal(found[2])}",
    ),
    _row(
        "/",
        "fraction",
        rf"{LEFT}([0-9]{{1,3}})/([0-9]{{1,3}}){RIGHT}(?!/)",
        lambda found: f"{cardinal(found[2])}分之{cardinal(found[1])}",
    ),
    _row(
        "½¼¾⅓⅔",
        "mixed fraction",
        rf"{LEFT}([0-9]+)([½¼¾⅓⅔])",
        lambda found: f"{cardinal(found[1])}又{GLYPHS[found[2]]}",
    ),
    _row(
        "℃°℉",
        "temperature",
        rf"(?P<number>{SIGNED})\s?(?:(?P<own>{TEMPERATURE}|°)?{DASH}(?P<upper>[-−]?{NUMBER})\s?)?(?P<unit>{TEMPERATURE})(?![A-Za-z])",
        _temperature,
    ),
    _row(
        "",
        "quantity",
        rf"(?P<number>{SIGNED})\s?(?:(?:{UNIT})?{DASH}(?P<upper>[-−]?{NUMBER})\s?)?(?P<unit>{UNIT})(?![A-Za-z0-9/²³])",
        _quantity,
    ),
    _row(
        "DGK",
        "generation",
        rf"{LEFT}([1-9](?=[DG])|[248](?=K))([DGK]){RIGHT}",
        lambda found: f"{cardinal(found[1])}{found[2]}",
    ),
    _row(
        "kKMBbm",
        "magnitude",
        rf"(?P<number>{LEFT}{NUMBER})(?P<scale>[kKMB]|bn|mn)(?![A-Za-z0-9])",
        lambda found: _scaled(found["number"], found["scale"]),
    ),
    _row("第", "ordinal", r"第\s?([0-9]+)(?![0-9]|[.,:/][0-9])", lambda found: f"第{cardinal(found[1])}"),
    _row(
        "N№#",
        "reference",
        r"(?:(?<![A-Za-z.])No\.|№|#)\s?([0-9]+)(?![0-9]|[.,:/][0-9])",
        lambda found: f"第{cardinal(found[1])}号",
    ),
    _row(
        "-–~～—−至到",
        "range",
        rf"(?<![0-9A-Za-z-])(?P<number>{SIGNED}){DASH}(?P<upper>[-−]?{NUMBER}){RIGHT}(?!-[0-9])",
        _range,
    ),
    _row(
        "",
        "room or flight",
        rf"(?<![0-9A-Za-z.-])([A-Z]{{1,3}})([1-9][0-9]?)([A-Z]?){RIGHT}",
        lambda found: f"{found[1]}{cardinal(found[2])}{found[3]}",
    ),
    _row("2", "two of", rf"{LEFT}2([{MEASURES}])", lambda found: f"两{found[1]}"),
    _row(
        ",",
        "list of numbers",
        rf"{LEFT}[0-9]+(?:,[0-9]+)+{RIGHT}",
        lambda found: "，".join(map(cardinal, found[0].split(","))),
    ),
    _row("", "number", rf"{SIGNED}{RIGHT}", lambda found: signed(found[0].strip())),
    _row("½¼¾⅓⅔", "fraction of one character", "[½¼¾⅓⅔]", lambda found: GLYPHS[found[0]])._replace(needs_digit=False),
    _row("®™©", "silent mark", "[®™©]", lambda found: "")._replace(needs_digit=False),
    _row("&", "and", r"\s?&\s?", lambda found: "和")._replace(needs_digit=False),
)
