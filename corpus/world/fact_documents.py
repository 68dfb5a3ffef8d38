"""Texts about made-up facts: each about facts of one group, in 18 to 32 words.

A third are about one entity, a third about one relation, a third are questions with their replies.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from corpus.text.normalisation import join_sentences
from runtime.errors import UserError

from .made_up_facts import MadeUpFact
from .plan import endless

MIN_WORDS, MAX_WORDS = 18, 32
LONGEST = 10  # words of a question with its reply
MAX_TRIES = 1000  # texts in a row that are there already


@dataclass(frozen=True)
class FactDocument:
    """One text, its kind, and the group of the facts it is about."""

    id: str
    kind: str
    group: str
    text: str


class GroupTexts(NamedTuple):
    """The texts about the facts of one group."""

    train: list[FactDocument]
    held_out: list[FactDocument]


def write_group(facts: Sequence[MadeUpFact], train: int, held_out: int, seed: int) -> GroupTexts:
    """Compose distinct texts about the facts of one group, the kinds in turn.

    Args:
        facts: of the group.
        train: number of training texts.
        held_out: number of held-out texts.
        seed: of the choices.

    Raises:
        UserError: there are fewer distinct texts.
    """
    group = facts[0].group
    rng = random.Random(f"fact documents {seed} {group}")
    texts: dict[str, str] = {}  # text -> kind
    sources = {kind: source(facts, rng) for kind, source in KINDS.items()}
    while len(texts) < train + held_out:
        kind = list(KINDS)[len(texts) % len(KINDS)]
        text = next((one for one in itertools.islice(sources[kind], MAX_TRIES) if one not in texts), None)
        if text is None:
            found = f"{train} and {held_out}, but no more than {len(texts)} distinct texts were found"
            raise UserError(f"options {group}_texts and heldout_texts", found=found, remedy="ask for fewer texts")
        texts[text] = kind
    documents = [
        FactDocument(f"{group}-{kind}-{number:05d}", kind, group, text)
        for number, (text, kind) in enumerate(texts.items())
    ]
    return GroupTexts(documents[held_out:], documents[:held_out])


def entity_texts(facts: Sequence[MadeUpFact], rng: random.Random) -> Iterator[str]:
    """Endless texts about one entity each: its facts of the group, stated in several ways."""
    of_entity: dict[str, list[MadeUpFact]] = {}
    for fact in facts:
        of_entity.setdefault(fact.entity, []).append(fact)
    for entity in endless(list(of_entity), rng):
        stated = [statement for fact in of_entity[entity] for statement in fact.statements]
        yield filled(endless(stated, rng), rng)


def relation_texts(facts: Sequence[MadeUpFact], rng: random.Random) -> Iterator[str]:
    """Endless texts about one relation each: several entities' facts."""
    of_relation: dict[str, list[MadeUpFact]] = {}
    for fact in facts:
        of_relation.setdefault(fact.relation, []).append(fact)
    order = {relation: endless(own, rng) for relation, own in of_relation.items()}
    for relation in endless(list(of_relation), rng):
        yield filled((rng.choice(fact.statements) for fact in order[relation]), rng)


def question_texts(facts: Sequence[MadeUpFact], rng: random.Random) -> Iterator[str]:
    """Endless texts of questions, each followed by its reply."""
    order = endless(list(facts), rng)
    while True:
        asked = (f"{rng.choice(fact.questions)}. {fact.reply}" for fact in order)
        yield filled(asked, rng)


KINDS: Mapping[str, Callable[[Sequence[MadeUpFact], random.Random], Iterator[str]]] = {
    "entity": entity_texts,
    "relation": relation_texts,
    "questions": question_texts,
}


def filled(sentences: Iterator[str], rng: random.Random) -> str:
    """The first sentences as one text, until it has as many words as were drawn between the bounds (or a few more)."""
    room = rng.randint(MIN_WORDS, MAX_WORDS - LONGEST)
    taken: list[str] = []
    while sum(len(sentence.split()) for sentence in taken) < room:
        taken.append(next(sentences))
    return join_sentences(taken)
