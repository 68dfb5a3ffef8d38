"""Readers of the semantic classes of English, and the names of what they read: months, currencies, units, pieces."""

from __future__ import annotations

import re

from .english_numbers import NUMBER, SIGNS, cardinal, figures, fraction, ordinal, plain, power, signed, spelt, year
from .semantic_classes import alternatives, spell_out

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
CURRENCIES = {
    "$": ("dollar", "cent"), "US$": ("dollar", "cent"), "A$": ("Australian dollar", "cent"),
    "C$": ("Canadian dollar", "cent"), "HK$": ("Hong Kong dollar", "cent"), "£": ("pound", "penny"),
    "US $": ("dollar", "cent"), "AU$": ("Australian dollar", "cent"), "CA$": ("Canadian dollar", "cent"),
    "NZ$": ("New Zealand dollar", "cent"), "S$": ("Singapore dollar", "cent"), "NT$": ("New Taiwan dollar", ""),
    "R$": ("Brazilian real", "centavo"), "₽": ("ruble", "kopeck"), "₱": ("peso", "centavo"), "฿": ("baht", ""),
    "€": ("euro", "cent"), "¥": ("yen", ""), "₹": ("rupee", "paisa"), "₩": ("won", ""),
    "USD": ("dollar", "cent"), "EUR": ("euro", "cent"), "GBP": ("pound", "penny"), "JPY": ("yen", ""),
    "CNY": ("yuan", ""), "RMB": ("yuan", ""), "CHF": ("Swiss franc", ""), "AUD": ("Australian dollar", "cent"),
    "CAD": ("Canadian dollar", "cent"), "HKD": ("Hong Kong dollar", "cent"), "INR": ("rupee", "paisa"),
}  # fmt: skip
SCALES = {
    "k": "thousand", "K": "thousand", "M": "million", "m": "million", "mn": "million", "MM": "million",
    "mln": "million", "B": "billion", "b": "billion", "bn": "billion", "T": "trillion", "tn": "trillion",
    "trn": "trillion", "BN": "billion", "Bn": "billion", "Mn": "million", "MLN": "million",
}  # fmt: skip
UNITS = {
    "km/h": "kilometers per hour", "m/s": "meters per second", "m/s²": "meters per second squared",
    "mph": "miles per hour", "kg/m³": "kilograms per cubic meter", "mg/dL": "milligrams per deciliter",
    "km²": "square kilometers", "m²": "square meters", "cm²": "square centimeters", "m³": "cubic meters",
    "cm³": "cubic centimeters", "km": "kilometers", "cm": "centimeters", "mm": "millimeters", "µm": "micrometers",
    "μm": "micrometers", "nm": "nanometers", "m": "meters", "kg": "kilograms", "mg": "milligrams", "g": "grams",
    "ml": "milliliters", "mL": "milliliters", "L": "liters", "ft": "feet", "mi": "miles", "yd": "yards",
    "lbs": "pounds", "lb": "pounds", "oz": "ounces", "GB": "gigabytes", "MB": "megabytes", "KB": "kilobytes",
    "kB": "kilobytes", "TB": "terabytes", "Mbps": "megabits per second", "Gbps": "gigabits per second",
    "GHz": "gigahertz", "MHz": "megahertz", "kHz": "kilohertz", "Hz": "hertz", "kWh": "kilowatt hours",
    "kW": "kilowatts", "MW": "megawatts", "W": "watts", "kV": "kilovolts", "V": "volts", "mA": "milliamps",
    "mAh": "milliamp hours", "dB": "decibels", "rpm": "revolutions per minute", "kcal": "kilocalories",
    "hPa": "hectopascals", "kPa": "kilopascals", "psi": "pounds per square inch", "ms": "milliseconds",
    "min": "minutes", "mins": "minutes", "hrs": "hours", "hr": "hours", "h": "hours", "sec": "seconds", "s": "seconds",
    "°C": "degrees celsius", "° C": "degrees celsius", "℃": "degrees celsius", "°F": "degrees fahrenheit",
    "° F": "degrees fahrenheit", "℉": "degrees fahrenheit", "°": "degrees", "%": "percent", "‰": "per mille",
    "″": "inches", "MB/s": "megabytes per second", "GB/s": "gigabytes per second",
}  # fmt: skip
CARELESS_UNITS = {"KM": "km", "Km": "km", "KM/H": "km/h", "KG": "kg", "Kg": "kg", "KGS": "kg", "kgs": "kg", "CM": "cm",
                  "ML": "ml", "GHZ": "GHz", "Ghz": "GHz", "MHZ": "MHz", "Mhz": "MHz", "KHZ": "kHz", "KHz": "kHz",
                  "KWH": "kWh", "DB": "dB"}  # fmt: skip
