"""Training of a tokenizer: labels, examples, the fit, scores on the held-out manifests, the artefact."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from corpus.audio.mel import LogMel
from corpus.manifest import Manifest, read_manifest
from runtime.data_parallel import num_ranks, open_device
from runtime.fit import fit
from runtime.stage import Run
from tokenizer.data.examples import Examples
from tokenizer.labels import Labels
from tokenizer.model import SpeechTokenizer
from tokenizer.scoring.transcripts import describe, score_manifest, summarise

from .config import TokenizerTrainConfig
from .objective import TokenizerObjective
from .warm_start import warm_start

HELD_OUT = ("heldout_sentence", "heldout_voice")


def train(config: TokenizerTrainConfig, run: Run) -> dict[str, Any]:
    """Train, save ``<out>/artefact`` and score it on the held-out manifests; returns the stage's metrics."""
    device = open_device(config.device)
    torch.set_num_threads(config.fit.threads)
    torch.manual_seed(config.seed)
    files = config.manifests or [str(Path(config.corpus) / "train.jsonl")]
    manifests = [read_manifest(file, config.data.max_bad_share).of_kinds(config.kinds) for file in files]
    tokenizer = make_tokenizer(config, manifests, run)
    sources = open_examples(config, manifests, tokenizer, run)
    objective = TokenizerObjective(
        tokenizer.to(device),
        sources,
        config.data,
        config.augment,
        config.seed,
        noise=config.noise,
        weights=config.weights,
    )
    started, started_cpu = time.monotonic(), time.process_time()
    fit(tokenizer, objective.loss, config.fit, run, description="tokenizer")
    metrics: dict[str, Any] = describe(tokenizer) | {"fit_seconds": round(time.monotonic() - started, 1)}
    metrics["fit_cpu_seconds"] = round(time.process_time() - started_cpu, 2)  # like fit_seconds: of this call alone
    if not run.is_main:
        return metrics
    metrics |= {"utterances": sum(len(source.items) for source in sources)}
    metrics |= {"bad_records": sum(len(source.bad) for source in sources)}
    held_out = {name: Path(config.corpus) / f"{name}.jsonl" for name in HELD_OUT}
    metrics |= summarise(
        {
            name: score_manifest(
                tokenizer,
                file,
                run,
                limit=config.max_scored,
                max_bad_share=config.data.max_bad_share,
                tolerance=config.data.duration_tolerance,
            )
            for name, file in held_out.items()
            if file.is_file()
        }
    )
    tokenizer.save_pretrained(run.folder / "artefact", metrics)
    return metrics


def make_tokenizer(config: TokenizerTrainConfig, manifests: list[Manifest], run: Run) -> SpeechTokenizer:
    """A tokenizer with its initial weights, and labels learnt from the transcripts."""
    texts = [utterance.text for manifest in manifests for utterance in manifest.utterances]
    labels = Labels.from_texts(texts, config.model.num_labels)
    frames = config.data.batch_seconds * config.model.frame_rate * num_ranks()
    tokenizer = SpeechTokenizer(config.model, config.vq, labels, frames_per_batch=frames)
    tokenizer.front.initialise()
    tokenizer.back.initialise()
    if config.init:
        run.say(f"tokenizer.train: weights {warm_start(tokenizer, config.init)}")
    return tokenizer


def open_examples(
    config: TokenizerTrainConfig, manifests: list[Manifest], tokenizer: SpeechTokenizer, run: Run
) -> list[Examples]:
    """The examples of each manifest; prints their number and the records left out."""
    mel = LogMel(tokenizer.log_mel.config)  # stays on the CPU, where the audio is
    sources = [
        Examples(manifest, tokenizer.labels, config.data, model=config.model, mel=mel, noise=config.noise)
        for manifest in manifests
    ]
    for examples in sources:
        hours = sum(example.utterance.duration for example in examples.items) / 3600
        run.say(f"tokenizer.train: {len(examples.items)} utterances, {hours:.2f} h")
        if examples.num_outside:
            run.say(f"  {examples.num_outside} left out: outside data.min_seconds .. data.max_seconds")
        if examples.bad:
            first = examples.bad[0]
            run.say(f"  {len(examples.bad)} bad records left out, the first: {first.place}: {first.reason}")
    return sources
