"""Training of the vocoder on random crops of waveforms.

Each rank draws the crops of the whole batch and computes the loss of its own rows (`runtime.data_parallel`).

Shapes: B batch, S samples.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corpus.audio.mel import LogMel
from corpus.audio.mel_config import LogMelConfig
from decoder.frame_locking import FrameLockingLoss
from decoder.griffin_lim import griffin_lim
from decoder.losses import AdversarialLoss, SpectralLoss, sum_of
from decoder.vocoder import Vocoder
from runtime.data_parallel import check_batch, close_ranks, open_device, own_rows
from runtime.fit import fit
from runtime.stage import Run

from .config import TrainVocoderConfig
from .recordings import WaveformCache, draw, read_split
from .voices import choose_voices


def train_vocoder(config: TrainVocoderConfig, run: Run) -> dict[str, Any]:
    """Train and save the vocoder; returns its distances on held-out speech."""
    device = open_device()
    check_batch(config.batch)
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.fit.threads)
    voices = choose_voices(config.corpus, config.voices, config.max_bad_share)
    utterances = read_split(config.corpus, "train", voices, config.max_bad_share)
    mel = LogMelConfig(**asdict(config.mel))
    tolerance = config.duration_tolerance
    recordings = WaveformCache(utterances, config.max_bad_share, mel, tolerance=tolerance)
    vocoder = Vocoder(config.model, mel).to(device)
    criterion = SpectralLoss(LogMel(vocoder.mel), mel_weight=config.mel_weight).to(device)
    locking = FrameLockingLoss(mel.hop).to(device) if config.locking_weight else None
    adversary = AdversarialLoss(config.adversary).to(device) if config.adversary.weight else None

    def loss(step: int) -> dict[str, Tensor]:
        audio_BS = crops(recordings, config, step).to(device)
        generated_BS = vocoder(criterion.log_mel(audio_BS))
        terms: dict[str, Tensor] = criterion(generated_BS, audio_BS)
        if locking is not None:
            locked = locking(generated_BS, audio_BS)
            terms |= locked | {"loss": terms["loss"] + config.locking_weight * sum_of(locked.values())}
        if adversary is not None and step >= config.adversary.start_step:
            adversarial = adversary(generated_BS, audio_BS)
            terms |= adversarial | {"loss": terms["loss"] + adversarial["adversary"] + adversarial["discriminators"]}
        return terms

    fitted = vocoder if adversary is None else torch.nn.ModuleList([vocoder, adversary])
    fit(fitted, loss, config.fit, run, description="vocoder")
    close_ranks()
    if not run.is_main:
        return {}
    vocoder.eval()
    utterances = read_split(config.corpus, "heldout_sentence", voices, config.max_bad_share)
    held_out = WaveformCache(utterances, mel=mel, tolerance=tolerance)
    metrics: dict[str, Any] = evaluate(vocoder, criterion, held_out, config.evaluate)
    metrics |= {"parameters": sum(parameter.numel() for parameter in vocoder.parameters()), "voices": len(voices)}
    metrics["bad_recordings"] = len(recordings.bad.reasons)
    vocoder.save_pretrained(Path(config.out) / "artefact", metrics)
    return metrics


def crops(recordings: WaveformCache, config: TrainVocoderConfig, step: int) -> Tensor:
    """This rank's waveforms (B, S) of one step: S is ``crop_frames`` frames; silence follows shorter utterances."""
    generator = np.random.default_rng((config.seed, step))
    length = config.crop_frames * config.mel.hop
    rows = range(config.batch)[own_rows(config.batch)]
    batch = np.zeros((len(rows), length), dtype=np.float32)
    for row, index in enumerate(draw(len(recordings), config.batch, seed=config.seed, step=step)):
        start = int(generator.integers(0, max(0, recordings.length(index) - length) + 1))
        if row in rows:
            piece = recordings.audio(index)[start : start + length]
            batch[row - rows.start, : len(piece)] = piece
    return torch.from_numpy(batch)


def evaluate(vocoder: Vocoder, criterion: SpectralLoss, recordings: WaveformCache, count: int) -> dict[str, float]:
    """Mean distances between held-out speech and its copy through the vocoder, and through Griffin-Lim."""
    chosen = range(0, len(recordings), max(1, len(recordings) // max(1, count)))[:count]
    sums: dict[str, float] = {}
    device = next(vocoder.parameters()).device
    with torch.inference_mode():
        for index in chosen:
            target_BS = torch.from_numpy(recordings.audio(index))[None].to(device)
            mel_BMF = criterion.log_mel(target_BS)
            copies = {"": vocoder(mel_BMF), "griffin_lim.": griffin_lim(mel_BMF, criterion.log_mel)}
            for name, copy_BS in copies.items():
                terms = criterion(copy_BS, target_BS)
                for term in ("mel", "spectrum", "convergence"):
                    key = f"{name}{term}_distance"
                    sums[key] = sums.get(key, 0.0) + float(terms[term]) / len(chosen)
    return sums
