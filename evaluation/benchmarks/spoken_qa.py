"""Spoken question answering, closed book: Web Questions, Llama Questions and TriviaQA (2411.17607, table 4), NQ-open.

Rows as in the sets that UltraEval-Audio and OpenAudioBench publish: an audio column, the question's text, and answers
(a list of aliases, or one string). TriviaQA's own layout (``answer.aliases``) and NQ-open's (``answer`` list) are read
too, without audio.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from evaluation.rules.answer_match import CONTAINS, CONTIGUOUS
from evaluation.rules.knowledge_judge import KNOWLEDGE
from evaluation.rules.spoken_agreement import SPOKEN_AGREEMENT
from evaluation.sets.item import EvaluationItem
from evaluation.sets.rows import Row

from .benchmark import Benchmark, PublishedScore

QUESTIONS = ("question", "Questions", "prompt", "text", "source_text", "query")
ANSWERS = ("answers", "answer", "Answer", "targets", "references", "reference")
IDS = ("id", "question_id", "index", "key")
RULES = (CONTIGUOUS, CONTAINS, KNOWLEDGE, SPOKEN_AGREEMENT)
PAPER = "2412.02612, table 4"


def read_question(row: Row) -> EvaluationItem:
    """A row as a question with its aliases."""
    return EvaluationItem(
        id=row.text(*IDS) if any(row.values.get(name) is not None for name in IDS) else f"{row.stem}-{row.number:05d}",
        prompt=row.text(*QUESTIONS),
        audio=row.audio(),
        references=aliases(row),
    )


def aliases(row: Row) -> tuple[str, ...]:
    """All right answers: a list, a string, a JSON list in a string, or TriviaQA's struct of value and aliases."""
    for column in ANSWERS:
        value = row.values.get(column)
        if isinstance(value, Mapping):
            parts = {"value": value.get("value"), "aliases": value.get("aliases")}
            return replace(row, values=parts).texts("value", "aliases")
        if isinstance(value, str) and value.strip().startswith("["):
            try:
                listed = json.loads(value)
            except ValueError:
                continue
            return replace(row, values={column: listed}).texts(column)
    return row.texts(*ANSWERS)


def rows_of(column: int) -> tuple[PublishedScore, ...]:
    """The paper's table: column 0 is Web Questions, 1 Llama Questions, 2 TriviaQA."""
    table: tuple[tuple[str, str, tuple[float | None, ...]], ...] = (
        ("TWIST-7B", "S->S", (1.5, 4.0, None)),
        ("SpeechGPT-7B", "S->T", (6.5, 21.6, 14.8)),
        ("Spectron-1B", "S->T", (6.1, 21.9, None)),
        ("Moshi-7B", "S->T", (26.6, 62.3, 22.8)),
        ("Moshi-7B", "S->S", (9.2, 21.0, 7.3)),
        ("GLM-4-Voice-9B", "S->T", (32.2, 64.7, 39.1)),
        ("GLM-4-Voice-9B", "S->S", (15.9, 50.7, 26.5)),
    )
    return tuple(
        PublishedScore(model, direction, value, PAPER)
        for model, direction, values in table
        if (value := values[column]) is not None
    )


WEB_QUESTIONS = Benchmark(
    name="web_questions",
    summary="Web Questions, spoken, closed book",
    read_item=read_question,
    rules=RULES,
    max_new_tokens=256,
    published=rows_of(0),
)
LLAMA_QUESTIONS = replace(
    WEB_QUESTIONS,
    name="llama_questions",
    summary="Llama Questions (Spectron's), spoken, closed book",
    published=rows_of(1),
)
TRIVIA_QA = replace(WEB_QUESTIONS, name="trivia_qa", summary="TriviaQA, spoken, closed book", published=rows_of(2))
NQ_OPEN = replace(WEB_QUESTIONS, name="nq_open", summary="Natural Questions, open, closed book", published=())
