"""SpeechMMLU in its published layout: tables by subject, sounds below the root, worked examples in each voice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evaluation import answer, score
from evaluation.answers.answering import chosen_items, worked_examples
from evaluation.answers.config import AnswerConfig, ScoreConfig
from evaluation.benchmarks import speech_mmlu
from evaluation.benchmarks.table import BENCHMARKS
from runtime.artefact import read_json
from runtime.errors import UserError
from tests.support.scored_set import write_rows
from tests.support.small_speech_model import SmallModel, noise

MMLU = BENCHMARKS["speech_mmlu"]
VOICES = ("english_prompt_001", "english_prompt_002")
SUBJECTS = ("anatomy", "world_religions")


def write_sound(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, noise(seed, 0.4), 16_000, format="MP3")


def write_published(root: Path, num_shots: int = 2) -> Path:
    """Two subjects, each a table in a folder of its own, whose paths of sounds begin at the root."""
    shots: dict[str, Any] = {}
    for number, subject in enumerate(SUBJECTS):
        rows = []
        for one, voice in enumerate(VOICES):
            sound = f"audio/{subject}/{voice}/{one}.mp3"
            write_sound(root / sound, 10 * number + one)
            row = {"id": one, "subject": subject, "question_text": f"{subject} is the {one} Option A box Option B ball"}
            rows.append(row | {"question_audio": sound, "voice_id": voice, "answer": one})
            for shot in range(num_shots):
                folder = root / "audio" / subject / "prompts" / f"{subject}_{voice}"
                write_sound(folder / f"{subject}_beginning.mp3", 100 + number)
                write_sound(folder / f"{subject}_{shot}_question_and_choices.mp3", 1000 * one + 200 + shot)
                write_sound(folder / f"{subject}_{shot}_answer.mp3", 1000 * one + 300 + shot)
        write_rows(root / subject / "train.jsonl", rows)
        examples = [{"question": f"{subject} {shot}", "answer": "Option B. ball"} for shot in range(num_shots)]
        shots[subject] = {"beginning": f"These are about {subject}.", "examples": examples}
    (root / speech_mmlu.PUBLISHED_SHOTS).write_text(json.dumps(shots))
    return root


@pytest.fixture(autouse=True)
def forget() -> None:
    speech_mmlu.subject_shots.cache_clear()
    speech_mmlu.shots_in_voice.cache_clear()


def options(small: SmallModel, data: Path, out: Path, direction: str, **more: Any) -> AnswerConfig:
    given: dict[str, Any] = {"prompt": "qa", "shots": 2, "shots_of": "published", "shots_data": str(data)}
    if direction != "t2t":
        given["tokenizer"] = str(small.tokenizer)
    if direction.endswith("s"):
        given["recogniser"] = "lm"
    given |= {"max_new_tokens": 4} | more
    return AnswerConfig(
        out=str(out), benchmark=MMLU.name, data=str(data), direction=direction, model=str(small.folder), **given
    )


@pytest.mark.parametrize("direction", ["t2t", "s2t", "t2s", "s2s"])
def test_each_direction_is_answered_with_the_examples_of_the_own_subject_and_voice(
    small: SmallModel, tmp_path: Path, direction: str
) -> None:
    data = write_published(tmp_path / "SpeechMMLU")
    config = options(small, data, tmp_path / "out", direction)
    items = chosen_items(MMLU, config).items
    assert [(item.subset, item.voice) for item in items] == [(one, voice) for one in SUBJECTS for voice in VOICES]
    shots = worked_examples(MMLU, items, config)
    for item in items:
        first, second = shots.of(item)
        assert first.prompt == f"These are about {item.subset}.\n\n{item.subset} 0" and first.answer == "Option B. ball"
        assert second.prompt == f"{item.subset} 1"
        if direction == "t2t":
            assert first.audio is None and second.answer_audio is None
            continue
        folder = data / "audio" / item.subset / "prompts" / f"{item.subset}_{item.voice}"
        parts = [folder / f"{item.subset}_{name}.mp3" for name in ("beginning", "0_question_and_choices")]
        assert first.audio is not None and second.answer_audio is not None
        both = np.concatenate([soundfile.read(part, dtype="float32")[0] for part in parts])
        np.testing.assert_allclose(first.audio.read(), both, atol=1e-4)
        assert second.answer_audio.file == folder / f"{item.subset}_1_answer.mp3"
    assert answer.STAGE.execute(config)["failures"] == 0
    header = read_json(tmp_path / "out" / "answers.json")
    assert header["shots"] == 2 and header["settings"]["worked_examples"] == shots.digest
    found = score.STAGE.execute(
        ScoreConfig(out=str(tmp_path / "scores"), benchmark=MMLU.name, data=str(data), answers=str(tmp_path / "out"))
    )
    assert found["items"] == 4


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("sound", r"anatomy_english_prompt_002.*_1_answer\.mp3: no such sound of a published worked example"),
        ("file", r"few_shot_prompts\.json: no such file"),
        ("subject", r"0 worked examples of subject 'anatomy', fewer than shots=2"),
        ("few", r"1 worked examples of subject 'anatomy', fewer than shots=2"),
        ("layout", r"subject 'anatomy' without beginning and examples"),
        ("question", r"anatomy.train\.jsonl, line 1: no audio file .*, nor below .*SpeechMMLU"),
    ],
)
def test_what_is_missing_is_named(small: SmallModel, tmp_path: Path, broken: str, message: str) -> None:
    data = write_published(tmp_path / "SpeechMMLU")
    file = data / speech_mmlu.PUBLISHED_SHOTS
    shots = read_json(file)
    if broken == "sound":
        (data / "audio/anatomy/prompts/anatomy_english_prompt_002/anatomy_1_answer.mp3").unlink()
    elif broken == "question":
        (data / "audio/anatomy/english_prompt_001/0.mp3").unlink()
    elif broken == "file":
        file.unlink()
    else:
        if broken == "few":
            shots["anatomy"]["examples"].pop()
        one = {"layout": {"anatomy": []}, "few": {"anatomy": shots["anatomy"]}, "subject": {}}[broken]
        file.write_text(json.dumps({**{name: shots[name] for name in shots if name != "anatomy"}, **one}))
    with pytest.raises(UserError, match=message):
        answer.STAGE.execute(options(small, data, tmp_path / "out", "s2s"))


def test_a_set_without_published_examples_is_named(small: SmallModel, tmp_path: Path) -> None:
    write_rows(tmp_path / "set" / "set.jsonl", [{"question": "q", "answers": ["a"]}])
    config = options(small, tmp_path / "set", tmp_path / "out", "t2t")
    config.benchmark = "trivia_qa"
    with pytest.raises(UserError, match=r"option shots_of: published, and trivia_qa has none .*speech_mmlu"):
        answer.STAGE.execute(config)
