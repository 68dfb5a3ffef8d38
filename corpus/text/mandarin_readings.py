"""Readers of the semantic classes of Mandarin, and the names of what they read: currencies, units, measure words."""

from __future__ import annotations

import re

from .mandarin_numbers import DIGITS, NUMBER, POWERS, SIGNS, SUPERSCRIPTS, cardinal, counted, scaled, signed, spelt
from .semantic_classes import spell_out

HAN = "\u3400-\u4dbf\u4e00-\u9fff"
MEASURES = (
    "[个只条张本位名家件座辆台把块杯瓶岁天年次倍种群双头匹篇部间层碗份首句周点万亿千元米升斤吨秒]|公[里斤升]|小时|分钟|"
    "[千厘毫平]米|千克"
)
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
CURRENCIES = {"$": "美元", "US$": "美元", "HK$": "港元", "£": "英镑", "€": "欧元", "¥": "元", "₩": "韩元", "₹": "卢比",
              "A$": "澳元", "AU$": "澳元", "C$": "加元", "CA$": "加元", "NZ$": "新西兰元", "S$": "新加坡元",
              "NT$": "新台币", "R$": "雷亚尔", "₽": "卢布", "฿": "泰铢"}  # fmt: skip
CODES = {"USD": "美元", "EUR": "欧元", "GBP": "英镑", "CNY": "元", "RMB": "元", "JPY": "日元", "HKD": "港元",
         "AUD": "澳元", "CAD": "加元"}  # fmt: skip
OPERATORS = {"+": "加", "-": "减", "−": "减", "×": "乘", "*": "乘", "x": "乘", "÷": "除以", "/": "除以", "=": "等于"}
PIECES = {"K": "王", "Q": "后", "R": "车", "B": "象", "N": "马", "x": "吃", "+": "将军", "#": "将杀", "=": "升变"}
GLYPHS = {"½": "二分之一", "¼": "四分之一", "¾": "四分之三", "⅓": "三分之一", "⅔": "三分之二"}
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


