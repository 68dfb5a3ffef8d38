"""Scores of a tokenizer as lines of text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .robustness import NoiseScore
from .transcripts import SplitScores


def score_table(
    metrics: Mapping[str, Any], splits: Mapping[str, SplitScores], noise: Sequence[NoiseScore]
) -> list[str]:
    """The report that `tokenizer.evaluate` prints: codebook, word error rates, noise, speed; only what was measured."""
    lines = [codebook_line(metrics), f"  {'':20}{'WER':>8}{'without VQ':>12}"]
    for name, score in splits.items():
        through = f"{score.errors(score.with_vq).rate:8.1%}" if score.has_vq else f"{'-':>8}"
        lines.append(f"  {name:20}{through}{score.errors(score.without_vq).rate:12.1%}")
    if noise:
        snrs = list(dict.fromkeys(score.snr_db for score in noise))
        heads = "".join(f"{f'{snr:g} dB':>8}" for snr in snrs)
        lines.append(f"  {'under noise':20}{heads}   UED (token edits)  {'':3}{heads}   WER")
        for kind in dict.fromkeys(score.kind for score in noise):
            mine = [score for score in noise if score.kind == kind]
            edits = "".join(f"{score.edit_distance:8.1%}" for score in mine)
            words = "".join(f"{score.words.rate:8.1%}" for score in mine)
            lines.append(f"  {'  ' + kind:20}{edits}{'':25}{words}")
    return lines + speed_lines(metrics)


def codebook_line(metrics: Mapping[str, Any]) -> str:
    """Frame rate, codebook, bits a second, and how the codes are used."""
    line = f"  {metrics['frame_rate_hz']:g} Hz, {metrics['codebook_size']} codes, {metrics['bits_per_second']:g} bit/s"
    if "perplexity" in metrics:
        line += f"; {metrics['codebook_use']:.0%} of the codes used, perplexity {metrics['perplexity']:.0f}"
    return line


def speed_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Encoding speed and streaming latency."""
    lines = []
    if metrics.get("cpu_rtf"):
        lines.append(
            f"  encoding: {metrics['cpu_rtf']:.4f} CPU-seconds a second of audio ({1 / metrics['cpu_rtf']:.0f} x real"
            f" time a core), real-time factor {metrics['rtf']:.4f}"
        )
    if "stream_chunk_seconds" in metrics:
        median, p95 = metrics["stream_cpu_seconds_per_chunk"], metrics["stream_cpu_seconds_per_chunk_p95"]
        lines.append(
            f"  streaming: chunks of {metrics['stream_chunk_seconds']:g} s, {1000 * median:.1f} CPU-ms each"
            f" (95 % within {1000 * p95:.1f})"
        )
    return lines
