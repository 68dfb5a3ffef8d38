import numpy as np
import pytest
import torch

from corpus.audio.frame_rate import FRAMES_PER_TOKEN, SAMPLES_PER_TOKEN, num_tokens, pad_to_token
from corpus.audio.mel import LogMel, magnitudes
from corpus.audio.mel_config import LogMelConfig


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)


@pytest.mark.parametrize("num_samples", [1, 1279, 1280, 1281, 16000])
def test_one_rule_of_time(num_samples: int) -> None:
    padded = pad_to_token(noise(num_samples))
    assert len(padded) == num_tokens(num_samples) * SAMPLES_PER_TOKEN
    mel = LogMel()(torch.from_numpy(padded)[None])
    assert mel.shape == (1, 80, num_tokens(num_samples) * FRAMES_PER_TOKEN)


@pytest.mark.parametrize("piece", [1, 77, 160, 1280, 5000])
def test_streaming_equals_offline(piece: int) -> None:
    audio = noise(7001 if piece > 1 else 900)
    log_mel = LogMel()
    stream = log_mel.streaming()
    parts = [stream.feed(audio[at : at + piece]) for at in range(0, len(audio), piece)] + [stream.finish()]
    offline = log_mel(torch.from_numpy(pad_to_token(audio))[None])[0]
    torch.testing.assert_close(torch.cat(parts, dim=1), offline, rtol=0, atol=1e-5)


@pytest.mark.parametrize("power", [1, 2])
def test_a_magnitude_does_not_depend_on_its_place(power: float) -> None:
    """To the bit: tokens of an utterance in a batch are those that it has alone."""
    spectrum = torch.view_as_complex(torch.randn(4001, 2, generator=torch.Generator().manual_seed(1)))
    whole = magnitudes(spectrum.clone(), power)
    for begin in range(1, 9):
        assert torch.equal(magnitudes(spectrum[begin:-begin].clone(), power), whole[begin:-begin])


def test_padding_and_batch_do_not_matter() -> None:
    log_mel = LogMel()
    short, long = pad_to_token(noise(3000, 1)), pad_to_token(noise(9000, 2))
    batch = np.stack([np.pad(short, (0, len(long) - len(short))), long])
    mels = log_mel(torch.from_numpy(batch))
    alone = log_mel(torch.from_numpy(short)[None])[0]
    torch.testing.assert_close(mels[0, :, : alone.shape[1]], alone, rtol=0, atol=1e-5)


def test_window_names_the_samples_a_frame_depends_on() -> None:
    log_mel = LogMel()
    audio = torch.from_numpy(noise(3200))[None]
    mel = log_mel(audio)
    start, stop = log_mel.window(5, 9)
    changed = audio.clone()
    changed[:, :start] = 0.3
    changed[:, stop:] = -0.3
    torch.testing.assert_close(log_mel(changed)[..., 5:9], mel[..., 5:9], rtol=0, atol=1e-6)
    torch.testing.assert_close(log_mel.from_window(audio[:, start:stop]), mel[..., 5:9], rtol=0, atol=1e-5)


def test_filters_equal_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    expected = librosa.filters.mel(sr=16000, n_fft=512, n_mels=80)
    np.testing.assert_allclose(LogMel().filters.numpy().T, expected, atol=1e-7)


def test_natural_log_undoes_the_normalisation() -> None:
    audio = torch.from_numpy(noise(1600))[None]
    plain = LogMel(LogMelConfig(mean=0.0, std=1.0))(audio)
    log_mel = LogMel()
    torch.testing.assert_close(log_mel.natural_log(log_mel(audio)), plain)


def test_bf16_autocast_and_silence_are_harmless() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        mel = LogMel()(torch.zeros(1, 1280))
    assert mel.dtype == torch.float32
    assert torch.isfinite(mel).all()


@pytest.mark.parametrize("config", [LogMelConfig(), LogMelConfig(power=2.0, n_fft=400, before=200)])
def test_silence_has_a_gradient_and_the_same_frames_with_one(config: LogMelConfig) -> None:
    """Criteria on spectrograms go through silence, where the root of a sum of squares has none."""
    log_mel = LogMel(config)
    audio_BS = torch.cat([torch.zeros(1, 3200), 0.1 * torch.randn(1, 3200)], dim=1).requires_grad_()
    with_gradient = log_mel(audio_BS)
    with_gradient.sum().backward()
    assert audio_BS.grad is not None and audio_BS.grad.isfinite().all() and audio_BS.grad.abs().max() > 0
    torch.testing.assert_close(log_mel(audio_BS.detach()), with_gradient.detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [LogMelConfig(), LogMelConfig(before=200, piece=3200, dynamic_range=4.0)])
def test_a_clip_by_itself_has_the_frames_of_the_batch(config: LogMelConfig) -> None:
    log_mel = LogMel(config)
    samples = np.random.default_rng(0).normal(0, 0.1, 6_001).astype(np.float32)
    padded = np.pad(samples, (0, 6_400 - len(samples)))
    assert torch.equal(log_mel.of_clip(samples, 40), log_mel(torch.from_numpy(padded)[None])[0])
