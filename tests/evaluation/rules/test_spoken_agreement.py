"""Word errors between spoken and written replies: hand-computed cases, and jiwer as the reference."""

from __future__ import annotations

import random

import jiwer
import pytest

from evaluation.rules.measure import score_set
from evaluation.rules.rule import Answered
from evaluation.rules.spoken_agreement import SPOKEN_AGREEMENT, whisper_words
from evaluation.sets.item import EvaluationItem

ITEM = EvaluationItem(id="a", prompt="p")


@pytest.mark.parametrize(
    ("written", "spoken", "measure", "errors", "size"),
    [
        ("Hello there.", "hello there", "wer", 0, 2),
        ("Hello, there!", "HELLO THERE", "wer", 0, 2),
        ("a b c d", "a x c d", "wer", 1, 4),
        ("a b c d", "a b d", "wer", 1, 4),
        ("a b c d", "a b c c d", "wer", 1, 4),
        ("a b", "", "wer", 2, 2),
        ("a", "b c d", "wer", 3, 1),  # more than one
        ("I can't", "i cannot", "wer", 2, 3),  # the normaliser writes "can not", and leaves "cannot"
        ("twenty three people", "23 people", "wer", 0, 2),
        ("the colour", "the color", "wer", 0, 2),  # British and American
        ("um, well", "well", "wer", 0, 1),  # fillers go
        ("你好，世界", "你好世界", "cer", 0, 4),
        ("你好世界", "你好时间", "cer", 2, 4),
        ("你好世界", "", "cer", 4, 4),
        ("", "anything", "", 0, 0),
        ("...", "anything", "", 0, 0),
    ],
)
def test_hand_computed_errors(written: str, spoken: str, measure: str, errors: int, size: int) -> None:
    score = SPOKEN_AGREEMENT.score(ITEM, Answered(spoken, written=written))
    if size:
        assert score.measures == {measure: (errors, size)} and not score.note
    else:
        assert score.measures == {} and score.note.startswith("no w")


def test_micro_and_mean_of_items_are_jiwers() -> None:
    rng = random.Random(5)
    words = ["red", "blue", "green", "cat", "dog", "sings", "runs"]
    written = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(200)]
    spoken = [
        " ".join(rng.choice([word, word, word, rng.choice(words), "", f"{word} {word}"]) for word in text.split())
        for text in written
    ]
    spoken = [" ".join(text.split()) for text in spoken]
    scores = [("", SPOKEN_AGREEMENT.score(ITEM, Answered(s, written=w))) for w, s in zip(written, spoken, strict=True)]
    found = score_set(scores).means["wer"]
    normal = [[" ".join(whisper_words(text)) for text in texts] for texts in (written, spoken)]
    assert found.micro == pytest.approx(jiwer.wer(*normal), abs=1e-6)
    each = [jiwer.wer(w, s) for w, s in zip(*normal, strict=True)]
    assert found.macro == pytest.approx(sum(each) / len(each), abs=1e-6)


def test_only_speech_is_scored() -> None:
    assert SPOKEN_AGREEMENT.media == ("speech",)
