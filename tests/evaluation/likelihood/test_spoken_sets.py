"""Small sets of real speech in the published layouts, through the scorer: parts, means, missing or empty sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.audio.files import write_audio
from corpus.world.synthesis import Prompt, render
from corpus.world.voices import ESPEAK_VOICES
from evaluation import base, base_score
from evaluation.likelihood.config import BaseConfig, BaseScoreConfig
from evaluation.likelihood.likelihood_file import read_likelihoods
from runtime.artefact import read_json
from runtime.errors import UserError
from tests.support.small_speech_model import SmallModel

HIGH, LOW = ESPEAK_VOICES[0], ESPEAK_VOICES[5]


def say(file: Path, text: str, *voices: Any) -> None:
    """Words in the voices, half of them in each."""
    words, share = text.split(), len(voices)
    cuts = [words[at * len(words) // share : (at + 1) * len(words) // share] for at in range(share)]
    sounds = [render(Prompt(text, " ".join(cut), voice, file), 1) for cut, voice in zip(cuts, voices, strict=True)]
    write_audio(file, np.concatenate(sounds))


def score(small: SmallModel, data: Path, out: Path, name: str, **options: Any) -> dict[str, Any]:
    settings = {"model": str(small.folder), "tokenizer": str(small.tokenizer), "directions": ["s2s"]} | options
    base.STAGE.execute(BaseConfig(out=str(out / "base"), benchmark=name, data=str(data), **settings))
    return base_score.STAGE.execute(BaseScoreConfig(out=str(out / "scores"), likelihoods=str(out / "base")))


def write_salmon(folder: Path) -> Path:
    for number, text in enumerate(("now the ball is here", "the cup is on the table", "we go to the sea today")):
        say(folder / "gender_consistency" / f"sample_{number}_a.wav", text, HIGH)
        say(folder / "gender_consistency" / f"sample_{number}_b.wav", text, HIGH, LOW)
    say(folder / "sentiment_alignment" / "sample_0_a.wav", "what a fine day", HIGH)
    say(folder / "sentiment_alignment" / "sample_0_b.wav", "what a fine day", LOW)
    return folder


def test_parts_of_salmon_and_their_mean(small: SmallModel, tmp_path: Path) -> None:
    metrics = score(small, write_salmon(tmp_path / "set"), tmp_path, "salmon")
    assert (metrics["items"], metrics["failures"]) == (4, 0)
    by_part: dict[str, list[float]] = {"gender_consistency": [], "sentiment_alignment": []}
    for one in read_likelihoods(tmp_path / "base").likelihoods:
        right, wrong = (each.continuation.sum for each in one.candidates)
        by_part[one.subset].append(float(right > wrong))
    for part, values in by_part.items():
        assert metrics[f"s2s.continuation_sum.accuracy.{part}"] == pytest.approx(np.mean(values), abs=1e-6)
    stored = {one["stamp"]["rule"]: one["score"] for one in read_json(tmp_path / "scores" / "scores.json")["scores"]}
    mean = stored["continuation_sum"]["means"]["accuracy"]
    assert (
        mean["micro"]
        != mean["subset_mean"]
        == pytest.approx(np.mean([np.mean(values) for values in by_part.values()]), abs=1e-6)
    )
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert "* parts without an item: sentiment_consistency, speaker_consistency, bg_domain_consistency" in table
    assert "| TWIST-7B | S->S | 70 | gender_consistency |" in table


def test_sentences_and_stories_of_slamkit(small: SmallModel, tmp_path: Path) -> None:
    for number, text in enumerate(("the dogs bark", "the dogs barks", "she sees the sea", "she see the sea")):
        say(tmp_path / "sblimp" / f"{number}+{number % 2}.wav", text, HIGH)
        say(tmp_path / "story" / f"{number}_a.wav", f"tom had a ball now {text}", LOW)
    for name, folder in (("sblimp", "sblimp"), ("story_cloze", "story")):
        metrics = score(small, tmp_path / folder, tmp_path / f"{name}_scored", name)
        assert (metrics["items"], metrics["failures"]) == (2, 0)
        assert metrics["s2s.sequence.accuracy"] == metrics["s2s.continuation.accuracy"], "no context: one rule"


def test_an_empty_sound_fails_by_name_and_counts_as_wrong(small: SmallModel, tmp_path: Path) -> None:
    data = write_salmon(tmp_path / "set")
    empty = data / "gender_consistency" / "sample_1_b.wav"
    write_audio(empty, np.zeros(0, np.float32))
    (data / "gender_consistency" / "sample_2_b.wav").unlink()
    with pytest.raises(UserError, match=r"sample_2_a\.wav: no pair"):
        score(small, data, tmp_path / "a", "salmon")
    with pytest.raises(UserError, match=r"sample_1_b\.wav"):
        score(small, data, tmp_path / "b", "salmon", max_bad_share=0.3)
    metrics = score(small, data, tmp_path / "c", "salmon", max_bad_share=0.3, max_failed_share=0.5)
    assert (metrics["items"], metrics["failures"]) == (3, 1)
    failed = [one for one in read_likelihoods(tmp_path / "c" / "base").likelihoods if one.failure]
    assert [one.id for one in failed] == ["gender_consistency/1"] and empty.name in failed[0].failure
