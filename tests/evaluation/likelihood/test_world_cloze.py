"""StoryCloze in the built-in world: new stories, endings of one form, both subsets; spoken and encoded."""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.audio.files import read_audio, write_audio
from corpus.manifest import Utterance, write_manifest
from corpus.world.facts import OBJECTS, PLACES
from corpus.world.voices import HELD_OUT, espeak_voice
from evaluation import cloze_set
from evaluation.likelihood.choice_sets import BENCHMARKS, read_choice_set
from evaluation.likelihood.cloze_config import ClozeSetConfig
from evaluation.likelihood.world_cloze import known_stories, new_stories, story_pairs
from runtime.artefact import file_digest, write_json
from tests.support.small_speech_model import SmallModel, noise
from tokenizer.model import SpeechTokenizer


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_pairs_have_one_right_ending_and_a_wrong_one_of_its_form(seed: int) -> None:
    pairs = story_pairs(10, set(), seed)
    assert [pair.subset for pair in pairs] == ["place", "topic"] * 5
    assert len({pair.id for pair in pairs}) == len({pair.context for pair in pairs}) == 10
    for pair in pairs:
        right, wrong = pair.correct.removesuffix(".").split(), pair.incorrect.removesuffix(".").split()
        assert [right[at] for at in (0, 1, 3, 4, 5)] == [wrong[at] for at in (0, 1, 3, 4, 5)]
        assert right[2] in OBJECTS and wrong[2] in OBJECTS and right[6] in PLACES and wrong[6] in PLACES
        assert right[6] != wrong[6] and (right[2] == wrong[2]) == (pair.subset == "place")
        context = pair.context.removesuffix(".").split(". ")
        assert 2 <= len(context) <= 3 and right[2] in pair.context.replace(".", "").split()
        assert context[-1].endswith(f"the {right[6]}") or " is " in context[-1], (
            "the last place in the story is the right one"
        )


def test_no_known_story_comes() -> None:
    first = list(islice(new_stories(random.Random(5), set()), 30))
    known = {" ".join(sentences) for sentences in first[::2]}
    again = list(islice(new_stories(random.Random(5), known), 15))
    assert again == first[1::2]


def make_corpus(folder: Path) -> Path:
    voices = [espeak_voice("f2", 50), espeak_voice("m1", 40), espeak_voice("f1", 50, role=HELD_OUT)]
    write_json(folder / "voices.json", {"answer": "espeak-f2", "voices": [voice.describe() for voice in voices]})
    written = "tom had a red ball. tom put the red ball in the box. now the ball is in the box."
    (folder / "texts.jsonl").write_text(json.dumps({"id": "a", "text": written}) + "\n")
    write_audio(folder / "a.wav", noise(1, 1.0))
    spoken = "anna had a cup anna left the cup in the car now the cup is in the car"
    write_manifest(folder / "train.jsonl", [Utterance("a", folder / "a.wav", 1.0, spoken, "espeak-f2")])
    return folder


def test_the_stage(small: SmallModel, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    assert known_stories(corpus) == {
        "tom had a red ball tom put the red ball in the box now the ball is in the box",
        "anna had a cup anna left the cup in the car now the cup is in the car",
    }
    options = {"corpus": str(corpus), "tokenizer": str(small.tokenizer), "pairs": 4, "audio": True}
    metrics = cloze_set.STAGE.execute(ClozeSetConfig(**options, out=str(tmp_path / "one")))
    assert metrics["pairs"] == 4 and metrics["voices"] == 2, "held-out voices do not speak"
    cloze_set.STAGE.execute(ClozeSetConfig(**options, out=str(tmp_path / "two")))
    assert file_digest(tmp_path / "one" / "set") == file_digest(tmp_path / "two" / "set")
    found = read_choice_set(BENCHMARKS["pairs"], tmp_path / "one" / "set", ("s2s", "t2t"))
    speech = SpeechTokenizer.from_pretrained(small.tokenizer)
    for item in found.items:
        assert item.speech_tokenizer == speech.fingerprint and item.correct == 0
        sounds = [read_audio(part.audio.file) for part in item.parts() if part.audio is not None and part.audio.file]
        assert len(sounds) == 3 and not np.array_equal(sounds[1], sounds[2])
        for part, sound in zip(item.parts(), sounds, strict=True):
            assert part.codes is not None and len(part.codes) == speech.time.num_tokens(len(sound))
