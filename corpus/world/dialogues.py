"""Spoken dialogues of the closed world: recordings of questions in sequence, and the right reply to each.

A question that contains a story may be followed by questions about that story ("what color is it"), any question by one
about something else. Training dialogues are made of the recordings of one voice: each question's recording occurs in
one dialogue, those of the follow-ups, which refer to no particular story, in many. Held-out dialogues have recordings
of their own, and their stories occur in no training data.

    dialogues.jsonl   {"id": ..., "turns": [{"utterance": "train-question-00007", "question": "...", "answer": "box",
                       "reply": "the ball is in the box", "topic": "where", "relation": "first"}, ...]}
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from corpus.json_lines import numbered_lines, parse_json_line
from runtime.errors import UserError

from .closed_world import World, WorldQuestion, questions_of
from .facts import Fact
from .held_out import HeldOutTexts

FIRST, INDEPENDENT, FOLLOW_UP = RELATIONS = ("first", "independent", "followup")


@dataclass(frozen=True)
class QuestionTurn:
    """A question of a dialogue.

    Attributes:
        utterance: id of its recording.
        question: its words.
        answer: the key that a right reply ends in.
        reply: a sentence that ends in the key.
        topic: e.g. ``"where"``.
        relation: to the turns before: ``first`` (there are none), ``independent`` or ``followup``.
    """

    utterance: str
    question: str
    answer: str
    reply: str
    topic: str
    relation: str


FIELDS = tuple(QuestionTurn.__dataclass_fields__)


@dataclass(frozen=True)
class QuestionDialogue:
    """Questions of one voice, asked one after another."""

    id: str
    turns: list[QuestionTurn]


class StoryIndex:
    """The facts that can be asked for after each story."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        self.facts = {fact.id: fact for fact in facts}
        self.of_story: dict[str, list[Fact]] = {}
        for fact in facts:
            for story in fact.stories:
                self.of_story.setdefault(story, []).append(fact)

    def after(self, question: WorldQuestion) -> list[Fact]:
        """The other facts of the story that a question begins with; none if it begins with none."""
        stories = self.facts[question.fact].stories
        begun = next((story for story in stories if question.question.startswith(story)), None)
        return [fact for fact in self.of_story.get(begun or "", []) if fact.id != question.fact]


def first_turn(question: WorldQuestion, utterance: str = "", *, relation: str) -> QuestionTurn:
    """A turn that refers to no earlier one."""
    return QuestionTurn(utterance, question.question, question.answer, question.reply, question.topic, relation)


def later_turn(fact: Fact, question: str, utterance: str = "") -> QuestionTurn:
    """A turn that asks for a fact of an earlier turn's story."""
    return QuestionTurn(utterance, question, fact.answer, fact.reply, fact.topic, FOLLOW_UP)


def training_dialogues(
    world: World, questions: Mapping[str, str], followups: Mapping[str, str], most_turns: int, draw: str
) -> Iterator[QuestionDialogue]:
    """Dialogues of one to ``most_turns`` turns in which each question's recording stands once.

    Args:
        world: the facts asked for.
        questions: utterance id -> question, of one voice.
        followups: utterance id -> follow-up question, of the same voice.
        most_turns: of a dialogue.
        draw: seed of the choices, and prefix of the dialogues' ids.
    """
    rng = random.Random(draw)
    stories = StoryIndex(world.facts)
    by_text = {question.question: question for question in world.questions}
    spoken: dict[str, list[str]] = {}
    for utterance, text in followups.items():
        spoken.setdefault(text, []).append(utterance)
    left = rng.sample(list(questions), len(questions))
    number = 0
    while left:
        length = rng.randint(1, most_turns)
        turns: list[QuestionTurn] = []
        while left and len(turns) < length:
            utterance = left.pop()
            question = by_text[questions[utterance]]
            turns.append(first_turn(question, utterance, relation=INDEPENDENT if turns else FIRST))
            about = [fact for fact in stories.after(question) if any(text in spoken for text in fact.later)]
            room = length - len(turns)
            for fact in rng.sample(about, min(len(about), rng.randint(1, room) if room else 0)):
                text = rng.choice([text for text in fact.later if text in spoken])
                turns.append(later_turn(fact, text, rng.choice(spoken[text])))
        yield QuestionDialogue(f"{draw}-{number:05d}", turns)
        number += 1


def heldout_dialogues(world: World, held_out: HeldOutTexts, count: int, seed: int) -> list[QuestionDialogue]:
    """Dialogues of four turns about held-out facts: story, two follow-ups, another question; or a question, a story, a
    follow-up, another question. The ids of their utterances are ``<dialogue>-<turn>``.
    """
    rng = random.Random(f"dialogues {seed}")
    stories = StoryIndex(world.held_out_facts)
    openings = [question for question in questions_of(world.held_out_facts) if stories.after(question)]
    richer = [question for question in openings if len(stories.after(question)) > 1]
    others = [question for question in world.questions if question.question in held_out] or world.questions
    found = []
    for number in range(count):
        story = rng.choice(richer if number % 2 else openings)
        facts = rng.sample(stories.after(story), 2 if number % 2 else 1)
        begun = first_turn(story, relation=INDEPENDENT)
        about = [later_turn(one, rng.choice(one.later)) for one in facts]
        one, other = (first_turn(question, relation=INDEPENDENT) for question in rng.sample(others, 2))
        turns = [begun, *about, other] if number % 2 else [one, begun, *about, other]
        id = f"heldout_dialogue-{number:05d}"
        turns = [replace(turn, utterance=f"{id}-{at}") for at, turn in enumerate(turns, 1)]
        found.append(QuestionDialogue(id, [replace(turns[0], relation=FIRST), *turns[1:]]))
    return found


def dialogue_line(dialogue: QuestionDialogue) -> str:
    """A dialogue as a JSON line."""
    return json.dumps(asdict(dialogue))


def read_question_dialogues(file: Path | str) -> list[QuestionDialogue]:
    """Read the dialogues of a file (``dialogues.jsonl`` of corpus.build).

    Raises:
        UserError: no such file, a line that is no dialogue, or none at all.
    """
    path = Path(file)
    if not path.is_file():
        remedy = "give dialogues.jsonl or dialogues_heldout.jsonl of corpus.build's output folder"
        raise UserError(str(path), found="no such file", remedy=remedy)
    found = []
    for number, line in numbered_lines(path.read_bytes().split(b"\n")):
        try:
            record = parse_json_line(line)
            turns = [QuestionTurn(**{name: str(turn[name]) for name in FIELDS}) for turn in record["turns"]]
            found.append(QuestionDialogue(str(record["id"]), turns))
        except (ValueError, KeyError, TypeError) as error:
            remedy = f"a dialogue has an id, and turns with {', '.join(FIELDS)}"
            raise UserError(f"{path}, line {number}", found=f"no dialogue ({error})", remedy=remedy) from error
    if not found:
        raise UserError(str(path), found="no dialogue in it", remedy="build the corpus again")
    return found
