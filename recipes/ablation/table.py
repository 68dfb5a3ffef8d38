"""Scores of an ablation's points as one table, and the paper's Table 1 for comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.artefact import read_json
from runtime.stage import Stage

from .grid import Point, plain, short
from .plan import Ablation

MISSING = "–"
# By the judge of the closed world (evaluation.run), or by a recogniser (evaluation.decoder_set): a table has one.
RECONSTRUCTION = ("decoder.judge_wer", "resynthesised.judge_wer", "resynthesised.asr_wer")


@dataclass(frozen=True)
class Scores:
    """Scores of one point.

    Attributes:
        point: of the grid.
        metrics: of `tokenizer.evaluate`; empty where the point failed.
        splits: WER of each held-out manifest: ``{split: {"wer_with_vq": ..., "wer_without_vq": ...}}``.
        training: metrics of `tokenizer.train`, with the steps it took under ``steps``.
        judged: metrics of `evaluation.run`, or with a recogniser of `evaluation.decoder_set`, on its speech; empty
            without a decoder.
        made_by: versions and git commit of the training.
    """

    point: Point
    metrics: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    judged: Mapping[str, Any] = field(default_factory=dict)
    made_by: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain data for ``ablation.json``."""
        return {
            "point": self.point.label,
            "options": dict(self.point.options),
            "metrics": dict(self.metrics),
            "splits": {name: dict(split) for name, split in self.splits.items()},
            "training": dict(self.training),
            "judged": dict(self.judged),
            "made_by": dict(self.made_by),
        }


def gather(ablation: Ablation) -> list[Scores]:
    """The scores of all points, in the grid's order, from their stages' folders."""
    return [read_scores(ablation.folder(point), point) for point in ablation.points]


def read_scores(folder: Path, point: Point) -> Scores:
    """Read the scores of one point; a stage that did not end leaves its part empty."""
    metrics = finished(folder / "evaluation", "metrics.json")
    report = finished(folder / "evaluation", "report.json")
    made_by = finished(folder / "tokenizer", "run.json")
    names = ("wer_with_vq", "wer_without_vq", "utterances")
    splits = {
        split: {name: scores[name] for name in names if name in scores}
        for split, scores in report.get("splits", {}).items()
    }
    fit = made_by.get("config", {}).get("fit", {})
    training = finished(folder / "tokenizer", "metrics.json")
    return Scores(
        point,
        metrics=metrics,
        splits=splits,
        training=training | {"steps": fit["steps"]} if fit else training,
        judged=finished(folder / "judged", "metrics.json"),
        made_by={name: made_by[name] for name in ("versions", "git_commit") if name in made_by},
    )


