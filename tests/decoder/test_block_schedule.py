"""Frames of tokens at every ratio: no drift, no frame from a later token, whole blocks."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from corpus.audio.mel_config import LogMelConfig
from decoder.block_schedule import BlockSchedule, frames_per_token
from decoder.config import DecoderConfig
from decoder.model import SpeechDecoder
from decoder.train import STAGE as TRAIN
from decoder.train_vocoder import STAGE as TRAIN_VOCODER
from decoder.vocoder import Vocoder

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

RATIOS = (Fraction(8), Fraction(1), Fraction(22050, 256 * 25) * 2, Fraction(15, 2), Fraction(7, 2), Fraction(1000, 999))


def make(ratio: Fraction, **options: int) -> BlockSchedule:
    return BlockSchedule(ratio, **({"patch_frames": 4, "block_tokens": 10, "lookahead_tokens": 0} | options))


@pytest.mark.parametrize("ratio", RATIOS)
def test_frames_never_drift_from_the_tokens(ratio: Fraction) -> None:
    schedule = make(ratio)
    for tokens in (0, 1, 2, 9, 10, 1000, 10_000_000):
        assert abs(schedule.num_frames(tokens) - tokens * ratio) <= Fraction(1, 2)
    frames = [schedule.num_frames(tokens) for tokens in range(200)]
    lengths = {later - earlier for earlier, later in itertools.pairwise(frames)}
    assert lengths <= {int(ratio), schedule.slots} and min(lengths) >= 1


@pytest.mark.parametrize("ratio", RATIOS)
def test_each_frame_comes_from_the_token_that_holds_its_middle(ratio: Fraction) -> None:
    schedule = make(ratio)
    frames = torch.arange(schedule.num_frames(40))
    expected = [int((frame + Fraction(1, 2)) / ratio) for frame in frames.tolist()]
    assert schedule.tokens_of_frames(frames).tolist() == expected
    assert expected[-1] == 39
    slots = schedule.slots_of_frames(frames)
    assert (slots // schedule.slots).tolist() == expected
    assert (slots.diff() >= 1).all()
    if ratio.denominator == 1:
        assert slots.tolist() == frames.tolist()


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("lookahead", [0, 2, 9])
def test_a_block_knows_no_frame_of_later_tokens(ratio: Fraction, lookahead: int) -> None:
    schedule = make(ratio, lookahead_tokens=lookahead)
    tokens = torch.arange(100)
    blocks = schedule.blocks_of_tokens(tokens)
    for block in range(9):
        end = schedule.end_of_block(block)
        assert end + lookahead == 10 * (block + 1)  # what it waits for
        assert (blocks <= block).sum() == end
        patches = torch.arange(schedule.num_patches(schedule.num_frames(100)))
        known = int((schedule.blocks_of_patches(patches) <= block).sum())
        assert known == schedule.num_frames(end) // 4


def test_real_frames_are_those_of_real_tokens() -> None:
    schedule = make(Fraction(7, 2))
    is_real = torch.arange(6)[None] < torch.tensor([[6], [3]])
    assert schedule.real_frames(is_real).sum(1).tolist() == [schedule.num_frames(6), schedule.num_frames(3)]


def test_presets_are_what_they_say() -> None:
    """The recipes compose; the paper's size is about the 111 M parameters of the released flow."""
    inputs = ["out=x", "corpus=x", "tokens=x", "vocoder=x"]
    paper = TRAIN.compose(["--config", str(RECIPES / "decoder_paper.yaml"), *inputs, "speaker.embedding=192"])
    shape = DecoderConfig(codebook_size=16384, speakers=["a"], tokenizer="", encoder=paper.encoder, flow=paper.flow)
    for name, rate, frames in (("22k", 22050, Fraction(22050 * 2, 256 * 25)), ("24k", 24000, Fraction(8))):
        config = TRAIN_VOCODER.compose(["--config", str(RECIPES / f"vocoder_{name}.yaml"), *inputs[:2]])
        mel = LogMelConfig(**asdict(config.mel))
        assert (mel.sample_rate, frames_per_token(12.5, mel)) == (rate, frames)
        assert config.adversary.weight > 0
        with torch.device("meta"):
            decoder = SpeechDecoder(shape, Vocoder(config.model, mel))
        size = sum(p.numel() for part in (decoder.encoder, decoder.flow) for p in part.parameters())
        assert 105e6 < size < 117e6
