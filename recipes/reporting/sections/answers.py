"""Spoken questions and answers: right ones and failures with sound, and the accuracies by topic."""

from __future__ import annotations

from typing import Any

from recipes.reporting.blocks import Section, marked, percent, sound
from recipes.reporting.run_results import Results


def answers_section(results: Results) -> Section | None:
    """Spoken questions and answers with sound: right ones, and failures."""
    rows, num_examples = answer_rows(results), results.num_examples
    if not rows:
        return None
    section = Section("Spoken questions and answers")
    section.text(
        "Held-out questions, asked in voices the model has heard. Heard, said and spoken are the model's own; the last "
        "column is what an independent recogniser (pocketsphinx) makes of the spoken answer. Green is right by the "
        "answer key, red is wrong. Right and wrong answers stand in the proportion in which they came."
    )
    right = [row for row in rows if row["is_speech_right"]]
    wrong = [row for row in rows if not row["is_speech_right"]]
    num_right = round(num_examples * len(right) / len(rows))
    num_right = min(max(num_right, 1 if right else 0), num_examples - (1 if wrong else 0))
    shown = spread(right, num_right) + spread(wrong, num_examples - num_right)
    header = ["asked", "", "heard", "said", "key", "spoken answer", "by the judge"]
    cells = [
        [
            row["question"],
            sound(row["audio"]),
            marked(row["heard"], row["heard"] == row["question"]),
            marked(row["said"], row["is_text_right"]),
            row["answer"],
            sound(row["reply_audio"]),
            marked(row["judge"], row["is_speech_right"]),
        ]
        for row in shown
    ]
    section.table(header, cells)
    topics = sorted({row["topic"] for row in rows})
    by_topic = []
    for topic in topics:
        mine = [row for row in rows if row["topic"] == topic]
        rates = [sum(row[key] for row in mine) / len(mine) for key in ("is_text_right", "is_speech_right")]
        by_topic.append([topic, len(mine), *map(percent, rates)])
    section.heading("By topic")
    section.table(["topic", "questions", "right in text", "right by ear"], by_topic)
    return section


def answer_rows(results: Results, step: str = "evaluation") -> list[dict[str, Any]]:
    """The judged spoken answers."""
    return [row for row in results.lines(step, "details.jsonl") if row["part"] == "answer"]


def spoken_example(results: Results) -> dict[str, Any]:
    """``heard``, ``said`` and ``audio`` of one spoken answer: the first that the judge finds right, else the first."""
    rows = [row for row in answer_rows(results) if row["reply_audio"]]
    chosen = next((row for row in rows if row["is_speech_right"]), rows[0] if rows else None)
    return {"heard": chosen["heard"], "said": chosen["said"], "audio": chosen["reply_audio"]} if chosen else {}


def spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """``count`` rows evenly spread over all."""
    if count >= len(rows):
        return rows
    return [rows[index * len(rows) // count] for index in range(count)]