def finished(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of a finished stage; empty where the stage is not finished."""
    return read_json(folder / name) if (folder / Stage.DONE).exists() else {}


@dataclass(frozen=True)
class Column:
    """One column: its head, and how a point's cell reads (None where nothing was measured)."""

    head: str
    cell: Callable[[Scores], str | None]


def columns(rows: Sequence[Scores]) -> list[Column]:
    """The columns of an ablation's table: options that vary, budget, then each metric that any point has."""
    swept = list(rows[0].point.swept) if rows else []
    first = next((list(row.splits) for row in rows if row.splits), [])
    found = [Column(short(key), lambda row, key=key: plain(row.point.swept[key])) for key in swept]  # type: ignore[misc]
    found += [
        Column("codes", whole("metrics", "codebook_size")),
        Column("bit/s", whole("metrics", "bits_per_second")),
        Column("steps", whole("training", "steps")),
    ]
    for split in first:
        name = split.replace("_", " ")
        found += [Column(f"WER {name}", split_rate(split, "wer_with_vq"))]
        found += [Column("… without VQ", split_rate(split, "wer_without_vq"))]
    found += [
        Column("codes used", percent("metrics", "codebook_use")),
        Column("perplexity", whole("metrics", "perplexity")),
        Column("× real time a core", lambda row: speed(row.metrics.get("cpu_rtf"))),
        Column("chunk, s", whole("metrics", "stream_chunk_seconds")),
    ]
    for snr in noise_levels(rows):
        found.append(Column(f"UED {snr} dB", percent("metrics", f"token_edit_distance_{snr}db")))
    for name in RECONSTRUCTION:
        found.append(Column("reconstruction WER", percent("judged", name)))
    found.append(Column("training, CPU-s", whole("training", "fit_cpu_seconds")))
    always = len(swept) + 3
    return found[:always] + [column for column in found[always:] if any(column.cell(row) for row in rows)]


def noise_levels(rows: Sequence[Scores]) -> list[str]:
    """The SNRs in dB at which every kind of noise was measured, strongest speech first."""
    start, end = "token_edit_distance_", "db"
    names = {
        name.removeprefix(start).removesuffix(end) for row in rows for name in row.metrics if name.startswith(start)
    }
    return sorted((name for name in names if is_number(name)), key=float, reverse=True)


def is_number(text: str) -> bool:
    """Whether ``text`` reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def whole(part: str, name: str) -> Callable[[Scores], str | None]:
    """A cell with a number as it is."""
    return lambda row: number(getattr(row, part).get(name))


def percent(part: str, name: str) -> Callable[[Scores], str | None]:
    """A cell with a rate as per cent."""
    return lambda row: rate(getattr(row, part).get(name))


def split_rate(split: str, name: str) -> Callable[[Scores], str | None]:
    """A cell with a split's word error rate."""
    return lambda row: rate(row.splits.get(split, {}).get(name))


def number(value: float | None) -> str | None:
    """A number, rounded for a reader."""
    if value is None or not math.isfinite(value):
        return None
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def rate(value: float | None) -> str | None:
    """A rate as per cent."""
    return None if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def speed(cpu_rtf: float | None) -> str | None:
    """CPU-seconds a second of audio as times real time."""
    return f"{1 / cpu_rtf:.0f}" if cpu_rtf else None


def table(rows: Sequence[Scores]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the ablation's table."""
    chosen = columns(rows)
    return [column.head for column in chosen], [[column.cell(row) or MISSING for column in chosen] for row in rows]


PAPER_HEADS = ["model", "Hz", "codes", "bit/s", "LS-clean WER", "LS-other WER", "AISHELL-1 CER"]
PAPER_HEADS += ["rec. WER", "VisQOL", "MOSNet"]
# The codebook sizes are those that the bit rates imply (bit/s / Hz = bits a token); 16,384 is also stated.
PAPER_ROWS = [
    ["the paper's", "50", "4,096", "600", "1.85 %", "3.78 %", "2.70 %", "6.24 %", "2.67", "3.38"],
    ["the paper's", "25", "4,096", "300", "1.94 %", "4.16 %", "2.86 %", "6.80 %", "2.60", "3.33"],
    ["the paper's", "12.5", "16,384", "175", "2.10 %", "4.90 %", "3.02 %", "8.43 %", "2.52", "3.39"],
    ["the paper's", "6.25", "65,536", "100", "14.41 % *", "2.34 % *", "3.24 % *", "14.41 %", "2.34", "3.24"],
    ["whisper-large-v3", "50", MISSING, MISSING, "2.50 %", "4.53 %", "9.31 %", MISSING, MISSING, MISSING],
    ["SenseVoice-Large", "50", MISSING, MISSING, "2.57 %", "4.28 %", "2.09 %", MISSING, MISSING, MISSING],
    ["SpeechTokenizer (first 3 RVQ)", "50", MISSING, "1,500", MISSING, MISSING, MISSING, "9.97 %", "1.53", "2.67"],
    ["SpeechTokenizer", "50", MISSING, "4,000", MISSING, MISSING, MISSING, "6.32 %", "3.07", "3.10"],
    ["Moshi (Mimi)", "12.5", MISSING, "1,100", MISSING, MISSING, MISSING, "8.36 %", "2.82", "2.89"],
]
PAPER_TITLE = "The paper's Table 1 (GLM-4-Voice, arXiv 2412.02612; the tokenizer of arXiv 2411.17607)"
PAPER_NOTE = (
    "* As printed, and a printing error: at 6.25 Hz the three ASR cells repeat the three reconstruction cells (14.41,"
    " 2.34, 3.24). The true ASR figures of 6.25 Hz are not known. Its tokenizer is whisper-large-v3, fine-tuned on"
    " 700,000 hours; LS is LibriSpeech: compare the trend over the rates, not the figures."
)
# Bits a second and WER in per cent on LibriSpeech test-clean by frame rate, where they are known.
PAPER_ASR = {50.0: (600.0, 1.85), 25.0: (300.0, 1.94), 12.5: (175.0, 2.10)}
