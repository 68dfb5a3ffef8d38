"""Plot of choices about made-up facts: share of false answers beaten, by group and direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from evaluation.rules.measure import MeanScore

from .fact_scores import CHANCE, LABELS, ChoiceCell, FactRow
from .figures import ACCENT, INK, SECOND, new_figure

PANELS = (ChoiceCell("questions", "s2t"), ChoiceCell("statements", "s2s"), ChoiceCell("questions", "s2s"))
COLOURS = {"interleaved": ACCENT, "text": SECOND, "spoken": "#8d99ae"}


def fact_figure(rows: Sequence[FactRow]) -> Figure:
    """A panel a kind of choice, a mark a row and group with its 95 % interval; the dashed line is chance."""
    figure, axes = new_figure(12, 3.8, 1, len(PANELS))
    amounts = [100 * row.amount for row in rows if row.amount is not None]
    is_curve = len(set(amounts)) == len(rows)
    places = amounts if is_curve else list(range(len(rows)))
    for axis, cell in zip(axes.flat, PANELS, strict=True):
        for shift, (group, colour) in enumerate(COLOURS.items()):
            found = [
                (place, row.facts.scores[group][cell])
                for place, row in zip(places, rows, strict=True)
                if cell in row.facts.scores.get(group, {})
            ]
            draw(axis, found, colour, LABELS[group], is_curve=is_curve, shift=0.0 if is_curve else 0.15 * (shift - 1))
        axis.axhline(CHANCE, color=INK, linewidth=0.8, linestyle="--")
        axis.set_ylim(25, 103)
        axis.set_title(f"{cell.head}, % (chance {CHANCE})", fontsize=9, loc="left", color=INK)
        if is_curve:
            axis.set_xlabel("interleaved tokens, % of the training", fontsize=8)
        else:
            axis.set_xticks(places, [row.label for row in rows], rotation=25, ha="right", fontsize=6)
    axes[0, 0].legend(fontsize=6, frameon=False, loc="lower right")
    return figure


def draw(
    axis: Any, found: Sequence[tuple[float, MeanScore]], colour: str, label: str, *, is_curve: bool, shift: float
) -> None:
    """One group's marks in a panel."""
    if not found:
        return
    means = [100 * mean.micro for _, mean in found]
    below = [100 * (mean.micro - mean.interval[0]) for _, mean in found]
    above = [100 * (mean.interval[1] - mean.micro) for _, mean in found]
    style = "o-" if is_curve else "o"
    places = [place + shift for place, _ in found]
    axis.errorbar(places, means, [below, above], fmt=style, color=colour, label=label, markersize=4, capsize=2)
