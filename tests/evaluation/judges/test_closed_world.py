from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from corpus.audio.files import read_audio
from corpus.text.word_errors import total, word_errors
from evaluation.judges.closed_world import Judge
from evaluation.judges.transcription import AudioItem, transcribe_all
from runtime.errors import UserError
from runtime.stage import Run


@pytest.fixture(scope="module")
def judge(sentences: list[str]) -> Judge:
    return Judge(sentences)


def test_untouched_speech_is_understood(judge: Judge, spoken: dict[str, Path]) -> None:
    heard = [judge.transcribe_file(file) for file in spoken.values()]
    assert total(word_errors(said, text) for said, text in zip(spoken, heard, strict=True)).rate <= 0.05


def test_transcripts_do_not_depend_on_what_was_heard_before(judge: Judge, spoken: dict[str, Path]) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, 16000).astype(np.float32)
    files = list(spoken.values())
    forward = [judge.transcribe_file(file) for file in files]
    judge.transcribe(noise)
    assert [judge.transcribe_file(file) for file in files[::-1]] == forward[::-1]
    for file, text in zip(files[:2], forward, strict=False):
        assert Judge(judge.sentences).transcribe_file(file) == text


def test_processes_change_nothing(judge: Judge, spoken: dict[str, Path], tmp_path: Path) -> None:
    listenings = [AudioItem(said, file) for said, file in spoken.items()]
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
    heard = [transcribe_all(judge, listenings, Run(tmp_path / str(number)), processes=number) for number in (1, 2)]
    assert heard[0] == heard[1] == {said: judge.transcribe_file(file) for said, file in spoken.items()}


def test_loudness_and_lost_halves(judge: Judge, spoken: dict[str, Path]) -> None:
    said, file = next(iter(spoken.items()))
    audio = read_audio(file)
    assert judge.transcribe(0.05 * audio) == judge.transcribe(audio) == said
    assert judge.transcribe(audio[: len(audio) // 2]) != said


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(100), np.zeros(32000), np.full(16000, np.nan)])
def test_silence_is_no_sentence(judge: Judge, audio: np.ndarray) -> None:
    assert len(judge.transcribe(audio.astype(np.float32)).split()) <= 1


def test_it_knows_its_sentences_only(judge: Judge) -> None:
    assert judge.knows("The sky is blue.")
    assert not judge.knows("the sky is the sky")
    with pytest.raises(UserError, match="xylograf"):
        Judge(["the xylograf is blue"])


def test_a_judge_travels_to_another_process(judge: Judge) -> None:
    assert pickle.loads(pickle.dumps(Judge(judge.sentences))).knows("the sky is blue")
