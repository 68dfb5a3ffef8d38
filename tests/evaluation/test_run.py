from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.audio.files import read_audio, write_audio
from corpus.manifest import Utterance, write_manifest
from corpus.world.dialogues import QuestionDialogue, QuestionTurn, dialogue_line
from evaluation.run import STAGE
from evaluation.speech.config import EvaluationConfig
from runtime.errors import UserError


def utterances(spoken: dict[str, Path], speaker: str = "anna") -> list[Utterance]:
    return [
        Utterance(f"u{number}", file, len(read_audio(file)) / 16000, text, speaker, kind="statement")
        for number, (text, file) in enumerate(spoken.items())
    ]


@pytest.fixture
def chain(tmp_path: Path, spoken: dict[str, Path], sentences: list[str]) -> Path:
    """A corpus, its resynthesis (one utterance spoilt, one outside of the world), and three answers."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "sentences.txt").write_text("\n".join(sentences) + "\n")
    stranger = Utterance("u9", next(iter(spoken.values())), 1.0, "france is what", "bert")
    write_manifest(tmp_path / "corpus" / "heldout_sentence.jsonl", [*utterances(spoken), stranger])
    for name, spoilt in (("resynthesis", 1), ("griffin_lim", 3)):
        made = []
        for number, utterance in enumerate(utterances(spoken)):
            file = tmp_path / name / "audio" / f"{utterance.id}.flac"
            audio = read_audio(utterance.audio)
            write_audio(file, np.zeros_like(audio) if number < spoilt else audio)
            made.append(Utterance(utterance.id, file, utterance.duration, utterance.text, "anna"))
        write_manifest(tmp_path / name / "manifest.jsonl", [*made, stranger])
    asked = [
        ("what is the capital of france", "paris", "the capital of france is paris", "capital"),
        ("what color is the sky", "blue", "the sky is blue", "colour"),
        ("what time is it one hour after one o'clock", "two o'clock", "it is two o'clock", "clock"),
    ]
    questions: list[dict[str, Any]] = [
        {"id": f"q{n}", "question": q, "answer": key, "reply": reply, "topic": topic, "split": "heldout"}
        for n, (q, key, reply, topic) in enumerate(asked)
    ]
    answers: list[dict[str, Any]] = [
        {
            "id": question["id"],
            "audio": str(spoken[question["question"]]),
            "question": question["question"],
            "heard": question["question"],
            "said": question["reply"],
            "reply_audio": str(spoken[question["reply"]]),
            "speaker": "anna",
            "seconds": 1.0,
        }
        for question in questions
    ]
    answers[1] |= {"heard": "what color is the grass", "said": "the grass is green"}  # writes one, says another
    answers[2] |= {"reply_audio": None}  # says nothing
    for name, rows in (("corpus/questions.jsonl", questions), ("answers/answers.jsonl", answers)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def config(chain: Path, **changes: Any) -> EvaluationConfig:
    options = {
        "out": str(chain / "out"),
        "corpus": str(chain / "corpus"),
        "resynthesis": str(chain / "resynthesis"),
        "resynthesis_fallback": str(chain / "griffin_lim"),
        "answers": str(chain / "answers"),
        "processes": 1,
    }
    return EvaluationConfig(**{**options, **changes})


def test_answers_within_dialogues_are_scored_by_their_relation(chain: Path) -> None:
    answers = [json.loads(line) for line in (chain / "answers" / "answers.jsonl").read_text().splitlines()]
    keys, relations = ("paris", "blue", "two o'clock"), ("first", "followup", "followup")
    turns = [
        QuestionTurn(row["id"], row["question"], key, f"it is {key}", "any", relation)
        for row, key, relation in zip(answers, keys, relations, strict=True)
    ]
    for number, row in enumerate(answers):
        row["id"] = f"dialogue-{number}"
    (chain / "told").mkdir()
    (chain / "told" / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    changes = {"answers": None, "dialogue_answers": str(chain / "told")}
    file = chain / "corpus" / "dialogues_heldout.jsonl"
    file.write_text(dialogue_line(QuestionDialogue("a", turns)) + "\n")
    with pytest.raises(UserError, match="which the corpus does not have"):
        STAGE.execute(config(chain, **changes))
    named = [replace(turn, utterance=f"dialogue-{number}") for number, turn in enumerate(turns)]
    file.write_text(dialogue_line(QuestionDialogue("a", named)) + "\n")
    metrics = STAGE.execute(config(chain, **changes))
    assert (metrics["dialogue.questions.first"], metrics["dialogue.questions.followup"]) == (1, 2)
    assert metrics["dialogue.speech_to_text_accuracy.first"] == 1.0
    assert metrics["dialogue.speech_to_text_accuracy.followup"] == 0.5
    assert metrics["dialogue.speech_to_speech_accuracy.followup"] == 0.5
    assert "chat.questions" not in metrics
    rows = [json.loads(line) for line in (chain / "out" / "details.jsonl").read_text().splitlines()]
    assert [row["relation"] for row in rows if row["part"] == "dialogue"] == list(relations)


def test_the_whole_evaluation(chain: Path) -> None:
    metrics = STAGE.execute(config(chain))
    assert metrics["judge.utterances"] == 6
    assert metrics["judge.outside_world"] == 2
    assert metrics["judge.floor_wer"] == metrics["judge.floor_wer.anna"] == 0.0
    assert metrics["decoder.judge_wer"] == pytest.approx(6 / 34, abs=1e-5)  # one sentence of six words is lost
    assert metrics["decoder.judge_wer_griffin_lim"] == pytest.approx(17 / 34, abs=1e-5)
    assert metrics["chat.questions"] == 3
    assert metrics["chat.silent"] == 1
    assert metrics["chat.heard_wer"] == pytest.approx(1 / 20)
    assert metrics["chat.speech_to_text_accuracy"] == pytest.approx(2 / 3, abs=1e-5)
    assert metrics["chat.speech_to_speech_accuracy"] == pytest.approx(2 / 3, abs=1e-5)
    assert metrics["chat.speech_to_text_accuracy.colour"] == 0.0
    assert metrics["chat.speech_to_speech_accuracy.colour"] == 1.0
    assert metrics["chat.speech_to_speech_accuracy.clock"] == 0.0
    assert metrics["chat.spoken_agreement_wer"] == pytest.approx((2 + 4) / 14, abs=1e-5)
    rows = [json.loads(line) for line in (chain / "out" / "details.jsonl").read_text().splitlines()]
    assert [row["part"] for row in rows] == ["answer"] * 3 + ["floor"] * 6 + ["griffin_lim"] * 6 + ["resynthesis"] * 6
    assert [row["is_text_right"] for row in rows[:3]] == [True, False, True]


def test_an_interrupted_evaluation_goes_on(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluation.judges.closed_world import Judge

    unbroken = STAGE.execute(config(chain, out=str(chain / "unbroken")))
    listened: list[str] = []
    original = Judge.transcribe_file

    def counted(self: Judge, path: str) -> str:
        if len(listened) == 8 + 3:  # units of eight files
            raise KeyboardInterrupt
        listened.append(str(path))
        return original(self, path)

    monkeypatch.setattr(Judge, "transcribe_file", counted)
    with pytest.raises(KeyboardInterrupt):
        STAGE.execute(config(chain))
    monkeypatch.setattr(Judge, "transcribe_file", lambda self, path: listened.append(path) or original(self, path))
    assert STAGE.execute(config(chain)) == unbroken
    assert len(listened) == 6 + 6 + 6 + 2 + 3  # what was finished is not heard again
    for name in ("details.jsonl", "metrics.json"):
        assert (chain / "out" / name).read_bytes() == (chain / "unbroken" / name).read_bytes()


def test_the_chatbot_may_be_left_out(chain: Path) -> None:
    metrics = STAGE.execute(config(chain, answers=None, resynthesis_fallback=None))
    assert "decoder.judge_wer" in metrics
    assert not [key for key in metrics if key.startswith("chat.") or "griffin" in key]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corpus": "nowhere"}, "sentences.txt: no such file"),
        ({"resynthesis": "nowhere"}, "manifest.jsonl: no such manifest"),
        ({"answers": "nowhere"}, "answers.jsonl: no such file"),
    ],
)
def test_missing_inputs_are_named(chain: Path, changes: dict[str, str], words: str) -> None:
    (chain / "nowhere").mkdir()
    with pytest.raises(UserError, match=words):
        STAGE.execute(config(chain, **{key: str(chain / value) for key, value in changes.items()}))


def test_foreign_recordings_are_refused(chain: Path) -> None:
    manifest = chain / "resynthesis" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"u1"', '"other"'))
    with pytest.raises(UserError, match="utterance other, which the corpus lacks"):
        STAGE.execute(config(chain))
