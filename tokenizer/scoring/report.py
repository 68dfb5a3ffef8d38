"""Evaluation of a tokenizer: transcripts of each split, token stability under noise, streaming latency, the report."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from corpus.audio.segments import read_segment
from runtime.artefact import write_json
from runtime.errors import UserError
from runtime.journal import Journal
from runtime.stage import Run
from tokenizer.model import SpeechTokenizer

from .config import TokenizerEvaluateConfig
from .latency import stream_latency
from .robustness import NoiseScore, noise_metrics, score_under_noise
from .table import score_table
from .transcripts import describe, score_manifest, summarise


def evaluate(config: TokenizerEvaluateConfig, run: Run) -> dict[str, Any]:
    """Score each split, write ``report.json`` and print the table; returns the stage's metrics."""
    torch.set_num_threads(config.threads)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer, config.device)
    files = find_manifests(config)
    noise: list[NoiseScore] = []
    options = config.noise
    with Journal(run.folder / "scores.jsonl") as journal:
        score = partial(
            score_manifest,
            limit=config.max_utterances,
            max_bad_share=config.max_bad_share,
            journal=journal,
            tolerance=config.duration_tolerance,
        )
        scores = {name: score(tokenizer, file, run) for name, file in files.items()}
        metrics = describe(tokenizer) | summarise(scores)
        first = next(iter(scores.values()))
        if tokenizer.has_codebook and options.snrs:
            limits = {"limit": options.max_utterances, "seed": config.seed}
            noise = score_under_noise(tokenizer, first, run, journal, options.kinds, options.snrs, **limits)
            metrics |= noise_metrics(noise)
    if tokenizer.has_codebook and config.stream_utterances:
        few = [utterance.segment for utterance in first.utterances[: config.stream_utterances]]
        audios = [read_segment(one, tokenizer.sample_rate, tolerance=config.duration_tolerance) for one in few]
        metrics |= stream_latency(tokenizer, audios)
    report = {
        "metrics": metrics,
        "fingerprint": tokenizer.fingerprint,
        "splits": {name: split.report(config.num_examples) for name, split in scores.items()},
    }
    write_json(run.folder / "report.json", report)
    for line in score_table(metrics, scores, noise):
        run.say(line)
    return metrics


def find_manifests(config: TokenizerEvaluateConfig) -> dict[str, Path]:
    """The manifests that exist, by split."""
    files = {name: Path(config.corpus) / f"{name}.jsonl" for name in config.splits}
    files = {name: file for name, file in files.items() if file.is_file()}
    if not files:
        raise UserError(config.corpus, found=f"none of {config.splits}", remedy="run corpus.build, or set splits")
    return files
