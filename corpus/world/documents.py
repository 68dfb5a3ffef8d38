"""Text documents of the closed world: stories, runs of facts, and questions with their replies.

Sentences are lower-case words, joined by ``". "`` and closed by ``"."``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from corpus.text.normalisation import join_sentences

from .closed_world import World, WorldQuestion
from .facts import Fact
from .held_out import HeldOutTexts
from .situations import clock_story, story

QUESTIONS_A_DOCUMENT = 3
FACTS_A_DOCUMENT = (3, 5)


@dataclass(frozen=True)
class Document:
    """One text and its kind: "story", "facts" or "questions"."""

    id: str
    kind: str
    text: str


@dataclass(frozen=True)
class Documents:
    """Training texts hold no held-out sentence; each held-out text holds at least one."""

    train: list[Document]
    held_out: list[Document]


def write_documents(world: World, held_out: HeldOutTexts, *, train: int, held_out_count: int, seed: int) -> Documents:
    """Compose distinct documents: half stories, a quarter facts, a quarter questions and replies.

    Args:
        world: the facts and questions that they are made of.
        held_out: splits them.
        train: number of training documents.
        held_out_count: number of held-out documents.
        seed: of the choices.
    """
    rng = random.Random(f"documents {seed}")
    questions = question_documents(world, held_out, rng)
    facts = fact_documents(world, rng)
    stories = story_documents(rng)
    seen: set[str] = set()
    result = Documents([], [])
    while len(result.train) < train or len(result.held_out) < held_out_count:
        kind, source = rng.choice((("story", stories), ("story", stories), ("facts", facts), ("questions", questions)))
        sentences = next(source)
        text = join_sentences(sentences)
        if text in seen:
            continue
        seen.add(text)
        is_held_out = held_out.overlaps(sentences)
        part, wanted, name = (
            (result.held_out, held_out_count, "heldout") if is_held_out else (result.train, train, "train")
        )
        if len(part) < wanted:
            part.append(Document(f"{name}-{kind}-{len(part):06d}", kind, text))
    return result


def story_documents(rng: random.Random) -> Iterator[list[str]]:
    """Endless stories; one in five goes by the clock."""
    while True:
        yield clock_story(rng) if rng.random() < 0.2 else story(rng)


def fact_documents(world: World, rng: random.Random) -> Iterator[list[str]]:
    """Runs of neighbouring facts of one topic, each stated in one of its ways."""
    topics: dict[str, list[Fact]] = {}
    for fact in world.facts:
        if fact.statements:
            topics.setdefault(fact.topic, []).append(fact)
    while True:
        facts = topics[rng.choice(list(topics))]
        length = min(rng.randint(*FACTS_A_DOCUMENT), len(facts))
        start, step = rng.randrange(len(facts)), rng.choice((1, -1))
        run = [facts[(start + step * number) % len(facts)] for number in range(length)]
        yield [rng.choice(fact.statements) for fact in run]


def question_documents(world: World, held_out: HeldOutTexts, rng: random.Random) -> Iterator[list[str]]:
    """Questions and replies, three a document: every training question once, then all again in another order.

    With probability 0.1, a document of held-out questions follows.
    """
    training = [question for question in world.questions if question.question not in held_out]
    others = [question for question in world.questions if question.question in held_out]
    while True:
        rng.shuffle(training)
        for start in range(0, len(training) - QUESTIONS_A_DOCUMENT + 1, QUESTIONS_A_DOCUMENT):
            yield question_document(training[start : start + QUESTIONS_A_DOCUMENT])
            if len(others) >= QUESTIONS_A_DOCUMENT and rng.random() < 0.1:
                yield question_document(rng.sample(others, QUESTIONS_A_DOCUMENT))


def question_document(questions: list[WorldQuestion]) -> list[str]:
    """Each question followed by its reply."""
    return [sentence for question in questions for sentence in (question.question, question.reply)]