def read_date(found: Match) -> str | None:
    """2024-03-05T10:30 -> 二零二四年三月五日十点三十分; None where there is no such month or day."""
    month, day = int(found["month"]), int(found["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    said = f"{spelt(found['year'])}年{cardinal(str(month))}月{cardinal(str(day))}日"
    return f"{said}{clock(found['hour'], found['minute'])}" if found["hour"] else said


def decade(digits: str) -> str:
    """90 -> 九十, 00 -> 零零."""
    return spelt(digits) if digits == "00" else cardinal(digits)


def clock(hour: str, minute: str, second: str | None = None) -> str:
    """An hour, its minutes and seconds if any: 10:05 -> 十点零五分."""
    said = f"{counted(str(int(hour)))}点"
    if int(minute) or second:
        said += f"{'零' if int(minute) < 10 else ''}{cardinal(str(int(minute)))}分"
    return f"{said}{cardinal(str(int(second)))}秒" if second else said


def read_money(found: Match) -> str:
    """$5M -> 五百万美元; of a range, a magnitude in letters holds for both ends."""
    groups = found.groupdict()
    currency = CURRENCIES[groups["sign"]] if groups.get("sign") else CODES[groups["code"]]
    scale, upper_scale = (found[name] and found[name].strip() for name in ("scale", "upper_scale"))
    if upper_scale in POWERS:
        scale = scale or upper_scale
    minus = SIGNS[found["minus"].strip()] if groups.get("minus") else ""
    if not found["upper"]:
        return f"{minus}{scaled(found['number'], scale)}{currency}"
    low = scaled(found["number"], scale)
    return f"{minus}{low}到{scaled(found['upper'], upper_scale)}{currency}"


def read_percent(found: Match) -> str:
    """5%-10% -> 百分之五到百分之十."""
    parts = "千分之" if found["mark"] == "‰" else "百分之"
    number = found["number"]
    sign = SIGNS.get(number[:1], "")
    first = f"{sign}{parts}{cardinal(number[1:].strip() if sign else number)}"
    if not found["upper"]:
        return first
    return f"{first}到{parts if found['own'] else ''}{cardinal(found['upper'])}"


def read_quantity(found: Match) -> str:
    """5-10kg -> 五到十公斤."""
    name = UNITS[found["unit"]]
    if found["upper"]:
        return f"{counted(found['number'])}到{counted(found['upper'])}{name}"
    return f"{counted(found['number'])}{name}"


def read_tolerance(found: Match) -> str:
    """5±2kg -> 五正负二公斤."""
    unit = UNITS.get(found["unit"], "") if found["unit"] else ""
    return f"{signed(found['number'])}正负{cardinal(found['tolerance'])}{unit}"


def read_temperature(found: Match) -> str:
    """-5℃ -> 零下五摄氏度."""
    name = TEMPERATURES[found["unit"]]
    first, upper = signed(found["number"], "零下"), found["upper"]
    return f"{first}{name if found['own'] else ''}到{signed(upper, '零下')}{name}" if upper else f"{first}{name}"


def read_range(found: Match) -> str:
    """5-10 -> 五到十; of two whole numbers the larger first, it is a score: 3-1 -> 三比一."""
    low, high = found["number"], found["upper"]
    if re.match(rf"\s?(?:{MEASURES})", found.string[found.end() : found.end() + 3]):
        return f"{counted(low)}到{counted(high)}"
    is_score = "." not in low + high and low.isdigit() and high.isdigit() and int(low) >= int(high) and int(low) < 1000
    return f"{signed(low)}{'比' if is_score else '到'}{signed(high)}"


def read_dash(found: Match) -> str | None:
    """The dash between two figures of one measure ("5万-10万", "5月1日-3日"); otherwise it is a sign ("3天-5度")."""
    before = re.search(f"[0-9](?P<measure>[{HAN}]{{1,3}})$", found.string[max(0, found.start() - 4) : found.start()])
    after = re.match(f"{NUMBER}(?P<measure>[{HAN}]+)", found.string[found.end() : found.end() + 24])
    if not before or not after:
        return None
    is_one = after["measure"].startswith(before["measure"])
    is_time = before["measure"][-1] in "年月日号点时分" and after["measure"][0] in "年月日号点时分"
    return "到" if is_one or is_time else None


def read_magnitudes(found: Match) -> str:
    """5-10k -> 五千到一万."""
    return f"{scaled(found['number'], found['own'] or found['scale'])}到{scaled(found['upper'], found['scale'])}"


def read_more(found: Match) -> str:
    """ "100+" -> 一百多, "18+" -> 十八加."""
    is_round = found["number"].endswith("0") or found["scale"]
    return f"{scaled(found['number'], found['scale'])}{'多' if is_round else '加'}"


def read_scientific(found: Match) -> str:
    """1.5e-9 -> 一点五乘以十的负九次方."""
    exponent = (found["caret"] or found["raised"] or found["e"]).translate(SUPERSCRIPTS).removeprefix("+")
    return f"{signed(found['number'])}乘以十的{signed(exponent)}次方"


def read_equation(found: Match) -> str:
    """3+5=8 -> 三加五等于八."""
    return "".join(OPERATORS.get(part) or cardinal(part) for part in re.findall(rf"{NUMBER}|[-+×*÷/=−x]", found[0]))


def read_chess(found: Match) -> str:
    """Nf3 -> 马f三."""
    return "".join(PIECES.get(sign) or (cardinal(sign) if sign.isdigit() else sign) for sign in found[0])


def read_network_address(found: Match) -> str:
    """10.0.0.1:80 -> 一零点零点零点一端口八零."""
    said = "点".join(spelt(part) for part in found["parts"].split("."))
    return f"{said}端口{spelt(found['port'])}" if found["port"] else said


def read_version(found: Match) -> str:
    """v2.4.1 -> 版本二点四点一."""
    said = "点".join(cardinal(part) for part in found["parts"].split("."))
    if cue := found.groupdict().get("cue"):
        return f"{cue}{said}"
    is_named = found.string[: found.start()].endswith("版本") or found.string.startswith("版", found.end())
    return f"版本{said}" if found["v"] and not is_named else said
