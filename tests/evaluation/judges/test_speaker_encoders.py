"""Speaker encoders by path and package: embeddings of length 1, those of their own libraries, and what is refused."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.audio.files import read_audio, write_audio
from evaluation.judges.external_models import distillmos_rating, load_distillmos
from evaluation.judges.speaker_encoders import VoiceEncoder, find_speaker_encoder, unit
from runtime.errors import UserError

RATE = 16000
has_resemblyzer = importlib.util.find_spec("resemblyzer") is not None
has_distillmos = importlib.util.find_spec("distillmos") is not None


def similarity(encoder: VoiceEncoder, one: Path, other: Path) -> float:
    return float(encoder.embed(one) @ encoder.embed(other))


@pytest.fixture
def x_vectors(tmp_path: Path) -> Path:
    """A random WavLM with an x-vector head, as transformers saves it."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    torch.manual_seed(0)
    config = WavLMConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(16, 20),
        conv_kernel=(16, 20),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        tdnn_dim=(8, 8, 16),
        tdnn_kernel=(3, 3, 1),
        tdnn_dilation=(1, 2, 1),
        xvector_output_dim=12,
    )
    WavLMForXVector(config).save_pretrained(tmp_path / "wavlm-sv")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "wavlm-sv")
    return tmp_path / "wavlm-sv"


def test_an_x_vector_model_of_transformers(x_vectors: Path, spoken: dict[str, Path]) -> None:
    from transformers import AutoFeatureExtractor, WavLMForXVector

    encoder = find_speaker_encoder(str(x_vectors))
    assert encoder.name.startswith("wavlm-sv ")
    one, other = list(spoken.values())[:2]
    assert similarity(encoder, one, one) == pytest.approx(1.0, abs=1e-5) and similarity(encoder, one, other) < 1
    model, extractor = (
        WavLMForXVector.from_pretrained(x_vectors).eval(),
        AutoFeatureExtractor.from_pretrained(x_vectors),
    )
    with torch.inference_mode():
        inputs = extractor(read_audio(other), sampling_rate=RATE, return_tensors="pt")
        expected = model(**inputs).embeddings[0].numpy()
    np.testing.assert_allclose(encoder.embed(other), expected / np.linalg.norm(expected), atol=1e-6)


def test_what_is_no_speaker_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="nowhere"):
        find_speaker_encoder(str(tmp_path / "nowhere"))
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    with pytest.raises(UserError, match=r"option decoder=resemblyzer: resemblyzer is not installed.*pip install"):
        find_speaker_encoder("resemblyzer", "decoder")


def test_silence_has_an_embedding_of_zeros() -> None:
    assert not np.any(unit(np.zeros(4))) and unit([3, 4]).tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.skipif(not has_resemblyzer, reason="the package resemblyzer (with its weights) is not installed")
def test_resemblyzer_tells_voices_apart(tmp_path: Path, spoken: dict[str, Path]) -> None:
    encoder = find_speaker_encoder("resemblyzer")
    one, other = list(spoken.values())[:2]  # one voice, two sentences
    audio = read_audio(other)
    higher = np.interp(np.arange(0, len(audio) - 1, 1.5), np.arange(len(audio)), audio).astype(np.float32)
    write_audio(tmp_path / "higher.wav", higher)
    assert similarity(encoder, one, other) > similarity(encoder, one, tmp_path / "higher.wav") + 0.05
    write_audio(tmp_path / "silence.wav", np.zeros(RATE, np.float32))
    assert not np.any(encoder.embed(tmp_path / "silence.wav"))


@pytest.mark.skipif(not has_distillmos, reason="the package distillmos (with its weights) is not installed")
def test_distillmos_rates_whatever_the_level(tmp_path: Path, spoken: dict[str, Path]) -> None:
    """Not that noise is worse: on the voices of espeak-ng it is not, by these weights."""
    one, other = list(spoken.values())[:2]
    write_audio(tmp_path / "quiet.wav", 0.25 * read_audio(one))
    predictor = load_distillmos()
    ratings = [distillmos_rating(predictor, file)["distillmos"] for file in (one, tmp_path / "quiet.wav", other)]
    assert all(0.9 < rating < 5.1 for rating in ratings)
    assert ratings[0] == pytest.approx(ratings[1], abs=0.02) and abs(ratings[0] - ratings[2]) > 0.001
    assert "torchaudio" not in sys.modules or hasattr(sys.modules["torchaudio"], "load"), "no placeholder is left"


def test_distillmos_without_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"option distillmos=true: distillmos is not installed.*--no-deps distillmos"):
        load_distillmos()
