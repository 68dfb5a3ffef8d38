"""The adversarial loss: who learns by which part, resuming, and that the spectral loss alone is untouched by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from decoder.config import AdversaryConfig
from decoder.losses import AdversarialLoss
from decoder.train_vocoder import STAGE
from decoder.vocoder import Vocoder


@pytest.fixture(scope="module")
def adversary() -> AdversarialLoss:
    torch.manual_seed(0)  # it is made before the seed of each test is set
    return AdversarialLoss(AdversaryConfig(weight=1.0, is_small=True))


def test_each_loss_teaches_one_side_only(adversary: AdversarialLoss, vocoder: Vocoder) -> None:
    true = 0.1 * torch.randn(2, 3200)
    made = vocoder(torch.randn(2, 80, 20))
    terms = adversary(made, true)
    made_parts, judges = list(vocoder.parameters()), list(adversary.discriminators.parameters())
    only_judges = torch.autograd.grad(terms["discriminators"], [*made_parts, *judges], allow_unused=True)
    assert all(gradient is None for gradient in only_judges[: len(made_parts)])
    assert all(gradient is not None for gradient in only_judges[len(made_parts) :])
    only_made = torch.autograd.grad(terms["adversary"], made_parts, allow_unused=True)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in only_made)
    assert all(parameter.requires_grad for parameter in judges)
    terms = adversary(vocoder(torch.randn(2, 80, 20)), true)
    terms["adversary"].backward()
    assert all(parameter.grad is None for parameter in judges)


def test_discriminators_learn_to_tell_apart() -> None:
    torch.manual_seed(0)
    fresh = AdversarialLoss(AdversaryConfig(weight=1.0, is_small=True))
    true, made = 0.3 * torch.randn(1, 1600), 0.3 * torch.sin(torch.arange(1600) * 0.1)[None]
    optimizer = torch.optim.AdamW(fresh.discriminators.parameters(), lr=5e-4)
    losses = []
    for _ in range(16):
        loss = fresh(made, true)["discriminators"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.75 * losses[0]


def test_a_vocoder_trains_against_them(spoken: Path) -> None:
    arguments = [f"corpus={spoken}/corpus", "model.width=16", "model.layers=1", "batch=2", "crop_frames=32"]
    arguments += ["fit.steps=6", "fit.warmup_steps=2", "fit.checkpoint_every=3", "fit.log_every=1", "evaluate=1"]
    arguments += ["adversary.weight=1.0", "adversary.is_small=true", "adversary.start_step=3"]
    assert STAGE.main([*arguments, f"out={spoken}/whole"]) == 0
    rows = [json.loads(line) for line in (spoken / "whole" / "curve.jsonl").read_text().splitlines()]
    assert ["adversary" in row for row in rows] == [False] * 3 + [True] * 3
    assert Vocoder.from_pretrained(spoken / "whole" / "artefact").mel.sample_rate == 16000


def test_a_vocoder_of_24_khz(spoken: Path) -> None:
    arguments = [f"corpus={spoken}/corpus", "model.width=16", "model.layers=1", "model.n_fft=960", "batch=2"]
    arguments += ["mel.sample_rate=24000", "mel.n_fft=1024", "mel.win=960", "mel.hop=240", "crop_frames=32"]
    arguments += ["fit.steps=2", "fit.warmup_steps=1", "evaluate=1", f"out={spoken}/wide"]
    assert STAGE.main(arguments) == 0
    vocoder = Vocoder.from_pretrained(spoken / "wide" / "artefact")
    assert vocoder(torch.randn(1, 80, 10)).shape == (1, 2400)
