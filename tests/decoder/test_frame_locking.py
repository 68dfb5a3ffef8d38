"""Frame locking: nothing of a sound without frames, much of one that repeats its frames, and training takes it away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.audio.files import Samples, write_audio
from corpus.audio.mel import LogMel
from corpus.manifest import Utterance, write_manifest
from decoder.frame_locking import FrameLockingLoss
from decoder.train_vocoder import STAGE
from decoder.vocoder import Vocoder
from evaluation.speech.hop_modulation import hop_modulation

HOP = 160
FRAMES = 96


def noise(seed: int, hop: int = HOP) -> torch.Tensor:
    """(4, S) of frames that have nothing in common."""
    return 0.1 * torch.randn(4, FRAMES * hop, generator=torch.Generator().manual_seed(seed))


def total(terms: dict[str, torch.Tensor]) -> float:
    return float(torch.stack(list(terms.values())).sum())


@pytest.mark.parametrize("hop", [100, 160, 240, 256])
def test_a_waveform_that_each_frame_repeats_is_locked_in_phase(hop: int) -> None:
    criterion = FrameLockingLoss(hop)
    repeated = noise(1, hop)[:, :hop].repeat(1, FRAMES)
    assert float(criterion(repeated, noise(2, hop))["phase_locking"]) > 0.6  # every fourth bin is empty
    assert float(criterion(noise(3, hop), noise(2, hop))["phase_locking"]) < 0.03


@pytest.mark.parametrize("hop", [100, 160, 240, 256])
def test_a_loudness_that_goes_with_the_frames_is_locked_in_its_envelope(hop: int) -> None:
    """Though its phases are those of noise."""
    criterion = FrameLockingLoss(hop)
    waves = 1 + 0.5 * torch.sin(2 * torch.pi * torch.arange(FRAMES * hop) / hop)
    found = criterion(noise(3, hop) * waves, noise(2, hop))
    assert float(found["envelope_locking"]) > 10 * float(criterion(noise(3, hop), noise(2, hop))["envelope_locking"])
    assert float(found["phase_locking"]) < 0.03


def test_clicks_of_a_random_sign_are_locked_in_their_envelope() -> None:
    """The mean waveform of the frames is nothing, and still it buzzes."""
    clicks = torch.zeros(4, FRAMES, HOP)
    clicks[:, :, 70] = 0.5 * torch.randn(4, FRAMES, generator=torch.Generator().manual_seed(0)).sign()
    found = FrameLockingLoss(HOP)(noise(3) + clicks.flatten(1), noise(2))
    assert float(found["envelope_locking"]) > 1 and float(found["phase_locking"]) < 0.03


def test_the_targets_own_frames_are_no_fault() -> None:
    repeated = noise(1)[:, :HOP].repeat(1, FRAMES)
    assert total(FrameLockingLoss(HOP)(repeated, repeated)) == 0.0


@pytest.mark.parametrize("seconds", [0.08, 0.96])
def test_silence_has_a_finite_gradient(seconds: float) -> None:
    made = torch.zeros(2, int(16000 * seconds), requires_grad=True)
    terms = FrameLockingLoss(HOP)(made, noise(2)[:2, : made.shape[1]])
    torch.stack(list(terms.values())).sum().backward()
    assert made.grad is not None and made.grad.isfinite().all()


def test_the_gradient_leads_away_from_repeated_frames() -> None:
    """Samples that are fitted to the loss alone lose what all frames had in common."""
    criterion, target = FrameLockingLoss(HOP), noise(2)
    made = (noise(1)[:, :HOP].repeat(1, FRAMES) + 0.3 * noise(4)).requires_grad_()
    optimizer = torch.optim.Adam([made], lr=0.01)
    before = total(criterion(made, target))
    for _ in range(30):
        optimizer.zero_grad()
        torch.stack(list(criterion(made, target).values())).sum().backward()
        optimizer.step()
    assert total(criterion(made, target)) < 0.2 * before


def whisper(seed: int, seconds: int) -> Samples:
    """Noise whose loudness comes and goes."""
    generator = np.random.default_rng(seed)
    levels = generator.uniform(-4, -1, 12 * seconds + 1)
    loudness = np.exp(np.interp(np.arange(16000 * seconds) / 1333.4, np.arange(len(levels)), levels))
    return (loudness * generator.standard_normal(16000 * seconds)).clip(-1, 1).astype(np.float32)


def test_a_vocoder_trained_on_noise_does_not_buzz(tmp_path: Path) -> None:
    """Under spectral losses alone the hop modulation of this vocoder is 0.56, its roughest position 2.7."""
    for split, count in (("train", 8), ("heldout_sentence", 1)):
        utterances = []
        for number in range(count):
            file = tmp_path / "corpus" / f"{split}-{number}.wav"
            write_audio(file, whisper(number, 3))
            utterances.append(Utterance(f"{split}-{number}", file, 3.0, "whisper", "anna"))
        write_manifest(tmp_path / "corpus" / f"{split}.jsonl", utterances)
    size = ["model.width=32", "model.layers=2", "batch=4", "crop_frames=64", "evaluate=1"]
    fit = ["fit.steps=90", "fit.learning_rate=3e-3", "fit.warmup_steps=5", "fit.precision=fp32"]
    assert STAGE.main([f"corpus={tmp_path}/corpus", f"out={tmp_path}/vocoder", *size, *fit]) == 0
    vocoder = Vocoder.from_pretrained(tmp_path / "vocoder" / "artefact")
    with torch.inference_mode():
        copy_S = vocoder(LogMel()(torch.from_numpy(whisper(99, 40))[None]))[0]
    found = hop_modulation([copy_S.numpy()], 160)
    assert found["hop_modulation"] < 0.25 and found["hop_highest"] < 1.8
