"""The whole table of speech quality."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile
import torch

from corpus.audio.files import read_audio, write_audio
from corpus.audio.mel import LogMel
from corpus.manifest import Utterance, write_manifest
from decoder.config import VocoderConfig
from decoder.vocoder import Vocoder
from evaluation.judges.external_models import dnsmos_ratings
from evaluation.quality import STAGE
from evaluation.speech.config import QualityConfig
from evaluation.speech.quality_measurement import measure
from evaluation.speech.quality_table import markdown, summarise
from runtime.errors import UserError
from runtime.stage import Run

RATE = 16000


@pytest.fixture
def made(tmp_path: Path, spoken: dict[str, Path], sentences: list[str]) -> Path:
    """A corpus, a perfect resynthesis and a noisy one that lacks an utterance; one text is outside of the world."""
    generator = np.random.default_rng(0)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "sentences.txt").write_text("\n".join(sentences) + "\n")
    items = [
        Utterance(f"u{number}", file, len(read_audio(file)) / RATE, text if number else "france is what", "anna")
        for number, (text, file) in enumerate(list(spoken.items())[:3])
    ]
    write_manifest(tmp_path / "corpus" / "heldout_sentence.jsonl", items)
    for name, noise in (("perfect", 0.0), ("noisy", 0.05)):
        copies = []
        for item in items[: 3 if name == "perfect" else 2]:
            audio, file = read_audio(item.audio), tmp_path / name / "audio" / f"{item.id}.flac"
            write_audio(file, audio + noise * generator.standard_normal(len(audio)).astype(np.float32))
            copies.append(Utterance(item.id, file, item.duration, item.text, "anna"))
        write_manifest(tmp_path / name / "manifest.jsonl", copies)
    return tmp_path


class Loudness(torch.nn.Module):
    """Stands for a naturalness predictor: the same call, a score that is easy to check."""

    def forward(self, audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
        return audio.abs().max() * sample_rate


def test_the_whole_table(made: Path) -> None:
    predictor = made / "utmos.pt"
    torch.jit.script(Loudness()).save(str(predictor))  # type: ignore[no-untyped-call]
    options = {"out": str(made / "out"), "corpus": str(made / "corpus"), "processes": 1, "sheets": 1}
    folders = {"perfect": str(made / "perfect"), "noisy": str(made / "noisy")}
    metrics = STAGE.execute(QualityConfig(resynthesis=folders, utmos=str(predictor), **options))  # type: ignore[arg-type]
    assert metrics["recordings.utterances"] == metrics["perfect.utterances"] == 3 and metrics["noisy.utterances"] == 2
    assert metrics["perfect.judge_wer"] == metrics["recordings.judge_wer"]
    assert metrics["perfect.mel_cepstral_distance"] == 0 < metrics["noisy.mel_cepstral_distance"]
    assert metrics["noisy.stoi"] < metrics["perfect.stoi"] and metrics["noisy.pesq"] < metrics["perfect.pesq"]
    assert metrics["recordings.utmos"] == pytest.approx(metrics["perfect.utmos"])
    assert metrics["recordings.utmos"] > 100  # a tenth of the sample rate, say: it was called with it
    assert "recordings.stoi" not in metrics and "noisy.voice_likeness" not in metrics
    rows = [json.loads(line) for line in (made / "out" / "details.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert [row["id"] for row in rows if "judge" not in row] == ["u0", "u0", "u0"]  # outside of the closed world
    text = (made / "out" / "quality.md").read_text()
    assert "| recordings | 3 |" in text and "| noisy | 2 |" in text and "time warping" in text
    assert (made / "out" / "sheets" / "01.png").stat().st_size > 5000
    assert not (made / "out" / "sheets" / "02.png").exists()
    assert metrics["recordings.hop_modulation"] == metrics["perfect.hop_modulation"] > metrics["noisy.hop_modulation"]
    assert "hop modulation, %" in text
    page = (made / "out" / "listening.html").read_text()
    linked = [made / "out" / file for file in re.findall(r'src="(sounds/[^"]+)"', page)]
    assert [file.stem for file in linked] == ["01-recordings", "01-perfect", "01-noisy"]
    assert read_audio(linked[1]).tobytes() == read_audio(made / "perfect/audio/u0.flac").tobytes()
    assert page.count("<td>recordings</td>") == 2  # in the table and on the sheet


def test_the_command_line_names_rows(made: Path) -> None:
    arguments = [f"out={made}/line", f"corpus={made}/corpus", f"resynthesis.perfect={made}/perfect", "processes=1"]
    assert STAGE.main([*arguments, "sheets=0", "limit=1"]) == 0
    assert "| perfect | 1 |" in (made / "line" / "quality.md").read_text()


def test_a_vocoder_has_a_row_of_recordings_through_it_alone(made: Path, spoken: dict[str, Path]) -> None:
    vocoder = Vocoder(VocoderConfig(width=16, layers=1)).eval()
    vocoder.save_pretrained(made / "vocoder" / "artefact")
    arguments = [f"out={made}/copied", f"corpus={made}/corpus", f"resynthesis.noisy={made}/noisy", "processes=1"]
    assert STAGE.main([*arguments, f"vocoder={made}/vocoder", "sheets=1"]) == 0
    metrics = json.loads((made / "copied" / "metrics.json").read_text())
    assert metrics["copy_synthesis.utterances"] == 2 and metrics["copy_synthesis.mel_cepstral_distance"] > 1
    assert metrics["copy_synthesis.hop_modulation"] > metrics["recordings.hop_modulation"]
    recorded, copied = read_audio(next(iter(spoken.values()))), read_audio(made / "copied/copy_synthesis/u0.flac")
    assert len(copied) == len(recorded)
    padded = torch.from_numpy(np.pad(recorded, (0, -len(recorded) % 160)))[None]
    expected = vocoder(LogMel()(padded))[0, : len(recorded)].detach().numpy()
    np.testing.assert_allclose(copied, np.clip(expected, -1, 1), atol=1e-4)
    assert (made / "copied" / "sounds" / "01-copy_synthesis.flac").is_file()


def test_a_table_has_what_was_measured() -> None:
    rows = [{"judge_edits": 1, "judge_words": 4, "stoi": 0.5}, {"judge_edits": 0, "judge_words": 6, "stoi": None}]
    summary = summarise(rows)
    assert summary == {"utterances": 2, "judge_wer": 0.1, "stoi": 0.5}
    text = markdown({"recordings": {"utterances": 2}, "made": summary})
    assert "| recordings | 2 | - | - |" in text and "| made | 2 | 10.00 | 0.500 |" in text


def test_wrong_options_are_explained() -> None:
    with pytest.raises(UserError, match="name at least one"):
        QualityConfig(out="x", corpus="x", resynthesis={})
    with pytest.raises(UserError, match="recordings' own row"):
        QualityConfig(out="x", corpus="x", resynthesis={"recordings": "x"})
    with pytest.raises(UserError, match="vocoder's own row"):
        QualityConfig(out="x", corpus="x", resynthesis={"copy_synthesis": "x"})


def test_ratings_without_their_package_are_refused_before_anything_is_measured(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    config = QualityConfig(
        out=str(made / "out"), corpus="nowhere", resynthesis={"perfect": str(made / "perfect")}, dnsmos=True
    )
    with pytest.raises(UserError, match=r"dnsmos=true.*onnxruntime is not installed.*speechweave\[quality\]"):
        measure(config, cast(Run, None))


def test_predicted_ratings(made: Path) -> None:
    config = QualityConfig(
        out=str(made / "out"),
        corpus=str(made / "corpus"),
        resynthesis={"noisy": str(made / "noisy")},
        dnsmos=True,
        processes=1,
        sheets=0,
        limit=1,
    )
    metrics = STAGE.execute(config)
    assert metrics["recordings.dnsmos_ovrl"] > metrics["noisy.dnsmos_ovrl"] > 1
    assert metrics["recordings.dnsmos_bak"] > metrics["noisy.dnsmos_bak"] + 0.5  # noise was added behind the speech
    assert "DNSMOS P.808" in (made / "out" / "quality.md").read_text()


def test_ratings_of_sound_beyond_full_scale(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", 4 * np.sin(np.arange(RATE) / 20), RATE, subtype="FLOAT")
    (ratings,) = dnsmos_ratings([tmp_path / "loud.wav"])
    assert all(0.5 < value < 5 for value in ratings.values())
