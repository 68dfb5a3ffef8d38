"""The measures against what they must say of known sounds, and the whole table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.audio.files import Samples, read_audio, write_audio
from corpus.manifest import Utterance, write_manifest
from evaluation.judges.external_models import naturalness, transcripts
from evaluation.quality import STAGE
from evaluation.speech.config import QualityConfig
from evaluation.speech.objective_metrics import compare_audio, mel_cepstral_distance
from evaluation.speech.pitch import agreement, pitch
from evaluation.speech.quality_table import markdown, summarise
from runtime.errors import UserError

RATE = 16000


def buzz(hertz: np.ndarray, loudness: float = 0.1) -> Samples:
    """A voice-like sound of a given pitch at each sample."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    sound = sum(np.sin(n * phase) / n for n in range(1, 12))
    return (loudness * np.asarray(sound)).astype(np.float32)


@pytest.mark.parametrize("hertz", [70.0, 110.0, 220.0, 410.0])
def test_pitch_of_a_steady_sound(hertz: float) -> None:
    track = pitch(buzz(np.full(RATE, hertz)), RATE)
    assert len(track) == 97
    assert (track > 0).all()
    np.testing.assert_allclose(track, hertz, rtol=0.01)


def test_pitch_follows_a_glide_and_knows_silence_and_noise() -> None:
    glide = np.linspace(100, 300, RATE)
    noise = 0.05 * np.random.default_rng(0).standard_normal(RATE // 2).astype(np.float32)
    silence = np.zeros(RATE // 2, dtype=np.float32)
    track = pitch(np.concatenate([buzz(glide), silence, noise]), RATE)
    expected = glide[(np.arange(97) * 160 + 320)]
    np.testing.assert_allclose(track[:97], expected, rtol=0.02)
    assert (track[104:144] == 0).all()
    assert (track[154:] > 0).mean() < 0.1
    assert len(pitch(np.zeros(100, dtype=np.float32), RATE)) == 0


def test_agreement_of_pitches() -> None:
    rising, falling = np.linspace(100, 200, 50), np.linspace(200, 100, 50)
    assert agreement(rising, 2 * rising).correlation == pytest.approx(1.0)
    assert agreement(rising, falling).correlation < -0.9
    half = np.where(np.arange(50) < 25, rising, 0.0)
    assert agreement(rising, half).voicing == 0.5
    assert np.isnan(agreement(rising, np.zeros(50)).correlation)
    assert np.isnan(agreement(np.zeros(0), rising).voicing)


def test_the_same_is_like_itself_and_noise_takes_it_away(spoken: dict[str, Path]) -> None:
    audio = read_audio(next(iter(spoken.values())))
    same = compare_audio(audio, audio)
    assert same["mel_cepstral_distance"] == 0
    assert same["stoi"] == pytest.approx(1.0, abs=1e-3) and same["pesq"] is not None and same["pesq"] > 4.5
    assert same["pitch_correlation"] == pytest.approx(1.0) and same["pitch_voicing"] == 1.0
    noise = np.random.default_rng(0).standard_normal(len(audio)).astype(np.float32)
    found = [compare_audio(audio, audio + level * noise) for level in (0.003, 0.03)]
    for name, sign in (("mel_cepstral_distance", 1), ("stoi", -1), ("pesq", -1)):
        values = [float(row[name]) for row in (same, *found)]  # type: ignore[arg-type]
        assert sorted(values, reverse=sign < 0) == values, name
    nothing = compare_audio(audio, np.zeros_like(audio))
    assert nothing["stoi"] is None and nothing["pesq"] is None and nothing["pitch_correlation"] is None
    assert compare_audio(audio[:10], audio[:10])["mel_cepstral_distance"] is None


def test_mel_cepstral_distance_ignores_loudness() -> None:
    sound = buzz(np.linspace(120, 180, RATE), 0.2)
    noise = 0.01 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)  # no band is empty
    assert mel_cepstral_distance(sound + noise, 0.5 * (sound + noise)) < 0.05  # loudness is cepstrum 0
    assert mel_cepstral_distance(sound + noise, buzz(np.full(RATE, 400.0), 0.2) + noise) > 1.0


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
    page = (made / "out" / "listening.html").read_text()
    linked = [made / "out" / file for file in re.findall(r'src="(sounds/[^"]+)"', page)]
    assert [file.stem for file in linked] == ["01-recordings", "01-perfect", "01-noisy"]
    assert read_audio(linked[1]).tobytes() == read_audio(made / "perfect/audio/u0.flac").tobytes()
    assert page.count("<td>recordings</td>") == 2  # in the table and on the sheet


def test_the_command_line_names_rows(made: Path) -> None:
    arguments = [f"out={made}/line", f"corpus={made}/corpus", f"resynthesis.perfect={made}/perfect", "processes=1"]
    assert STAGE.main([*arguments, "sheets=0", "limit=1"]) == 0
    assert "| perfect | 1 |" in (made / "line" / "quality.md").read_text()


def test_a_table_has_what_was_measured() -> None:
    rows = [{"judge_edits": 1, "judge_words": 4, "stoi": 0.5}, {"judge_edits": 0, "judge_words": 6, "stoi": None}]
    summary = summarise(rows)
    assert summary == {"utterances": 2, "judge_wer": 0.1, "stoi": 0.5}
    text = markdown({"recordings": {"utterances": 2}, "made": summary})
    assert "| recordings | 2 | - | - |" in text and "| made | 2 | 10.00 | 0.500 |" in text


def test_wrong_options_are_explained(made: Path, spoken: dict[str, Path]) -> None:
    files = list(spoken.values())[:1]
    with pytest.raises(UserError, match=r"neither a \.nemo file"):
        transcripts(str(made), files)
    with pytest.raises(UserError, match="no such file"):
        naturalness(str(made / "missing.pt"), files)
    (made / "wrong.pt").write_bytes(b"no script")
    with pytest.raises(UserError, match="no TorchScript"):
        naturalness(str(made / "wrong.pt"), files)
    with pytest.raises(UserError, match="name at least one"):
        QualityConfig(out="x", corpus="x", resynthesis={})
    with pytest.raises(UserError, match="recordings' own row"):
        QualityConfig(out="x", corpus="x", resynthesis={"recordings": "x"})


def test_a_recogniser_of_transformers_by_path(tmp_path: Path, spoken: dict[str, Path]) -> None:
    """A random wav2vec 2.0: its words mean nothing, but they are of its own vocabulary, one text a file."""
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    torch.manual_seed(0)
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "b": 4}))
    tokenizer = Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), pad_token="<pad>", unk_token="<unk>")
    config = Wav2Vec2Config(
        vocab_size=5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=[8] * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    Wav2Vec2ForCTC(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "model")
    texts = transcripts(str(tmp_path / "model"), list(spoken.values())[:2])
    assert len(texts) == 2
    assert all(set(text.lower()) <= set("ab <unk>pad") for text in texts)


def test_a_recogniser_of_nemo_by_path(tmp_path: Path, spoken: dict[str, Path]) -> None:
    """A random CTC model that NeMo wrote; it knows the letter a only."""
    from nemo.collections.asr.models import EncDecCTCModel
    from omegaconf import DictConfig

    modules = "nemo.collections.asr.modules"
    encoder = {"feat_in": 80, "n_layers": 1, "d_model": 16, "n_heads": 2, "subsampling_conv_channels": 8}
    parts = {
        "sample_rate": RATE,
        "preprocessor": {"_target_": f"{modules}.AudioToMelSpectrogramPreprocessor", "features": 80},
        "encoder": {"_target_": f"{modules}.ConformerEncoder", "conv_kernel_size": 9} | encoder,
        "decoder": {"_target_": f"{modules}.ConvASRDecoder", "feat_in": 16, "num_classes": 1, "vocabulary": ["a"]},
    }
    EncDecCTCModel(DictConfig(parts)).save_to(str(tmp_path / "tiny.nemo"))
    texts = transcripts(str(tmp_path / "tiny.nemo"), list(spoken.values())[:2])
    assert len(texts) == 2 and all(set(text) <= {"a"} for text in texts)
