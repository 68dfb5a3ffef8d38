"""Answers within dialogues: accuracy at the first turn, of later independent questions and of follow-ups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from corpus.world.dialogues import RELATIONS, read_question_dialogues
from corpus.world.questions import QuestionAnswer

from .answers import SpokenAnswer, read_answers, score
from .scoring import share

TRUTHS = {"speech_to_text": "is_text_right", "speech_to_speech": "is_speech_right"}


def read_conversations(folder: Path | str, corpus: Path | str) -> tuple[list[SpokenAnswer], dict[str, str]]:
    """The answers of a run of chatbot.respond that asked a corpus's held-out dialogues, and each one's relation to the
    turns before (`corpus.world.dialogues.RELATIONS`) by utterance.

    Raises:
        UserError: no dialogues, no answers, or an answer to a question of no dialogue.
    """
    turns = {
        turn.utterance: turn
        for one in read_question_dialogues(Path(corpus) / "dialogues_heldout.jsonl")
        for turn in one.turns
    }
    asked = {
        id: QuestionAnswer(id, turn.question, turn.answer, turn.reply, turn.topic, "heldout")
        for id, turn in turns.items()
    }
    answered = read_answers(folder, lambda id, _: asked.get(id))
    return answered, {id: turn.relation for id, turn in turns.items()}


def score_conversations(
    answered: list[SpokenAnswer], relations: dict[str, str], transcripts: dict[str, str]
) -> list[dict[str, Any]]:
    """One row of details for each answer."""
    rows = score(answered, transcripts)
    return [row | {"part": "dialogue", "relation": relations[row["id"]]} for row in rows]


def summarise_conversations(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """``dialogue.questions.<relation>`` and ``dialogue.speech_to_text_accuracy.<relation>`` (and speech_to_speech)."""
    metrics: dict[str, Any] = {}
    for relation in RELATIONS:
        mine = [row for row in rows if row["relation"] == relation]
        if mine:
            metrics[f"dialogue.questions.{relation}"] = len(mine)
            for name, truth in TRUTHS.items():
                metrics[f"dialogue.{name}_accuracy.{relation}"] = round(share(row[truth] for row in mine), 5)
    return metrics
