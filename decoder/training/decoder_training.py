"""Training of the token encoder and the flow on tokenised speech.

Each rank draws the whole batch of a step (its padding and random numbers are then those of one process) and computes
the loss of its own rows (`runtime.data_parallel`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corpus.tokens import TokenisedSpeech, read_tokens
from decoder.config import DecoderConfig
from decoder.model import SpeechDecoder
from decoder.speaker import Speakers
from decoder.vocoder import Vocoder
from runtime.artefact import artefact_folder
from runtime.data_parallel import check_batch, close_ranks, open_device, own_rows
from runtime.errors import UserError
from runtime.fit import fit
from runtime.stage import Run

from .config import DecoderTrainConfig
from .distillation import Distillation
from .recordings import ClipSource, DecoderExample, collate, crop, draw, pair_examples, prefix, read_split
from .voices import choose_voices


def train_decoder(config: DecoderTrainConfig, run: Run) -> dict[str, Any]:
    """Train and save the decoder; returns its distances on held-out speech."""
    device = open_device()
    check_batch(config.batch)
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.fit.threads)
    speech = read_tokens(Path(config.tokens) / "train.parquet")
    decoder = make_decoder(config, speech).to(device)
    examples = read_examples(config, "train", speech, decoder)
    decoder.vocoder.requires_grad_(False)
    objective = DecoderObjective(config, decoder, examples)
    fit(decoder, objective.loss, config.fit, run, description="decoder")
    close_ranks()
    if not run.is_main:
        return {}
    decoder.eval()
    held_out = read_tokens(Path(config.tokens) / "heldout_sentence.parquet")
    held_out_examples = read_examples(config, "heldout_sentence", held_out, decoder)
    metrics: dict[str, Any] = evaluate(decoder, held_out_examples, objective.distillation)
    metrics["parameters"] = sum(parameter.numel() for parameter in decoder.parameters())
    metrics["training_hours"] = sum(len(example.tokens) for example in examples) / speech.frame_rate / 3600
    metrics["voices"] = len(decoder.speakers)
    decoder.save_pretrained(Path(config.out) / "artefact", metrics)
    return metrics


class DecoderObjective:
    """The loss of a step; with ``config.distil_from`` the distance to the teacher."""

    def __init__(self, config: DecoderTrainConfig, decoder: SpeechDecoder, examples: list[DecoderExample]) -> None:
        self.config, self.decoder, self.examples = config, decoder, examples
        self.clips: ClipSource | None = None
        if decoder.speaker_encoder is not None:
            self.clips = ClipSource(examples, config.clip_frames, config.reference_share)
        self.distillation: Distillation | None = None
        if config.distil_from is not None:
            teacher = SpeechDecoder.from_pretrained(artefact_folder(config.distil_from)).to(decoder.device)
            self.distillation = Distillation(teacher, decoder, config.flow.steps)

    def loss(self, step: int) -> dict[str, Tensor]:
        """The terms of ``step``."""
        config, schedule = self.config, self.decoder.schedule
        generator = np.random.default_rng((config.seed, step))
        drawn = draw(len(self.examples), config.batch, seed=config.seed, step=step)
        chosen = []
        for index in drawn:
            is_prefix = config.prefix_share > 0 and generator.random() < config.prefix_share
            cut = prefix if is_prefix else crop
            chosen.append(cut(self.examples[index], config.crop_tokens, schedule, generator))
        rows, device = own_rows(config.batch), self.decoder.device
        batch = collate(chosen, schedule).rows_of(rows).to(device)
        clips = None if self.clips is None else self.clips.draw(drawn, generator).rows(rows).to(device)
        if self.distillation is not None:
            return self.distillation.loss(*batch, clips=clips)
        return self.decoder.loss(*batch, clips=clips, naming_weight=config.naming_weight)


def make_decoder(config: DecoderTrainConfig, speech: TokenisedSpeech) -> SpeechDecoder:
    """A decoder with fresh weights, or with those of ``init`` or ``distil_from``; the vocoder as it was trained."""
    vocoder = Vocoder.from_pretrained(artefact_folder(config.vocoder))
    voices = choose_voices(config.corpus, config.voices, config.max_bad_share)
    option, earlier = ("init", config.init) if config.distil_from is None else ("distil_from", config.distil_from)
    if earlier is None:
        shape = DecoderConfig(
            codebook_size=speech.codebook_size,
            speakers=voices,
            tokenizer=speech.tokenizer,
            encoder=config.encoder,
            flow=config.flow,
            block_tokens=config.block_tokens,
            past_blocks=config.past_blocks,
            lookahead_tokens=config.lookahead_tokens,
            token_rate=speech.frame_rate,
            is_causal=config.is_causal,
            speaker=config.speaker,
        )
        return SpeechDecoder(shape, vocoder)
    decoder = SpeechDecoder.from_pretrained(artefact_folder(earlier))
    if config.is_causal and not decoder.config.is_causal:
        changed = SpeechDecoder(replace(decoder.config, is_causal=True), decoder.vocoder)
        changed.load_state_dict(decoder.state_dict())
        decoder = changed
    if decoder.tokenizer != speech.tokenizer:
        found = f"a decoder for tokenizer {decoder.tokenizer}, but the tokens are of tokenizer {speech.tokenizer}"
        raise UserError(f"option {option}={earlier}", found=found, remedy="train it on these tokens first")
    if config.prefix_share and not 0 < decoder.config.block_tokens <= config.crop_tokens:
        found = f"blocks of {decoder.config.block_tokens} tokens, and crop_tokens={config.crop_tokens}"
        raise UserError(f"option {option}={earlier}", found=found, remedy="prefix_share needs a whole block in a crop")
    new = sorted(set(voices) - set(decoder.speakers))
    if new:
        found = f"it does not know the voices {', '.join(new)}"
        raise UserError(f"option {option}={earlier}", found=found, remedy="train it with voices=[all] first")
    decoder.change_vocoder(vocoder, f"option vocoder={config.vocoder}")
    return decoder


def read_examples(
    config: DecoderTrainConfig, split: str, speech: TokenisedSpeech, decoder: SpeechDecoder
) -> list[DecoderExample]:
    """The pairs of tokens and mel of a split, in the wanted voices."""
    voices = choose_voices(config.corpus, config.voices, config.max_bad_share)
    utterances = read_split(config.corpus, split, voices, config.max_bad_share)
    if split != "train":
        utterances = utterances[: config.evaluate]
    log_mel = decoder.log_mel.to("cpu")
    examples = list(
        pair_examples(
            utterances,
            speech,
            log_mel,
            decoder.schedule,
            decoder.speakers,
            config.max_bad_share,
            config.duration_tolerance,
        )
    )
    log_mel.to(decoder.device)
    return examples


def evaluate(
    decoder: SpeechDecoder, examples: list[DecoderExample], distillation: Distillation | None = None
) -> dict[str, float]:
    """Distances on held-out examples: absolute log-mel distance, and the spread of the mel over the true mel's.

    The spread (standard deviation over time, mean over bins) of a regressed mean is below 1: it is over-smooth. With
    distillation also the distances to the teacher's mel.
    """
    sums: dict[str, float] = {}
    with torch.inference_mode():
        for example in examples:
            batch = collate([example], decoder.schedule).to(decoder.device)
            inputs = (batch.tokens, Speakers(batch.rows), batch.is_real)
            mels = {"mean": decoder.mel(*inputs, steps=0), "flow": decoder.mel(*inputs)}
            for name, mel_BFM in mels.items():
                distance = (mel_BFM - batch.mel).abs().mean()
                spread = mel_BFM.std(dim=1).mean() / batch.mel.std(dim=1).mean()
                for key, value in ((f"{name}.mel_distance", distance), (f"{name}.spread", spread)):
                    sums[key] = sums.get(key, 0.0) + float(value) / len(examples)
            for key, apart in (distillation.distances(*inputs) if distillation is not None else {}).items():
                sums[key] = sums.get(key, 0.0) + apart / len(examples)
    return sums