UNITS |= {name: UNITS[unit] for name, unit in CARELESS_UNITS.items()}
RATES = {"kg": "kilogram", "lb": "pound", "oz": "ounce", "h": "hour", "hr": "hour", "min": "minute", "km": "kilometer",
         "mi": "mile", "gal": "gallon", "mo": "month", "yr": "year", "wk": "week"}  # fmt: skip
NEVER_PLURAL = {"hertz", "gigahertz", "megahertz", "kilohertz", "percent", "per mille"}
SINGULARS = {"feet": "foot", "inches": "inch"}
REFERENCES = {
    "No.": "number", "Nos.": "numbers", "no.": "number", "nos.": "numbers", "№": "number", "#": "number",
    "p.": "page", "pp.": "pages", "Fig.": "figure", "Figs.": "figures", "fig.": "figure", "Vol.": "volume",
    "vol.": "volume", "Ch.": "chapter", "ch.": "chapter", "Sec.": "section", "sec.": "section", "Eq.": "equation",
    "Art.": "article", "§": "section", "§§": "sections",
}  # fmt: skip
GLYPHS = {"½": (1, 2), "¼": (1, 4), "¾": (3, 4), "⅓": (1, 3), "⅔": (2, 3), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8)}
OPERATORS = {"+": "plus", "-": "minus", "−": "minus", "×": "times", "*": "times", "x": "times", "÷": "divided by",
             "/": "divided by"}  # fmt: skip
PIECES = {"K": "king", "Q": "queen", "R": "rook", "B": "bishop", "N": "knight"}
COMPASS = {"N": "north", "S": "south", "E": "east", "W": "west"}
SYMBOLS = {"&": "and", "+": "plus", "=": "equals", "×": "times", "÷": "divided by", "@": "at", "%": "percent"}
SPELT_SYMBOLS = SYMBOLS | {
    ".": "point", "-": "dash", "−": "minus", "/": "slash", "\\": "backslash", "_": "underscore", "#": "hash",
    "*": "star", "$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "^": "caret", "~": "tilde", "<": "less than",
    ">": "more than", "|": "bar", "°": "degrees", ":": "colon", "→": "to", "≠": "is not", "√": "root of",
    "²": "squared", "³": "cubed", "∞": "infinity",
}  # fmt: skip

Match = re.Match[str]

SCALE_WORDS = "thousand|million|billion|trillion|lakh|crore"
ENDS_A_FIGURE = re.compile(
    rf"[0-9{''.join(GLYPHS)}]\s?$|[0-9]\s?(?:{SCALE_WORDS}|{alternatives(UNITS)}|{alternatives(SCALES)})\s?$"
)


def spell_english(text: str) -> str:
    """A token that no class reads, part by part: "x86-64" -> "x eight six dash six four"."""
    return spell_out(text, [spelt(digit) for digit in "0123456789"], SPELT_SYMBOLS, " ")


def _counted(name: str, number: str) -> str:
    """A plural name as it follows a number."""
    if number.lstrip("".join(SIGNS)).strip() != "1" or name in NEVER_PLURAL:
        return name
    first, *rest = name.split(" ")
    if first in ("square", "cubic"):
        return " ".join([first, *(word.removesuffix("s") for word in rest)])
    return " ".join([SINGULARS.get(first, first.removesuffix("s")), *rest])


