"""Made-up facts about the closed world's own words: knowledge that a model can have from nowhere but the given texts.

71 entities (countries, capitals, months, days, numbers) times four relations make 284 facts such as "the color of
lisbon is white". Every word is in the world's vocabulary, no fact follows from another, and within each group each
attribute of a relation belongs to equally many entities (but for one), so that neither the words nor their frequency
tells what is true. The groups lie over entities and relations like a checkerboard, so that each entity and each
relation is in every group:

- ``spoken``: in texts and in speech with transcripts;
- ``interleaved``: in texts only, and these texts may be interleaved (the paper's case: knowledge that only texts hold);
- ``text``: in texts only, which are never interleaved (the control).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.json_lines import numbered_lines, parse_json_line
from runtime.errors import UserError

from .facts import CAPITALS, COLOURS, DAYS, MONTHS, NUMBERS, OBJECTS, PLACES, words
from .sentence_index import SentenceIndex

SPOKEN, INTERLEAVED, TEXT = GROUPS = ("spoken", "interleaved", "text")
ENTITIES = (*CAPITALS, *CAPITALS.values(), *MONTHS, *DAYS, *NUMBERS)
ANIMALS = words("dog horse bird duck spider ant pig")
NUM_WRONG = 2


@dataclass(frozen=True)
class Relation:
    """Sentences about entities: templates with ``{e}`` for the entity and ``{a}`` for the attribute.

    Attributes:
        attributes: the possible answers.
        statements: ways to state a fact. The first ends in the attribute.
        questions: ways to ask for it that texts and speech use.
        new_questions: ways to ask for it that only the evaluation uses.
        reply: the answer as a sentence, which ends in the attribute.
    """

    name: str
    attributes: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    new_questions: tuple[str, ...]
    reply: str


RELATIONS = (
    Relation(
        "color",
        COLOURS,
        ("the color of {e} is {a}", "{e} has the color {a}", "{a} is the color of {e}"),
        ("what color has {e}", "what is the color of {e}"),
        ("which color has {e}",),
        "it is {a}",
    ),
    Relation(
        "object",
        OBJECTS,
        ("{e} found the {a}", "the {a} was found in {e}", "in {e} tom found the {a}"),
        ("what was found in {e}", "{e} found what"),
        ("what is it that was found in {e}",),
        "it is the {a}",
    ),
    Relation(
        "animal",
        ANIMALS,
        ("{e} has the {a}", "the {a} comes from {e}", "from {e} comes the {a}"),
        ("what comes from {e}", "who comes from {e}"),
        ("which one comes from {e}",),
        "it is the {a}",
    ),
    Relation(
        "place",
        PLACES,
        ("{e} is in the {a}", "now {e} is in the {a}", "in the {a} is {e}"),
        ("where is {e}", "where is {e} now"),
        ("what is {e} in",),
        "it is in the {a}",
    ),
)


@dataclass(frozen=True)
class MadeUpFact:
    """One fact, with every way of stating it and asking for it.

    Attributes:
        id: e.g. ``"color-lisbon"``.
        group: one of `GROUPS`.
        relation: name of the relation.
        entity: e.g. ``"lisbon"``.
        answer: the attribute, e.g. ``"white"``.
        statements: the first ends in the answer.
        questions: those of texts and speech.
        new_questions: those of the evaluation alone.
        reply: ends in the answer.
        wrong: attributes of the same relation that are not true of the entity, for choices between replies.
    """

    id: str
    group: str
    relation: str
    entity: str
    answer: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    new_questions: tuple[str, ...]
    reply: str
    wrong: tuple[str, ...]

    def false_reply(self, attribute: str) -> str:
        """The reply with another attribute."""
        return with_last_word(self.reply, attribute)

    def false_statement(self, attribute: str) -> str:
        """The first statement with another attribute."""
        return with_last_word(self.statements[0], attribute)


def with_last_word(sentence: str, word: str) -> str:
    """The sentence with another last word."""
    return " ".join([*sentence.split()[:-1], word])


def made_up_facts(seed: int, num_entities: int = len(ENTITIES)) -> list[MadeUpFact]:
    """All facts about some entities, relation by relation; groups, answers and false answers follow from the seed."""
    rng = random.Random(f"made-up facts {seed}")
    order = rng.sample(ENTITIES, num_entities)
    facts = []
    for number, relation in enumerate(RELATIONS):
        group_of = {entity: GROUPS[(place + number) % len(GROUPS)] for place, entity in enumerate(order)}
        answers: dict[str, str] = {}
        for group in GROUPS:
            entities = [entity for entity in order if group_of[entity] == group]
            answers |= dict(zip(entities, evenly(relation.attributes, len(entities), rng), strict=True))
        named = (entity for entity in ENTITIES if entity in group_of)
        facts += [make_fact(relation, entity, group_of[entity], answers[entity], rng) for entity in named]
    return facts


def evenly(attributes: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """``count`` attributes in random order, each as often as any other (but for one)."""
    rounds = -(-count // len(attributes))
    drawn = [one for _ in range(rounds) for one in rng.sample(attributes, len(attributes))][:count]
    rng.shuffle(drawn)
    return drawn


def make_fact(relation: Relation, entity: str, group: str, answer: str, rng: random.Random) -> MadeUpFact:
    """The fact that ``answer`` is true of the entity."""

    def written(templates: Iterable[str]) -> tuple[str, ...]:
        return tuple(template.format(e=entity, a=answer) for template in templates)

    others = [attribute for attribute in relation.attributes if attribute != answer]
    return MadeUpFact(
        id=f"{relation.name}-{entity.replace(' ', '_')}",
        group=group,
        relation=relation.name,
        entity=entity,
        answer=answer,
        statements=written(relation.statements),
        questions=written(relation.questions),
        new_questions=written(relation.new_questions),
        reply=relation.reply.format(a=answer),
        wrong=tuple(rng.sample(others, NUM_WRONG)),
    )


def write_facts(facts: Iterable[MadeUpFact]) -> str:
    """Facts as JSON lines."""
    return "".join(json.dumps(asdict(fact)) + "\n" for fact in facts)


def read_facts(folder: Path | str) -> list[MadeUpFact]:
    """The facts of ``facts.jsonl`` in a folder of corpus.facts.

    Raises:
        UserError: no such file, or a line that is no fact.
    """
    file = Path(folder) / "facts.jsonl"
    if not file.is_file():
        raise UserError(str(file), found="no such file", remedy="give the output folder of corpus.facts")
    facts = []
    for number, line in numbered_lines(file.read_bytes().split(b"\n")):
        try:
            facts.append(fact_of(parse_json_line(line)))
        except (ValueError, KeyError, TypeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise UserError(f"{file}, line {number}", found=reason, remedy="run corpus.facts again") from error
    return facts


def fact_of(record: Mapping[str, Any]) -> MadeUpFact:
    """A line of ``facts.jsonl`` as a fact."""
    values: dict[str, Any] = {name: record[name] for name in MadeUpFact.__dataclass_fields__}
    if values["group"] not in GROUPS:
        raise ValueError(f"group {values['group']!r}")
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return MadeUpFact(**values)


class FactIndex:
    """Finds which facts a text tells: states in one of their ways, or asks and answers.

    Args:
        facts: that are looked for.
    """

    def __init__(self, facts: Iterable[MadeUpFact]) -> None:
        self.told: dict[str, str] = {}
        for fact in facts:
            answered = (f"{asked} {fact.reply}" for asked in (*fact.questions, *fact.new_questions))
            self.told |= dict.fromkeys((*fact.statements, *answered), fact.id)
        self.index = SentenceIndex(self.told)

    def facts_in(self, text: str) -> set[str]:
        """Ids of the facts that a text of plain words and full stops tells."""
        spoken = text.replace(".", " ").replace("?", " ").replace(",", " ").split()
        return {self.told[sentence] for sentence in self.index.found_in(spoken)}
