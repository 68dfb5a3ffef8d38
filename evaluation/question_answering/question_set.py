"""Set of spoken questions out of a built-in corpus, in the layout that spoken question answering is read from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corpus.manifest import read_manifest
from corpus.text.normalisation import normalise
from corpus.world.questions import choose_questions, read_questions
from runtime.artefact import relative_path, write_text
from runtime.errors import UserError
from runtime.stage import Run

from .question_set_config import QuestionSetConfig

QUESTIONS = "questions.jsonl"


def write_question_set(config: QuestionSetConfig, run: Run) -> dict[str, Any]:
    """Choose the questions and write the set; returns their number."""
    known = read_questions(config.corpus)
    manifest = read_manifest(config.manifest or str(Path(config.corpus) / "heldout_sentence.jsonl"))
    chosen = choose_questions(manifest, kind=config.kind, limit=config.limit, draw=f"question set {config.seed}")
    lines = []
    for utterance in chosen:
        asked = known.get(normalise(utterance.text))
        if asked is None:
            found = f"the question {utterance.text!r} of {utterance.id}, which the corpus does not have"
            raise UserError(str(manifest.path), found=found, remedy="give a manifest of the corpus's own questions")
        if utterance.offset is not None:
            remedy = "cut the segments into files of their own: published sets have one file a question"
            raise UserError(f"utterance {utterance.id}", found="a segment of a longer file", remedy=remedy)
        row = {
            "id": utterance.id,
            "question": utterance.text,
            "answers": [asked.answer],
            "audio": relative_path(utterance.audio, run.folder),
            "topic": asked.topic,
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(run.folder / QUESTIONS, "".join(lines))
    return {"questions": len(lines), "voices": len({utterance.speaker for utterance in chosen})}