def plural(word: str, number: str) -> str:
    """The name of a coin or note as it follows a number."""
    if number in ("1", "1.0"):
        return word
    return {"penny": "pence", "yen": "yen", "yuan": "yuan", "won": "won", "paisa": "paise", "baht": "baht"}.get(
        word, f"{word}s"
    )


def _amount(currency: str, number: str, scale: str | None) -> str:
    main, part = CURRENCIES[currency]
    number = figures(number)
    whole, _, decimals = number.partition(".")
    if scale:
        return f"{cardinal(number)} {SCALES.get(scale, scale)} {plural(main, '2')}"
    if part and len(decimals) == 2:
        cents = f"{cardinal(str(int(decimals)))} {plural(part, str(int(decimals)))}"
        if whole in ("", "0") and decimals != "00":
            return cents
        dollars = f"{cardinal(whole)} {plural(main, whole)}"
        return dollars if decimals == "00" else f"{dollars} and {cents}"
    return f"{cardinal(number)} {plural(main, number)}"


def read_money(found: Match) -> str:
    """ "$5M", "-$5", "$5-10": a range names the currency once."""
    groups = found.groupdict()
    currency = groups.get("sign") or groups["behind"]
    sign = (groups.get("minus") or "").strip()
    number = found["number"]
    if number[0] in "-−":
        sign, number = "-", number[1:]
    before = f"{SIGNS[sign]} " if sign else ""
    scale, upper_scale = ((groups.get(name) or "").strip(" -\n") or None for name in ("scale", "upper_scale"))
    if not found["upper"]:
        return before + _amount(currency, number, scale)
    low = f"{cardinal(number)}{' ' + SCALES.get(scale, scale) if scale and scale != upper_scale else ''}"
    return f"{before}{low} to {_amount(currency, found['upper'], upper_scale or scale)}"


def month_number(name: str) -> int:
    """ "Sept." -> 9."""
    return next(number for number, month in enumerate(MONTHS, 1) if month[:3] == name[:3])


