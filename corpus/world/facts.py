"""The word lists of the closed world and its timeless facts: clock, calendar, numbers, capitals, opposites, ..."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass


def words(text: str) -> tuple[str, ...]:
    """The words of a string."""
    return tuple(text.split())


NUMBERS = words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
DAYS = words("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = words("january february march april may june july august september october november december")
CAPITALS = {
    "france": "paris",
    "germany": "berlin",
    "italy": "rome",
    "spain": "madrid",
    "england": "london",
    "russia": "moscow",
    "china": "beijing",
    "japan": "tokyo",
    "egypt": "cairo",
    "greece": "athens",
    "cuba": "havana",
    "norway": "oslo",
    "portugal": "lisbon",
    "poland": "warsaw",
    "austria": "vienna",
    "ireland": "dublin",
}
OPPOSITES = (
    ("hot", "cold"),
    ("big", "small"),
    ("happy", "sad"),
    ("fast", "slow"),
    ("loud", "quiet"),
    ("wet", "dry"),
    ("early", "late"),
    ("full", "empty"),
    ("long", "short"),
    ("hard", "soft"),
)
LEGS = {"dog": "four", "horse": "four", "bird": "two", "duck": "two", "spider": "eight", "ant": "six"}
COLOURS_OF_THINGS = {
    "sky": "blue",
    "grass": "green",
    "snow": "white",
    "night": "black",
    "sun": "yellow",
    "blood": "red",
    "chocolate": "brown",
    "pig": "pink",
}
PEOPLE = words("tom anna peter lucy david mary")
COLOURS = words("red blue green yellow black white brown pink")
OBJECTS = words("ball book cup key coin apple lamp spoon")
ROOMS = words("kitchen garden car bedroom school")
PLACES = (*words("box basket drawer"), *ROOMS)


@dataclass(frozen=True)
class Fact:
    """A fact: all ways of stating it, all ways of asking for it, and its one right answer.

    Attributes:
        id: unique, e.g. ``"capital-france"``.
        topic: e.g. ``"capital"``; facts of a topic are asked in the same way.
        statements: sentences that state it; none for what holds only within a question's own context.
        phrasings: questions that ask for it.
        answer: the key, e.g. ``"paris"``.
        reply: a short sentence that ends in the key.
        stories: of a situation, the sentences that describe it; each phrasing begins with one of them.
        later: questions that ask for it after a story in an earlier turn of the dialogue.
    """

    id: str
    topic: str
    statements: tuple[str, ...]
    phrasings: tuple[str, ...]
    answer: str
    reply: str
    stories: tuple[str, ...] = ()
    later: tuple[str, ...] = ()


def timeless_facts() -> Iterator[Fact]:
    """Clock, calendar, numbers, capitals, opposites, legs and colours."""
    yield from clock_facts()
    yield from calendar_facts("day", DAYS, steps=3)
    yield from calendar_facts("month", MONTHS, steps=1)
    yield from sum_facts()
    yield from number_facts()
    yield from capital_facts()
    for pair in OPPOSITES:
        for word, other in (pair, pair[::-1]):
            stated = f"the opposite of {word} is {other}"
            asked = (
                f"what is the opposite of {word}",
                f"name the opposite of {word}",
                f"which word is the opposite of {word}",
            )
            yield Fact(
                f"opposite-{word}", "opposite", (stated, f"{other} is the opposite of {word}"), asked, other, stated
            )
    for animal, count in LEGS.items():
        stated = f"the {animal} has {count} legs"
        asked = (
            f"how many legs does the {animal} have",
            f"the {animal} has how many legs",
            f"how many legs has the {animal}",
        )
        yield Fact(f"legs-{animal}", "legs", (stated,), asked, f"{count} legs", stated)
    for thing, colour in COLOURS_OF_THINGS.items():
        stated = f"the {thing} is {colour}"
        yield Fact(f"colour-{thing}", "colour", (stated,), colour_questions(thing), colour, stated)


def colour_questions(thing: str) -> tuple[str, ...]:
    """The ways of asking for the colour of a thing."""
    return f"what color is the {thing}", f"which color is the {thing}", f"what is the color of the {thing}"


def clock_facts() -> Iterator[Fact]:
    """One to four hours after and before each full hour, on a clock of twelve."""
    for count, (relation, sign), hour in itertools.product(range(1, 5), (("after", 1), ("before", -1)), range(12)):
        span = f"{NUMBERS[count - 1]} {'hour' if count == 1 else 'hours'} {relation} {NUMBERS[hour]} o'clock"
        time = f"{NUMBERS[(hour + sign * count) % 12]} o'clock"
        yield Fact(
            f"clock-{count}-{relation}-{NUMBERS[hour]}",
            "clock",
            (f"{span} it is {time}", f"it is {time} {span}"),
            (f"what time is it {span}", f"what is {span}", f"{span} is what time"),
            time,
            f"it is {time}",
        )


def calendar_facts(unit: str, names: tuple[str, ...], steps: int) -> Iterator[Fact]:
    """The day (or month) after and before each one, and those up to ``steps`` further."""
    for (relation, sign), at in itertools.product((("after", 1), ("before", -1)), range(len(names))):
        name = names[at]
        for count in range(1, steps + 1):
            other = names[(at + sign * count) % len(names)]
            stated: tuple[str, ...] = (f"the {unit} {relation} {name} is {other}", f"{other} comes {relation} {name}")
            asked: tuple[str, ...] = (
                f"what {unit} comes {relation} {name}",
                f"which {unit} is {relation} {name}",
                f"what is the {unit} {relation} {name}",
                f"name the {unit} {relation} {name}",
            )
            if count > 1:
                span = f"{NUMBERS[count - 1]} {unit}s {relation} {name}"
                stated = (f"{span} it is {other}",)
                asked = (f"what {unit} is {span}", f"which {unit} comes {span}")
            yield Fact(f"{unit}-{count}-{relation}-{name}", unit, stated, asked, other, f"it is {other}")


def sum_facts() -> Iterator[Fact]:
    """a + b up to 9 + 9, and a - b up to 10."""
    for a, b in itertools.product(range(1, 10), repeat=2):
        yield from operation_fact("plus", a, b, a + b)
    for a in range(2, 11):
        for b in range(1, a):
            yield from operation_fact("minus", a, b, a - b)


def operation_fact(operation: str, a: int, b: int, result: int) -> Iterator[Fact]:
    """The fact about one sum or difference."""
    term, value = f"{NUMBERS[a - 1]} {operation} {NUMBERS[b - 1]}", NUMBERS[result - 1]
    asked = (f"what is {term}", f"how much is {term}", f"what does {term} make")
    stated = (f"{term} makes {value}", f"{term} is {value}")
    yield Fact(f"{operation}-{a}-{b}", operation, stated, asked, value, f"that makes {value}")


def number_facts() -> Iterator[Fact]:
    """The number after and before each one."""
    for at, (relation, sign) in itertools.product(range(20), (("after", 1), ("before", -1))):
        if 0 <= at + sign < 20:
            name, other = NUMBERS[at], NUMBERS[at + sign]
            yield Fact(
                f"number-{relation}-{name}",
                "number",
                (f"the number {relation} {name} is {other}",),
                (f"what number comes {relation} {name}", f"which number is {relation} {name}"),
                other,
                f"it is {other}",
            )


def capital_facts() -> Iterator[Fact]:
    """The capital of each country, and the country of each capital."""
    for country, city in CAPITALS.items():
        stated = f"the capital of {country} is {city}"
        asked = (
            f"what is the capital of {country}",
            f"which city is the capital of {country}",
            f"name the capital of {country}",
        )
        yield Fact(
            f"capital-{country}", "capital", (stated, f"{city} is the capital of {country}"), asked, city, stated
        )
        stated = f"{city} is in {country}"
        asked = (f"which country has the capital {city}", f"what country is {city} in", f"where is {city}")
        yield Fact(f"country-{city}", "country", (stated,), asked, country, stated)
