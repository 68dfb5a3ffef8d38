"""Dialogues: accuracies of later questions and of questions about the turns before, and some dialogues with sound."""

from __future__ import annotations

from typing import Any

from recipes.reporting.blocks import Section, marked, percent, sound
from recipes.reporting.run_results import Results

NAMES = {
    "first": "first question of a dialogue",
    "independent": "later question about something else",
    "followup": "question about the story told before",
}


def dialogue_section(results: Results, num_dialogues: int = 2) -> Section | None:
    """The accuracies of `evaluation.question_answering.conversations`, and some dialogues with sound."""
    own = results.metrics_of("evaluation")
    rows = [row for row in results.lines("evaluation", "details.jsonl") if row["part"] == "dialogue"]
    if not rows:
        return None
    section = Section("Dialogues")
    section.text(
        "Dialogues of four turns, each spoken in one voice, about stories that no training data tells. The chatbot "
        "sees its last turns again. A question about the story told before has no right answer without them."
    )
    table: list[list[Any]] = []
    for relation, name in NAMES.items():
        if f"dialogue.questions.{relation}" in own:
            rates = [own[f"dialogue.{way}_accuracy.{relation}"] for way in ("speech_to_text", "speech_to_speech")]
            table.append([name, own[f"dialogue.questions.{relation}"], *map(percent, rates)])
    section.table(["", "questions", "right in text", "right by ear"], table)
    for dialogue in by_dialogue(rows)[:num_dialogues]:
        section.heading("One of them")
        section.table(["asked", "", "said", "key", "spoken answer"], [turn_cells(row) for row in dialogue])
    return section


def by_dialogue(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows as dialogues: each begins with a row that is ``first``."""
    found: list[list[dict[str, Any]]] = []
    for row in rows:
        if row["relation"] == "first":
            found.append([])
        found[-1].append(row)
    return found


def turn_cells(row: dict[str, Any]) -> list[Any]:
    """A turn as a row of the table."""
    said = marked(row["said"], row["is_text_right"])
    return [row["question"], sound(row["audio"]), said, row["answer"], sound(row["reply_audio"])]
