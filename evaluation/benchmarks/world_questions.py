"""Questions of the built-in world (`evaluation.question_set`): the laptop twin of spoken question answering."""

from __future__ import annotations

from dataclasses import replace

from evaluation.question_answering.scoring import is_right
from evaluation.rules.answer_match import CONTIGUOUS, EMPTY
from evaluation.rules.measure import ItemScore, Measure
from evaluation.rules.rule import Answered, Rule
from evaluation.sets.item import EvaluationItem
from evaluation.sets.rows import Row

from .benchmark import Benchmark
from .spoken_qa import read_question


def ends_in_key(item: EvaluationItem, answered: Answered) -> ItemScore:
    """1 where the answer ends in the key, word for word: "no, the sky is red" for "blue" is wrong."""
    is_key = any(is_right(answered.text, key) for key in item.references)
    return ItemScore({"accuracy": Measure(float(is_key))}, "" if answered.text.strip() else EMPTY)


def read_world_question(row: Row) -> EvaluationItem:
    """A row as a question; its topic is its subset."""
    return replace(read_question(row), subset=row.text("topic"))


WORLD_QUESTIONS = Benchmark(
    name="world_questions",
    summary="Questions of the built-in world, spoken, held out",
    read_item=read_world_question,
    rules=(Rule(name="ends_in_key", score=ends_in_key, normaliser="lower-case words"), CONTIGUOUS),
    max_new_tokens=256,
)