def read_numeric_date(found: Match) -> str | None:
    """ "2024-03-05T10:30", "3/5/2024"; None where there is no such month or day."""
    month, day = int(found["month"]), int(found["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    said = f"{MONTHS[month - 1]} {ordinal(day)} {year(found['year'])}"
    if found.groupdict().get("hour"):
        said += f" {clock(found['hour'], found['minute'], None)}"
    return said


def read_day_of_month(found: Match) -> str:
    """ "5-7 March 2020" -> "the fifth to seventh of March twenty twenty"."""
    last = f" to {ordinal(found['last'])}" if found["last"] else ""
    month = MONTHS[month_number(found["month"]) - 1]
    return f"{found['the'] or 'the '}{ordinal(found['day'])}{last} of {month}{_year_after(found)}"


def read_month_day(found: Match) -> str:
    """ "Jan. 5" -> "January fifth"."""
    last = f" to {ordinal(found['last'])}" if found["last"] else ""
    return f"{MONTHS[month_number(found['month']) - 1]} {ordinal(found['day'])}{last}{_year_after(found)}"


def _year_after(found: Match) -> str:
    return f" {year(found['year'])}" if found["year"] else ""


def read_european_date(found: Match) -> str | None:
    """ "5.3.2019" -> "the fifth of March twenty nineteen"."""
    month, day = int(found["month"]), int(found["day"])
    is_date = 1 <= month <= 12 and 1 <= day <= 31
    return f"the {ordinal(day)} of {MONTHS[month - 1]} {year(found['year'])}" if is_date else None


def clock(hour: str, minute: str | None, half: str | None) -> str:
    """An hour, its minutes if any, and the half of the day."""
    after = f" {' '.join(half.replace('.', '').lower())}" if half else ""
    if minute is None or int(minute) == 0:
        return f"{cardinal(str(int(hour)))}{after or ' o’clock'}"
    return f"{cardinal(str(int(hour)))} {'oh ' if int(minute) < 10 else ''}{cardinal(str(int(minute)))}{after}"


def read_time(found: Match) -> str | None:
    """ "10:30-11:00 a.m."; None where there is no such hour."""
    groups = found.groupdict()
    if int(found["hour"]) > 24 or int(groups.get("to_hour") or 0) > 24:
        return None
    first = clock(found["hour"], groups["minute"], groups["half"])
    if not groups.get("to_hour"):
        return first
    if not groups["half"] and groups["minute"] is None and groups["to_half"]:
        first = cardinal(found["hour"])
    return f"{first} to {clock(found['to_hour'], groups['to_minute'], groups['to_half'])}"


def read_duration(found: Match) -> str:
    """ "10:30:15" -> "ten thirty and fifteen seconds"."""
    seconds = int(found[3])
    said = clock(found[1], found[2], None).removesuffix(" o’clock")
    return f"{said} and {cardinal(str(seconds))} second{'s' * (seconds != 1)}"


def read_unit(found: Match) -> str:
    """ "-5 °C", "5-10 kg": a range names its unit once."""
    name = UNITS[found["unit"]]
    upper, first = found["upper"], found["number"]
    own = found.groupdict().get("own_unit")
    if not upper:
        return f"{signed(first)} {_counted(name, first)}"
    own_name = f" {_counted(UNITS[own], first)}" if own and UNITS[own] != name else ""
    return f"{signed(first)}{own_name} to {signed(upper)} {name}"


def read_tolerance(found: Match) -> str:
    """ "5 ± 2 kg" -> "five plus or minus two kilograms"."""
    own, unit, tolerance = found["own_unit"], found["unit"], found["tolerance"]
    first = f"{signed(found['number'])}{' ' + _counted(UNITS[own], found['number']) if own else ''}"
    return f"{first} plus or minus {cardinal(tolerance)}{' ' + _counted(UNITS[unit], tolerance) if unit else ''}"


def read_range(found: Match) -> str:
    """ "5-10" -> "five to ten", "5M-10M" -> "five to ten million"."""
    groups = found.groupdict()
    own, scale = groups.get("own_scale"), groups.get("scale")
    if not scale:
        return f"{plain(found['number'])} to {plain(found['upper'])}"
    own_scale = f" {SCALES[own]}" if own and own != scale else ""
    return f"{signed(found['number'])}{own_scale} to {signed(found['upper'])} {SCALES[scale]}"


def read_dash(found: Match) -> str | None:
    """The dash between two readings, as of "1/2-3/4", "$5 million-$6 million"; None where no figure ends before it."""
    return " to " if ENDS_A_FIGURE.search(found.string, max(0, found.start() - 30), found.start()) else None


def read_rate(found: Match) -> str:
    """ "/month" -> " per month", "/kg" -> " per kilogram"."""
    return f" per {found[1] or RATES[found['short']]}"


def read_dimensions(found: Match) -> str:
    """ "5x10 cm" -> "five by ten centimeters"."""
    sizes = " by ".join(cardinal(part) for part in re.findall(NUMBER, found["sizes"]))
    return f"{sizes} {UNITS[found['unit']]}" if found["unit"] else sizes


def read_address(found: Match) -> str:
    """ "10.0.0.1:80" -> "one zero dot zero dot zero dot one port eight zero"."""
    said = " dot ".join(spelt(part) for part in found["parts"].split("."))
    if found["port"]:
        said += f" port {spelt(found['port'])}"
    return f"{said} slash {cardinal(found['mask'])}" if found["mask"] else said


def read_version(found: Match) -> str:
    """ "v2.4.1" -> "version two point four point one"."""
    said = " point ".join(cardinal(part) for part in found["parts"].split("."))
    if cue := found.groupdict().get("cue"):
        return f"{cue}{said}"
    is_named = found.string[: found.start()].lower().endswith("version ")
    return f"version {said}" if found["v"] and not is_named else said


def read_digit_groups(found: Match) -> str:
    """Groups of digits, as of a telephone number, with the words before them."""
    groups = found.groupdict()
    digits = re.findall("[0-9]+", groups["digits"] or groups["own"])
    is_triple = len(digits) == 3 and all(re.fullmatch("[1-9]?[0-9]", one) for one in digits)  # measures, a formation
    said = ", ".join(map(cardinal if is_triple else spelt, digits))
    return f"{groups.get('cue') or ''}{'plus ' if groups.get('plus') else ''}{said}"


def read_scientific(found: Match) -> str:
    """ "6.02e23" -> "six point zero two times ten to the power of twenty three"."""
    return f"{signed(found['number'])} times ten {power(found['exponent'])}"


def read_equation(found: Match) -> str:
    """ "2+2=4" -> "two plus two equals four"."""
    said = [
        OPERATORS.get(part, "equals" if part == "=" else "") or signed(part)
        for part in re.split(r"\s+", re.sub(r"\s*([×*÷/+=−x])\s*|(?<=[0-9])\s*(-)\s*", r" \1\2 ", found[0]))
    ]
    return " ".join(said)


def read_chess(found: Match) -> str:
    """ "Nxf7+" -> "knight takes f seven check"."""
    move = found[0]
    if move.startswith("O-O"):
        return "castles queenside" if move.startswith("O-O-O") else "castles kingside"
    said = [PIECES[move[0]]] if move[0] in PIECES else []
    for letter in move[len(said) :]:
        said.append(
            {"x": "takes", "+": "check", "#": "mate", "=": "promotes to"}.get(letter)
            or PIECES.get(letter)
            or (cardinal(letter) if letter.isdigit() else letter)
        )
    return " ".join(said)


def read_list(found: Match) -> str | None:
    """ "1,2,3" -> "one, two, three"; None for groups of three digits, which are one number."""
    is_one = re.fullmatch(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+", found[0])
    return None if is_one else ", ".join(map(cardinal, found[0].split(",")))


def read_symbol(found: Match) -> str:
    """A sign within a text, between spaces."""
    return f" {SYMBOLS[found[0]]}{'' if re.match(r'[,.;:!?)]|$', found.string[found.end() :]) else ' '}"


def read_mixed_fraction(found: Match) -> str:
    """ "1 1/2", "1½" -> "one and a half"."""
    top, bottom = GLYPHS[found[4]] if found[4] else (int(found[2]), int(found[3]))
    part = "a half" if (top, bottom) == (1, 2) else fraction(top, bottom)
    return f"{cardinal(found[1])} and {part}"


def read_coordinates(found: Match) -> str:
    """ "40°26′N" -> "forty degrees twenty six minutes north"."""
    minutes = f" {cardinal(found['minutes'])} minutes" if found["minutes"] else ""
    return f"{cardinal(found['degrees'])} degrees{minutes} {COMPASS[found['side']]}"


def read_letters_and_number(found: Match) -> str | None:
    """ "CO2" -> "C O two"."""
    return f"{' '.join(found[1])} {cardinal(found[2])}{' ' + ' '.join(found[3]) if found[3] else ''}"


def read_scaled(found: Match) -> str:
    """ "5M" -> "five million"."""
    scale = SCALES.get(found["scale"].strip(" -"), found["scale"].strip(" -"))
    return f"{signed(found['number'])} {scale}"


def read_domain(found: Match) -> str:
    """An address of mail or the web: "a@b.org" -> "a at b dot org"."""
    names = {".": " dot ", "@": " at ", "-": " dash ", "/": " slash ", "_": " underscore ", "+": " plus "}
    parts = re.findall(r"[0-9]+|[A-Za-z]+|[.@/_+-]", found[0])
    return re.sub(
        " +", " ", "".join(names.get(part) or (f" {spelt(part)} " if part.isdigit() else part) for part in parts)
    ).strip()
