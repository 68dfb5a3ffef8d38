"""The closed world that the built-in corpus speaks about: facts in about 190 words, questions with one right answer.

The vocabulary is small so that small models learn it in minutes; its words are in the dictionary of the judge
(pocketsphinx's cmudict-en-us) and, as far as English allows, sound different (no "to" next to "two", no "for").

    world = World(seed=1)
    world.questions[0]   # Question(id="clock-1-after-one-0", question="what time is it one hour after one o'clock", ...
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .facts import Fact, timeless_facts
from .situations import situation_facts, situation_statements


@dataclass(frozen=True)
class WorldQuestion:
    """One phrasing of a fact's question. Questions of one ``fact`` have the same answer and reply."""

    id: str
    question: str
    answer: str
    reply: str
    topic: str
    fact: str


class World:
    """All facts, questions, statements and replies.

    Args:
        seed: chooses among the many "who put what where" situations; everything else is always there.
        situations: number of situations.

    Attributes:
        facts: all facts that training may ask about.
        questions: every phrasing of their questions.
        replies: distinct replies to them.
        statements: distinct sentences that state them, and sentences of the kinds that stories are made of.
        held_out_facts: facts of further situations, a fifth as many, whose stories no training data contains.
    """

    def __init__(self, seed: int = 1, situations: int = 60) -> None:
        rng = random.Random(f"world {seed}")
        self.facts = [*timeless_facts(), *situation_facts(rng, situations)]
        self.questions = questions_of(self.facts)
        self.replies = distinct(fact.reply for fact in self.facts)
        stated = (statement for fact in self.facts for statement in fact.statements)
        self.statements = distinct(itertools.chain(stated, situation_statements(rng, 6 * situations)))
        stories = {story for fact in self.facts for story in fact.stories}
        further = situation_facts(random.Random(f"unheard {seed}"), max(situations // 5, 4))
        self.held_out_facts = [fact for fact in further if stories.isdisjoint(fact.stories)]

    @property
    def sentences(self) -> list[str]:
        """Every distinct statement, question and reply."""
        questions = (question.question for question in self.questions)
        later = (question for fact in self.facts for question in fact.later)
        return distinct(itertools.chain(self.statements, questions, later, self.replies))

    @property
    def vocabulary(self) -> list[str]:
        """Every word, sorted."""
        return sorted({word for sentence in self.sentences for word in sentence.split()})


def questions_of(facts: Iterable[Fact]) -> list[WorldQuestion]:
    """Every phrasing of each fact's question."""
    return [
        WorldQuestion(f"{fact.id}-{number}", phrasing, fact.answer, fact.reply, fact.topic, fact.id)
        for fact in facts
        for number, phrasing in enumerate(fact.phrasings)
    ]


def distinct(items: Iterator[str]) -> list[str]:
    """The items without repetition, in their order."""
    return list(dict.fromkeys(items))
