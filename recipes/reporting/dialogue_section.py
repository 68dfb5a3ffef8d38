"""The report's section on dialogues: what the chatbot answers after other questions, and about what was told before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .page import Section, audio_uri, percent
from .run_results import Results

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
    said = {"text": row["said"] or "(nothing)", "mark": "right" if row["is_text_right"] else "wrong"}
    players: list[Any] = [
        {"audio": audio_uri(Path(path))} if path else "–" for path in (row["audio"], row["reply_audio"])
    ]
    return [row["question"], players[0], said, row["answer"], players[1]]
