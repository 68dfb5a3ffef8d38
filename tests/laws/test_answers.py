"""What chatbot.respond leaves is what evaluation.run reads: files alone pass between these two rooms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from chatbot.answers.answering import Answer, keep, without_timings
from corpus.audio.files import read_audio, write_audio
from corpus.manifest import Utterance
from corpus.world.questions import QuestionAnswer
from evaluation.question_answering.answers import read_answers, replies_to_transcribe, score, summarise

ASKED = QuestionAnswer("q", "what color is the sky", "blue", "the sky is blue", "colour", "heldout")


def answer(num_samples: int) -> Answer:
    return Answer(
        heard=ASKED.question,
        said=ASKED.reply,
        audio=np.full(num_samples, 0.1, np.float32),
        sample_rate=16000,
        is_cut=False,
        timings={"listen": 0.1, "think": 0.2, "speak": 0.3},
        tokens_before_speech=6,
        speech_blocks=1,
    )


def test_answers_pass_from_chatbot_to_evaluation(tmp_path: Path) -> None:
    audio = tmp_path / "corpus" / "audio" / "q.flac"
    write_audio(audio, np.full(16000, 0.1, np.float32))
    (tmp_path / "disk" / "answers").mkdir(parents=True)
    out = tmp_path / "answers"
    out.symlink_to(tmp_path / "disk" / "answers")  # run folders are often links to another disk
    questions = [Utterance(name, audio, 1.0, "What color is the sky?", "anna") for name in ("spoken/1", "silent")]
    kept = [keep(question, answer(size), out) for question, size in zip(questions, (12800, 0), strict=True)]
    (out / "answers.jsonl").write_text("".join(json.dumps(without_timings(record)) + "\n" for record in kept))

    spoken, silent = read_answers(out, lambda _, words: {"what color is the sky": ASKED}.get(words))
    assert spoken.audio.is_file()
    assert spoken.reply_audio is not None
    assert len(read_audio(spoken.reply_audio)) == 12800
    assert silent.reply_audio is None
    assert [listening.audio for listening in replies_to_transcribe([spoken, silent])] == [spoken.reply_audio]
    metrics = summarise(score([spoken, silent], {"answer/spoken/1": "the sky is blue"}))
    assert metrics["chat.heard_wer"] == 0
    assert metrics["chat.speech_to_text_accuracy"] == 1.0
    assert metrics["chat.speech_to_speech_accuracy"] == 0.5
    assert metrics["chat.spoken_agreement_wer"] == 0.5
    assert metrics["chat.silent"] == 1
