"""Plot of an ablation: word error rates, with the paper's over bit rate, and unit edit distance (UED) over noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from recipes.reporting.figures import ACCENT, INK, SECOND, new_figure

from .table import PAPER_ASR, Scores, noise_levels


def ablation_figure(rows: Sequence[Scores]) -> Figure:
    """Three panels: WER by point, WER over bits a second, token edit distance over the SNR."""
    figure, axes = new_figure(12, 3.6, 1, 3)
    scored = [row for row in rows if row.splits]
    word_errors(axes[0, 0], scored)
    over_bits(axes[0, 1], scored)
    under_noise(axes[0, 2], scored)
    for axis in axes.flat:
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize=6, frameon=False)
    return figure


def first(row: Scores) -> Mapping[str, Any]:
    """The word error rates of a point's first split."""
    return next(iter(row.splits.values()))


def word_errors(axis: Any, rows: Sequence[Scores]) -> None:
    """Bars of the first split's WER, with the quantiser and without."""
    for shift, name, label, colour in (
        (-0.2, "wer_with_vq", "through the tokens", ACCENT),
        (0.2, "wer_without_vq", "without VQ", SECOND),
    ):
        there = [(place + shift, 100 * first(row)[name]) for place, row in enumerate(rows) if name in first(row)]
        if there:
            axis.bar(*zip(*there, strict=True), 0.38, color=colour, label=label)
    axis.set_xticks(range(len(rows)), [row.point.label for row in rows], rotation=20, ha="right")
    axis.margins(y=0.2)  # room for the legend
    axis.set_ylabel("WER, %", fontsize=8)
    axis.set_title("WER, held out", fontsize=9, loc="left", color=INK)


def over_bits(axis: Any, rows: Sequence[Scores]) -> None:
    """WER through the tokens over bits a second, and the paper's where it is known."""
    ours = sorted(
        (row.metrics["bits_per_second"], 100 * first(row)["wer_with_vq"], row.point.label)
        for row in rows
        if "wer_with_vq" in first(row)
    )
    if ours:
        axis.plot([x for x, _, _ in ours], [y for _, y, _ in ours], "o-", color=ACCENT, markersize=4, label="here")
    for bits, wer, label in ours:
        axis.annotate(label, (bits, wer), fontsize=6, color=INK, xytext=(3, 3), textcoords="offset points")
    axis.plot(
        [bits for bits, _ in PAPER_ASR.values()],
        [wer for _, wer in PAPER_ASR.values()],
        "s--",
        color=SECOND,
        markersize=4,
        label="the paper, LibriSpeech test-clean, 50 / 25 / 12.5 Hz",
    )
    ticks = sorted({round(bits) for bits, _, _ in ours} | {round(bits) for bits, _ in PAPER_ASR.values()})
    axis.set_xscale("log")
    axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=6, rotation=45)
    axis.minorticks_off()
    axis.margins(y=0.2)
    axis.set_xlabel("bits a second", fontsize=8)
    axis.set_title("WER, %, over bit rate", fontsize=9, loc="left", color=INK)


def under_noise(axis: Any, rows: Sequence[Scores]) -> None:
    """One line a point: token edit distance over the SNR, the mean of the kinds of noise."""
    levels = noise_levels(rows)
    for row in rows:
        names = {float(level): f"token_edit_distance_{level}db" for level in levels}
        there = [(snr, 100 * row.metrics[name]) for snr, name in names.items() if name in row.metrics]
        if there:
            axis.plot(*zip(*there, strict=True), "o-", linewidth=1.2, markersize=3, label=row.point.label)
    if levels:
        axis.set_xticks([float(level) for level in levels], levels)
    axis.margins(y=0.2)
    axis.invert_xaxis()
    axis.set_xlabel("SNR, dB", fontsize=8)
    axis.set_title("unit edit distance (UED), %", fontsize=9, loc="left", color=INK)
