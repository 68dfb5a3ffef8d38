"""Set of spoken questions out of a built-in corpus, in the layout that spoken question answering is read from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corpus.manifest import Utterance, read_manifest
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
    spoken = spoken_replies(config.corpus) if config.replies else {}
    limit = 0 if config.replies else config.limit  # questions without a spoken reply do not count
    chosen = choose_questions(manifest, kind=config.kind, limit=limit, draw=f"question set {config.seed}")
    rows: list[dict[str, Any]] = []
    voices: set[str] = set()
    for utterance in chosen:
        asked = known.get(normalise(utterance.text))
        if asked is None:
            found = f"the question {utterance.text!r} of {utterance.id}, which the corpus does not have"
            raise UserError(str(manifest.path), found=found, remedy="give a manifest of the corpus's own questions")
        row = {
            "id": utterance.id,
            "question": utterance.text,
            "answers": [asked.answer],
            "audio": relative_path(whole_file(utterance), run.folder),
            "topic": asked.topic,
        }
        if config.replies:
            reply = spoken.get(normalise(asked.reply))
            if reply is None:
                continue
            row |= {"answer_text": asked.reply, "answer_audio": relative_path(whole_file(reply), run.folder)}
        rows.append(row)
        voices.add(utterance.speaker)
        if len(rows) == config.limit:
            break
    if not rows:
        remedy = "leave replies= out: they are read aloud by corpus.build alone"
        raise UserError(config.corpus, found="no question whose reply is spoken", remedy=remedy)
    write_text(run.folder / QUESTIONS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return {"questions": len(rows), "voices": len(voices)}


def spoken_replies(corpus: str) -> dict[str, Utterance]:
    """The replies that the corpus speaks in its training split, by their words."""
    utterances = read_manifest(Path(corpus) / "train.jsonl").utterances
    return {normalise(one.text): one for one in utterances if one.kind == "reply"}


def whole_file(utterance: Utterance) -> Path:
    """The file of an utterance.

    Raises:
        UserError: it is a segment of a longer file.
    """
    if utterance.offset is not None:
        remedy = "cut the segments into files of their own: published sets have one file a question"
        raise UserError(f"utterance {utterance.id}", found="a segment of a longer file", remedy=remedy)
    return utterance.audio
