"""The inverse Fourier head, lengths, padding, save and load, the losses and Griffin-Lim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.audio.mel import LogMel
from decoder.config import VocoderConfig
from decoder.griffin_lim import analyse, griffin_lim, magnitudes, synthesise
from decoder.losses import SpectralLoss
from decoder.overlap import overlap_add
from decoder.vocoder import InverseFourierHead, Vocoder
from runtime.errors import UserError


def voice_like(seconds: float = 0.64) -> torch.Tensor:
    """(1, S): a gliding buzz with noise."""
    time = torch.arange(int(seconds * 16000)) / 16000
    pitch = 120 + 40 * time
    audio = torch.stack([torch.sin(2 * np.pi * n * pitch * time) / n for n in range(1, 20)]).sum(0)
    return (0.1 * audio + 0.01 * torch.randn_like(audio))[None]


def test_overlap_add_is_the_sum_of_shifted_windows() -> None:
    windows = torch.randn(2, 5, 8)
    expected = torch.zeros(2, 4 * 2 + 8)
    for frame in range(5):
        expected[:, 2 * frame : 2 * frame + 8] += windows[:, frame]
    torch.testing.assert_close(overlap_add(windows, 2), expected)


def test_head_inverts_a_fourier_transform() -> None:
    """Given the true magnitude and phase of windows framed as documented, it gives the waveform back."""
    head = InverseFourierHead(4, n_fft=640, hop=160)
    audio = voice_like()
    frames = torch.nn.functional.pad(audio, (240, 240)).unfold(1, 640, 160) * torch.hann_window(640)
    spectrum = torch.fft.rfft(frames)
    features = torch.cat([spectrum.abs().clamp(min=1e-12).log(), spectrum.angle()], dim=-1)
    head.project = torch.nn.Identity()  # type: ignore[assignment]
    made = head(features, torch.ones(1, 1, features.shape[1]))
    assert made.shape == audio.shape
    torch.testing.assert_close(made[:, 640:-640], audio[:, 640:-640], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 8, 33])
@pytest.mark.parametrize("n_fft", [640, 960])
def test_frames_make_exactly_their_samples(frames: int, n_fft: int) -> None:
    vocoder = Vocoder(VocoderConfig(width=16, layers=1, n_fft=n_fft))
    assert vocoder(torch.randn(2, 80, frames)).shape == (2, 160 * frames)


@pytest.mark.parametrize("lookahead", [0, 1, 3])
def test_padding_changes_nothing(lookahead: int) -> None:
    vocoder = Vocoder(VocoderConfig(width=16, layers=2, lookahead=lookahead)).eval()
    mel = torch.randn(2, 80, 20)
    is_real = torch.arange(20)[None] < torch.tensor([[20], [11]])
    with torch.inference_mode():
        both, alone = vocoder(mel, is_real), vocoder(mel[1:, :, :11])
    torch.testing.assert_close(both[1, : 11 * 160], alone[0], rtol=1e-4, atol=1e-6)


def test_lookahead_bounds_what_the_future_can_change() -> None:
    vocoder = Vocoder(VocoderConfig(width=16, layers=2, lookahead=0)).eval()
    mel = torch.randn(1, 80, 30)
    changed = mel.clone()
    changed[:, :, 20:] += 1.0
    with torch.inference_mode():
        same = vocoder(mel) == vocoder(changed)
    first = 20 - 3  # the first convolution looks 3 frames ahead; the window of that frame begins 240 samples earlier
    assert same[0, : first * 160 - 240].all()
    assert not same[0, first * 160 :].all()


def test_save_and_load_give_the_same_waveform(vocoder: Vocoder, tmp_path: Path) -> None:
    vocoder.save_pretrained(tmp_path / "artefact", {"mel_distance": 0.5})
    again = Vocoder.from_pretrained(tmp_path / "artefact")
    mel = torch.randn(1, 80, 12)
    with torch.inference_mode():
        assert torch.equal(vocoder(mel), again(mel))
    names = {file.name for file in (tmp_path / "artefact").iterdir()}
    assert names == {"config.yaml", "model.safetensors", "metrics.json", "README.md"}
    assert "| mel_distance | 0.5 |" in (tmp_path / "artefact" / "README.md").read_text()


def test_broken_artefacts_are_explained(vocoder: Vocoder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.yaml"):
        Vocoder.from_pretrained(tmp_path / "nothing")
    vocoder.save_pretrained(tmp_path / "artefact")
    weights = tmp_path / "artefact" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"model\.safetensors"):
        Vocoder.from_pretrained(tmp_path / "artefact")
    vocoder.save_pretrained(tmp_path / "artefact")
    config = tmp_path / "artefact" / "config.yaml"
    config.write_text(config.read_text().replace("width: 32", "width: broad"))
    with pytest.raises(UserError, match="config of vocoder"):
        Vocoder.from_pretrained(tmp_path / "artefact")


def test_a_window_that_does_not_fit_the_hop_is_refused() -> None:
    with pytest.raises(UserError, match="n_fft"):
        Vocoder(VocoderConfig(width=16, layers=1, n_fft=600))


def test_spectral_loss_is_zero_for_equal_and_ignores_the_sign() -> None:
    criterion = SpectralLoss(LogMel())
    audio = voice_like()
    assert float(criterion(audio, audio)["loss"]) == 0.0
    assert float(criterion(-audio, audio)["loss"]) < 1e-4
    assert float(criterion(0.5 * audio, audio)["loss"]) > 0.5


def test_spectral_loss_has_a_finite_gradient_at_silence() -> None:
    criterion = SpectralLoss(LogMel())
    silence = torch.zeros(1, 3200, requires_grad=True)
    criterion(silence, voice_like(0.2))["loss"].backward()
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


def test_griffin_lim_framing_is_the_mels() -> None:
    log_mel = LogMel()
    audio = voice_like()
    spectrum = analyse(audio, log_mel)
    natural = (spectrum.abs() @ log_mel.filters).clamp(min=1e-5).log().transpose(1, 2)
    torch.testing.assert_close(natural, log_mel.natural_log(log_mel(audio)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(synthesise(spectrum, log_mel), audio, rtol=1e-3, atol=1e-4)


def test_griffin_lim_comes_near_the_mel() -> None:
    log_mel = LogMel()
    audio = voice_like()
    mel = log_mel(audio)
    assert (magnitudes(mel, log_mel) >= 0).all()
    errors = [float((log_mel(griffin_lim(mel, log_mel, iterations=n)) - mel).abs().mean()) for n in (0, 32)]
    assert errors[1] < 0.15 < errors[0]
    assert torch.equal(griffin_lim(mel, log_mel), griffin_lim(mel, log_mel))
