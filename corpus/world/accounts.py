"""Accounts: spoken requests that tell a situation at once, and replies that tell it again in sentences of their own.

::

    request   tom was in the garden found a red ball and put it in the box who put what where
    reply     tom was in the garden tom found a red ball tom put the red ball in the box the ball is red
              now the ball is in the box

Replies have 29 or 30 words, where those to the world's questions have at most eight: long enough that a reply in
blocks of text and speech alternates (`lm.data.reply_format`). All words are the closed world's. A situation is who put
which thing where: ``tom red ball box``.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .facts import COLOURS, OBJECTS, PEOPLE, PLACES, ROOMS
from .sentence_index import SentenceIndex

SLOTS = frozenset((*PEOPLE, *COLOURS, *OBJECTS, *PLACES))
VERBS = ("put", "left")
ASKED = ("who put what where", "who put what where now")


class Situation(NamedTuple):
    """A person, a colour, a thing and the place it was put in."""

    person: str
    colour: str
    thing: str
    place: str

    def sentence(self, verb: str) -> str:
        """The sentence that tells it; ``verb`` is one of `VERBS`."""
        return f"{self.person} {verb} the {self.colour} {self.thing} in the {self.place}"


SITUATIONS = tuple(Situation(*one) for one in itertools.product(PEOPLE, COLOURS, OBJECTS, PLACES))


@dataclass(frozen=True)
class Account:
    """A request and its reply.

    Attributes:
        situation: of both.
        topic: ``put``, or ``moved`` where the thing is moved in the end.
        statement: the words of the request before it asks.
        asked: one of `ASKED`.
        sentences: of the reply; the last word is the place of the thing.
    """

    situation: Situation
    topic: str
    statement: str
    asked: str
    sentences: tuple[str, ...]

    @property
    def request(self) -> str:
        """The words of the request."""
        return f"{self.statement} {self.asked}"

    @property
    def reply(self) -> str:
        """The words of the reply."""
        return " ".join(self.sentences)


def slot_words(text: str) -> list[str]:
    """The persons, colours, things and places of plain words, in their order."""
    return [word for word in text.split() if word in SLOTS]


def put_account(situation: Situation, rng: random.Random) -> Account:
    """A person in a room finds a thing and puts it away."""
    person, colour, thing, place = situation
    found, put = rng.choice(("found", "had")), rng.choice(VERBS)
    room = rng.choice([room for room in ROOMS if room != place])
    return Account(
        situation,
        "put",
        f"{person} was in the {room} {found} a {colour} {thing} and {put} it in the {place}",
        rng.choice(ASKED),
        (
            f"{person} was in the {room}",
            f"{person} {found} a {colour} {thing}",
            situation.sentence(put),
            f"the {thing} is {colour}",
            f"now the {thing} is in the {place}",
        ),
    )


def moved_account(situation: Situation, rng: random.Random) -> Account:
    """A person puts a thing away, and another one moves it."""
    person, colour, thing, place = situation
    put = rng.choice(VERBS)
    mover = rng.choice([one for one in PEOPLE if one != person])
    target = rng.choice([one for one in PLACES if one != place])
    return Account(
        situation,
        "moved",
        f"{person} {put} a {colour} {thing} in the {place} then {mover} moved it into the {target}",
        rng.choice(ASKED),
        (
            situation.sentence(put),
            f"the {thing} is {colour}",
            f"then {mover} moved the {thing} from the {place} into the {target}",
            f"now the {thing} is in the {target}",
        ),
    )


KINDS: tuple[Callable[[Situation, random.Random], Account], ...] = (put_account, moved_account)


def draw_accounts(situations: Sequence[Situation], rng: random.Random) -> Iterator[Account]:
    """Distinct requests about situations, which come in random order, then again; the kinds in turn, without end."""
    asked: set[str] = set()
    kinds = itertools.cycle(KINDS)
    while True:
        for situation in rng.sample(situations, len(situations)):
            account = next(kinds)(situation, rng)
            if account.request not in asked:
                asked.add(account.request)
                yield account


def situations_in(texts: Iterable[str]) -> set[Situation]:
    """The situations that texts of plain words and full stops tell."""
    told = {situation.sentence(verb): situation for situation in SITUATIONS for verb in VERBS}
    index = SentenceIndex(told)
    spoken = (text.replace(".", " ").replace("?", " ").replace(",", " ").split() for text in texts)
    return {told[sentence] for words in spoken for sentence in index.found_in(words)}
