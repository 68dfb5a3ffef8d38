"""Situations ("who put what where") described within a question, their sentences, and little stories."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from .facts import COLOURS, DAYS, MONTHS, NUMBERS, OBJECTS, PEOPLE, PLACES, ROOMS, Fact, colour_questions


def situation_facts(rng: random.Random, situations: int) -> Iterator[Fact]:
    """Facts about who put what where, who has what and what was moved, described within the questions."""
    puts = rng.sample(list(itertools.product(PEOPLE, COLOURS, OBJECTS, PLACES)), situations)
    for number, (person, colour, thing, place) in enumerate(puts):
        yield from put_facts(number, person, colour, thing, place)
    pairs = itertools.product(itertools.permutations(PEOPLE, 2), itertools.permutations(OBJECTS, 2))
    for number, ((one, other), (thing, second)) in enumerate(rng.sample(list(pairs), situations * 3 // 4)):
        story = f"{one} has the {thing} and {other} has the {second}"
        asked, held = rng.choice(((one, thing), (other, second)))
        has = (f"{story} who has the {held}", f"{story} who has the {held} now")
        yield Fact(f"holder-{number}", "holder", (), has, asked, f"it is {asked}")
        have = (f"{story} what does {asked} have", f"{story} what does {asked} have now")
        yield Fact(f"held-{number}", "held", (), have, held, f"{asked} has the {held}")
    moves = itertools.product(PEOPLE, OBJECTS, itertools.permutations(PLACES, 2))
    for number, (person, thing, (place, target)) in enumerate(rng.sample(list(moves), situations * 3 // 4)):
        yield from move_facts(number, person, thing, place, target)


def put_facts(number: int, person: str, colour: str, thing: str, place: str) -> Iterator[Fact]:
    """The place of a thing, its colour, and the person who put it there."""
    put, left = stories = tuple(f"{person} {verb} the {colour} {thing} in the {place}" for verb in ("put", "left"))
    where = (f"{put} where is the {thing}", f"{left} where is the {thing}", f"{put} where is the {thing} now")
    reply = f"the {thing} is in the {place}"
    yield Fact(f"where-{number}", "where", (), where, place, reply, stories, ("where is it", "where is it now"))
    what, which, _ = colour_questions(thing)
    tint = (f"{put} {what}", f"{left} {what}", f"{put} {which}")
    later = ("what color is it", "which color is it")
    yield Fact(f"tint-{number}", "tint", (), tint, colour, f"the {thing} is {colour}", stories, later)
    who = (f"{put} who was it", f"{left} who was it", f"{put} who put it there")
    later = ("who was it", "who put it there")
    yield Fact(f"who-{number}", "who", (), who, person, f"it was {person}", stories, later)


def move_facts(number: int, person: str, thing: str, place: str, target: str) -> Iterator[Fact]:
    """The place of a thing that was moved; in a later turn, the person who moved it."""
    stories = (f"{person} moved the {thing} from the {place} into the {target}",)
    now = tuple(f"{stories[0]} {asked}" for asked in ("where is it", "where is it now"))
    reply = f"the {thing} is in the {target}"
    yield Fact(f"moved-{number}", "moved", (), now, target, reply, stories, ("where is it", "where is it now"))
    yield Fact(f"mover-{number}", "mover", (), (), person, f"it was {person}", stories, ("who moved it",))


def situation_statements(rng: random.Random, count: int) -> Iterator[str]:
    """Sentences of the kinds that situations and stories are made of."""
    kinds = (put_sentence, found_sentence, moved_sentence, place_sentence, went_sentence, feeling_sentence)
    for number in range(count):
        person, colour, thing = rng.choice(PEOPLE), rng.choice(COLOURS), rng.choice(OBJECTS)
        place, target = rng.sample(PLACES, 2)
        yield kinds[number % len(kinds)](rng, person, colour, thing, place, target)


def put_sentence(rng: random.Random, person: str, colour: str, thing: str, place: str, _: str) -> str:
    """E.g. "tom put the red ball in the box"."""
    return f"{person} {rng.choice(('put', 'left'))} the {colour} {thing} in the {place}"


def found_sentence(rng: random.Random, person: str, colour: str, thing: str, _: str, __: str) -> str:
    """E.g. "tom found a red ball"."""
    return f"{person} {rng.choice(('found', 'had'))} a {colour} {thing}"


def moved_sentence(rng: random.Random, person: str, _: str, thing: str, place: str, target: str) -> str:
    """E.g. "then tom moved the ball from the box into the car"."""
    return f"{rng.choice(('then ', ''))}{person} moved the {thing} from the {place} into the {target}"


def place_sentence(rng: random.Random, _: str, __: str, thing: str, place: str, ___: str) -> str:
    """E.g. "now the ball is in the box"."""
    return f"{rng.choice(('now ', ''))}the {thing} is in the {place}"


def went_sentence(rng: random.Random, person: str, *_: str) -> str:
    """E.g. "tom went into the garden"."""
    return f"{person} {rng.choice(('went into', 'was in'))} the {rng.choice(ROOMS)}"


def feeling_sentence(rng: random.Random, person: str, *_: str) -> str:
    """E.g. "tom was happy"."""
    return f"{person} was {rng.choice(('happy', 'sad', 'early', 'late', 'quiet'))}"


def story(rng: random.Random) -> list[str]:
    """A story of three to six sentences: a thing is found, put away, perhaps moved, and in the end it is there."""
    person, other = rng.sample(PEOPLE, 2)
    colour, thing, (place, target) = rng.choice(COLOURS), rng.choice(OBJECTS), rng.sample(PLACES, 2)
    opening = [f"it was {rng.choice(DAYS + MONTHS)}", went_sentence(rng, person), feeling_sentence(rng, person)]
    sentences = rng.sample(opening, rng.choice((0, 1, 1, 2)))
    sentences.append(f"{person} {rng.choice(('found', 'had'))} a {colour} {thing}")
    sentences.append(f"{person} {rng.choice(('put', 'left'))} the {colour} {thing} in the {place}")
    if rng.random() < 0.6:
        sentences.append(f"then {rng.choice((person, other))} moved the {thing} from the {place} into the {target}")
        place = target
    elif rng.random() < 0.3:
        sentences.append(f"the {thing} is {colour}")
    return [*sentences, f"now the {thing} is in the {place}"]


def clock_story(rng: random.Random) -> list[str]:
    """A story by the clock: a person is in one room at one hour and in another some hours later."""
    person, (room, target) = rng.choice(PEOPLE), rng.sample(ROOMS, 2)
    hour, count = rng.randrange(12), rng.randrange(1, 5)
    span = f"{NUMBERS[count - 1]} {'hour' if count == 1 else 'hours'} after {NUMBERS[hour]} o'clock"
    return [
        f"it was {NUMBERS[hour]} o'clock",
        f"{person} was in the {room}",
        f"{person} went into the {target}",
        f"{span} it is {NUMBERS[(hour + count) % 12]} o'clock",
        f"now {person} is in the {target}",
    ]
