"""The built-in world's questions as an evaluation set: its rows, what is refused, and the rule of answer keys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from corpus.audio.files import SAMPLE_RATE, write_audio
from corpus.manifest import Utterance, write_manifest
from evaluation import question_set
from evaluation.benchmarks.world_questions import WORLD_QUESTIONS
from evaluation.question_answering.question_set_config import QuestionSetConfig
from evaluation.rules.rule import Answered
from evaluation.sets.item import EvaluationItem
from evaluation.sets.reading import read_set
from runtime.errors import UserError

ASKED = {"what is red": "apple", "what is blue": "sky"}


def write_corpus(folder: Path, *, offset: float | None = None, text: str = "what is red") -> Path:
    (folder / "audio").mkdir(parents=True)
    rows = [
        {"id": f"q{n}", "question": words, "answer": key, "reply": f"the {key}", "topic": f"t{n}", "split": "heldout"}
        for n, (words, key) in enumerate(ASKED.items())
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spoken = []
    for number, words in enumerate([text, "what is red", "what is blue"]):
        write_audio(folder / "audio" / f"{number}.wav", np.full(SAMPLE_RATE, 0.1, np.float32))
        file = folder / "audio" / f"{number}.wav"
        spoken.append(Utterance(f"u{number}", file, 1.0, words, f"s{number}", kind="question", offset=offset))
    write_manifest(folder / "heldout_sentence.jsonl", spoken)
    return folder


def test_distinct_questions_become_items_with_audio(tmp_path: Path) -> None:
    config = QuestionSetConfig(out=str(tmp_path / "set"), corpus=str(write_corpus(tmp_path / "corpus")))
    assert question_set.STAGE.execute(config) == {"questions": 2, "voices": 2}
    found = read_set(
        "world_questions", tmp_path / "set" / "questions.jsonl", WORLD_QUESTIONS.read_item, needs_audio=True
    )
    assert {(item.prompt, item.references, item.subset) for item in found.items} == {
        ("what is red", ("apple",), "t0"),
        ("what is blue", ("sky",), "t1"),
    }
    assert all(item.audio is not None and len(item.audio.read()) == SAMPLE_RATE for item in found.items)


def test_foreign_questions_and_segments_are_refused(tmp_path: Path) -> None:
    other = write_corpus(tmp_path / "a", text="what is green")
    with pytest.raises(UserError, match="'what is green'"):
        question_set.STAGE.execute(QuestionSetConfig(out=str(tmp_path / "x"), corpus=str(other)))
    cut = write_corpus(tmp_path / "b", offset=0.0)
    with pytest.raises(UserError, match="a segment of a longer file"):
        question_set.STAGE.execute(QuestionSetConfig(out=str(tmp_path / "y"), corpus=str(cut)))


def test_replies_come_in_words_and_in_speech(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    config = QuestionSetConfig(out=str(tmp_path / "set"), corpus=str(corpus), replies=True, limit=1)
    replies = [Utterance("r", corpus / "audio" / "2.wav", 1.0, "the sky", "s", kind="reply")]
    write_manifest(corpus / "train.jsonl", replies)
    assert question_set.STAGE.execute(config)["questions"] == 1
    (row,) = map(json.loads, (tmp_path / "set" / "questions.jsonl").read_text().splitlines())
    assert (row["question"], row["answer_text"]) == ("what is blue", "the sky"), "nobody says the other's reply"
    assert (tmp_path / "set" / row["answer_audio"]).resolve() == (corpus / "audio" / "2.wav").resolve()
    write_manifest(
        corpus / "train.jsonl", [Utterance("r", corpus / "audio" / "2.wav", 1.0, "the sea", "s", kind="reply")]
    )
    with pytest.raises(UserError, match="no question whose reply is spoken"):
        question_set.STAGE.execute(config)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("the sky", 1),
        ("The SKY.", 1),
        ("sky", 1),
        ("it is the sky!", 1),
        ("the sky is red", 0),
        ("skylark", 0),
        ("sk y", 0),
        ("", 0),
        ("the sea", 0),
        ("no, the apple", 0),
        ("sky sky", 1),
        ("the\nsky ", 1),
    ],
)
def test_an_answer_ends_in_its_key(answer: str, expected: float) -> None:
    rule = WORLD_QUESTIONS.rules[0]
    score = rule.score(EvaluationItem(id="a", prompt="q", references=("sky",)), Answered(answer))
    assert score.measures["accuracy"].total == expected
