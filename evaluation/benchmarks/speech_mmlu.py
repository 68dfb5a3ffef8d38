"""SpeechMMLU (MiMo-Audio-Eval): multiple choice by voice, four directions; the answer names its option.

Rows: ``id``, ``subject``, ``question_text``, ``question_audio``, ``voice_id``, ``answer`` (an index from 0, or a
letter). An answer is right by its first "option X" (zh: 选项X). The gap of T->T and S->S is the modality gap that
papers quote. The published folder has its worked examples with it, which each voice of the questions speaks
(``shots=5 shots_of=published shots_data=<the same folder>``)::

    few_shot_prompts.json       subject -> {"beginning": text, "examples": [{"question": text, "answer": text}, ...]}
    audio/<subject>/prompts/<subject>_<voice_id>/<subject>_beginning.mp3
                                                 <subject>_<number from 0>_question_and_choices.mp3, ..._answer.mp3
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from corpus.audio.files import SAMPLE_RATE, encode_wav
from evaluation.rules.choices import LETTERS, MCQ, OPTION_NAMED
from evaluation.rules.instructions.counting import is_chinese
from evaluation.rules.spoken_agreement import SPOKEN_AGREEMENT
from evaluation.sets.item import EvaluationItem, ItemAudio, WorkedExample
from evaluation.sets.rows import Row
from runtime.artefact import read_json
from runtime.errors import UserError

from .benchmark import Benchmark

PUBLISHED_SHOTS = "few_shot_prompts.json"


def read_item(row: Row) -> EvaluationItem:
    """A row with its subject as the subset."""
    prompt = row.text("question_text", "question")
    folder = row.folder.relative_to(row.root).as_posix() if row.root is not None else "."
    table = row.stem if folder == "." else f"{folder}/{row.stem}"  # each subject has a "train" of its own
    return EvaluationItem(
        id=f"{table}/{row.text('id')}" if row.values.get("id") is not None else f"{table}-{row.number:05d}",
        prompt=prompt,
        audio=row.audio("question_audio", "audio"),
        subset=row.text("subject"),
        voice=row.text("voice_id") if row.values.get("voice_id") is not None else "",
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


def published_shots(root: Path, item: EvaluationItem, count: int, *, is_spoken: bool) -> tuple[WorkedExample, ...]:
    """The first worked examples of a question's subject; the first one's question has the subject's beginning before.

    Args:
        root: the published folder.
        item: the question; its voice speaks the examples.
        count: of the examples.
        is_spoken: whether their sounds are needed.

    Raises:
        UserError: no such subject, fewer examples, or a sound is missing.
    """
    return shots_in_voice(root, item.subset, item.voice if is_spoken else None, count)


@functools.cache
def shots_in_voice(root: Path, subject: str, voice: str | None, count: int) -> tuple[WorkedExample, ...]:
    """The first worked examples of a subject, spoken by a voice; written ones where it is None."""
    found = subject_shots(root / PUBLISHED_SHOTS).get(subject, {"beginning": "", "examples": []})
    if len(found["examples"]) < count:
        words = f"{len(found['examples'])} worked examples of subject {subject!r}, fewer than shots={count}"
        remedy = "lower shots, or give the folder of the whole published set"
        raise UserError(str(root / PUBLISHED_SHOTS), found=words, remedy=remedy)

    def sound(name: str) -> ItemAudio | None:
        folder = root / "audio" / subject / "prompts" / f"{subject}_{voice}"
        return None if voice is None else sound_file(folder / f"{subject}_{name}.mp3")

    shots = []
    for number, example in enumerate(found["examples"][:count]):
        asked, audio = str(example["question"]), sound(f"{number}_question_and_choices")
        if not number:
            asked, audio = f"{found['beginning']}\n\n{asked}", joined_sounds(sound("beginning"), audio)
        name = f"{subject}/{number}" if voice is None else f"{subject}/{voice}/{number}"
        shots.append(WorkedExample(asked, str(example["answer"]), name, audio, sound(f"{number}_answer")))
    return tuple(shots)


@functools.cache
def subject_shots(file: Path) -> Mapping[str, Any]:
    """The published worked examples by subject.

    Raises:
        UserError: no such file, or another layout.
    """
    subjects = read_json(file) if file.is_file() else None
    if subjects is None:
        remedy = "give the published folder as shots_data, or shots_of=subset and a split of your own"
        raise UserError(str(file), found="no such file", remedy=remedy)
    for name, one in subjects.items() if isinstance(subjects, dict) else [("", None)]:
        examples = one.get("examples") if isinstance(one, dict) and isinstance(one.get("beginning"), str) else None
        is_whole = isinstance(examples, list) and all(
            isinstance(example, dict) and example.keys() >= {"question", "answer"} for example in examples
        )
        if not is_whole:
            found = f"subject {name!r} without beginning and examples of question and answer"
            raise UserError(str(file), found=found, remedy="copy the published file again")
    return dict(subjects)


def sound_file(file: Path) -> ItemAudio:
    """The sound of a part of a worked example; raises a `UserError` where there is none."""
    if not file.is_file():
        remedy = "copy the set's folder audio/ whole, or ask in text (t2t)"
        raise UserError(str(file), found="no such sound of a published worked example", remedy=remedy)
    return ItemAudio(str(file), file=file)


def joined_sounds(first: ItemAudio | None, second: ItemAudio | None) -> ItemAudio | None:
    """Two sounds as one; None where there are none."""
    if first is None or second is None:
        return None
    samples = np.concatenate([first.read(), second.read()])
    return ItemAudio(f"{first.name} + {second.name}", content=encode_wav(samples, SAMPLE_RATE))


SPEECH_MMLU = Benchmark(
    name="speech_mmlu",
    summary="SpeechMMLU: multiple choice by voice; T->T against S->S is the modality gap",
    read_item=read_item,
    rules=(OPTION_NAMED, MCQ, SPOKEN_AGREEMENT),
    max_new_tokens=256,
    published_shots=published_shots,
    choices=tuple(f"Option {letter.upper()}" for letter in LETTERS),
)
