"""SpeechMMLU (MiMo-Audio-Eval): multiple choice by voice, four directions; the answer names its option.

Rows: ``id``, ``subject``, ``question_text``, ``question_audio``, ``voice_id``, ``answer`` (an index from 0, or a
letter). An answer is right by its first "option X" (zh: 选项X). The gap of T->T and S->S is the modality gap that
papers quote. The published five worked examples are of each subject: ``shots=5 shots_of=subset shots_data=...``.
"""

from __future__ import annotations

from evaluation.rules.choices import LETTERS, MCQ, OPTION_NAMED
from evaluation.rules.instructions.counting import is_chinese
from evaluation.rules.spoken_agreement import SPOKEN_AGREEMENT
from evaluation.sets.item import EvaluationItem
from evaluation.sets.rows import Row

from .benchmark import Benchmark


def read_item(row: Row) -> EvaluationItem:
    """A row with its subject as the subset."""
    prompt = row.text("question_text", "question")
    return EvaluationItem(
        id=f"{row.stem}/{row.text('id')}" if row.values.get("id") is not None else f"{row.stem}-{row.number:05d}",
        prompt=prompt,
        audio=row.audio("question_audio", "audio"),
        subset=row.text("subject"),
        references=(_letter(row),),
        details={"language": "zh" if is_chinese(prompt) else "en"},
    )


def _letter(row: Row) -> str:
    answer = row.text("answer")
    if answer.isdigit() and int(answer) < len(LETTERS):
        return f"Option {LETTERS[int(answer)].upper()}"
    letter = answer.strip("(). ").upper()
    if len(letter) != 1 or letter.lower() not in LETTERS:
        raise ValueError(f"answer is {answer!r}, neither 0 to 3 nor A to D")
    return f"Option {letter}"


SPEECH_MMLU = Benchmark(
    name="speech_mmlu",
    summary="SpeechMMLU: multiple choice by voice; T->T against S->S is the modality gap",
    read_item=read_item,
    rules=(OPTION_NAMED, MCQ, SPOKEN_AGREEMENT),
    max_new_tokens=256,
    choices=tuple(f"Option {letter.upper()}" for letter in LETTERS),
)
