from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chatbot.chat import main
from chatbot.terminal.screen import one_line
from tests.support.odd_audio import write_odd_audio

from .conftest import babble


@pytest.fixture
def question(tmp_path: Path) -> Path:
    """Stereo at 44.1 kHz: what a phone records."""
    file = tmp_path / "question.wav"
    soundfile.write(file, np.stack([babble(1, 2.0), babble(2, 2.0)], 1), 44100)
    return file


def test_a_question_is_answered(
    chain: Path, question: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "answer.flac"
    assert main([str(question), "--out", str(out), "--bundle", str(chain / "bundle")]) == 0
    shown = capsys.readouterr().out
    assert [line.split(":")[0] for line in shown.splitlines()] == ["heard", "said", "spoken answer"]
    assert soundfile.info(out).samplerate == 16000
    written = out.read_bytes()
    assert main([str(question), "--out", str(out), "--bundle", str(chain / "bundle" / "bundle"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert out.read_bytes() == written
    assert soundfile.info(out).duration == pytest.approx(result["seconds"], abs=1e-3)
    assert shown.splitlines()[1].removeprefix("said:  ") == one_line(result["said"])
    assert result["timings"]["first_audio"] <= result["timings"]["total"]


def test_a_file_without_speech_is_not_answered(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silence, out = tmp_path / "silence.wav", tmp_path / "answer.wav"
    soundfile.write(silence, np.zeros(88_200), 44100)
    words = [str(silence), "--out", str(out), "--bundle", str(chain / "bundle")]
    assert main(words) == 0
    assert "nothing heard" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["heard"], result["said"], result["audio"]) == ("", "", None)
    assert not out.exists()


def test_several_files_are_one_dialogue(
    chain: Path, question: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "answer.wav"
    files = [str(question), str(question)]
    assert main([*files, "--out", str(out), "--bundle", str(chain / "bundle"), "--json"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["audio"] for result in results] == [str(tmp_path / f"answer-{n}.wav") for n in (1, 2)]
    assert not out.exists()


def spoilt(folder: Path, kind: str) -> Path:
    file = folder / f"{kind}.wav"
    if kind == "empty":
        soundfile.write(file, np.zeros(0, np.float32), 16000)
    elif kind == "short":
        soundfile.write(file, babble(0, 0.02), 16000)
    elif kind == "long":
        soundfile.write(file, babble(0, 40.0), 16000)
    elif kind == "corrupt":
        file.write_bytes(b"RIFF rubbish")
    elif kind == "nan":
        soundfile.write(file, np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    elif kind == "silent":
        soundfile.write(file, np.full(16000, 1e-4, np.float32), 16000)
    elif kind == "cancels":
        return write_odd_audio(folder)[0]
    return file


def torn_bundle(chain: Path, folder: Path) -> Path:
    """A bundle whose weights cannot be loaded."""
    shutil.copytree(chain / "bundle" / "bundle", folder / "bundle")
    for weights in (folder / "bundle").rglob("*.safetensors"):
        weights.write_bytes(b"torn")
    return folder / "bundle"


@pytest.mark.parametrize(("kind", "warning"), [("silent", ""), ("cancels", "channels cancel out")])
def test_silence_is_known_before_a_model_is_loaded(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, warning: str
) -> None:
    file = spoilt(tmp_path, kind)
    assert main([str(file), "--bundle", str(torn_bundle(chain, tmp_path)), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["heard"] == "" and warning in shown.err


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such audio file"),
        ("corrupt", "not readable as audio"),
        ("empty", "without samples"),
        ("nan", "NaN"),
        ("short", "0.02 s of audio"),
        ("long", "40.0 s of audio. ask in at most"),
    ],
)
def test_bad_questions_are_explained_before_a_model_is_loaded(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, words: str
) -> None:
    """The bundle's weights are torn: loading them would be the error."""
    file = spoilt(tmp_path, kind)
    arguments = [str(file), "--out", str(tmp_path / "a.wav"), "--bundle", str(torn_bundle(chain, tmp_path))]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert file.name in error
    assert "Traceback" not in error


def test_bad_places_are_explained(
    chain: Path, question: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(question), "--bundle", str(tmp_path)]) == 2
    assert "no chatbot bundle" in capsys.readouterr().err
    assert main([str(question), "--bundle", str(chain / "bundle"), "--out", "answer.doc"]) == 2
    assert "ends in .wav or .flac" in capsys.readouterr().err
    assert main(["--bundle", str(tmp_path)]) == 2
    assert "no chatbot bundle" in capsys.readouterr().err
    assert main(["--json"]) == 2
    assert "no question" in capsys.readouterr().err
    assert main([str(question), "--bundle", str(chain / "bundle"), "--voice", "nobody"]) == 2
    assert "choose one of anna" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "chatbot.chat", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "speechweave chat question.wav" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "chatbot" in loaded
    assert not loaded & {"torch", "transformers", "scipy", "chatbot.engine.engine"}
