"""Plot of an ablation of the language model: share of false answers beaten, by group and direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from evaluation.rules.measure import MeanScore
from recipes.reporting.figures import ACCENT, INK, SECOND, new_figure

from .lm_table import ChoiceCell, Setting

PANELS = (ChoiceCell("questions", "s2t"), ChoiceCell("statements", "s2s"), ChoiceCell("questions", "s2s"))
COLOURS = {"interleaved": ACCENT, "text": SECOND, "spoken": "#8d99ae"}
LABELS = {
    "interleaved": "facts of interleaved texts",
    "text": "facts of texts alone",
    "spoken": "facts told in speech",
}


def lm_figure(settings: Sequence[Setting]) -> Figure:
    """A panel a kind of choice, a mark a setting and group with its 95 % interval; the dashed line is chance."""
    figure, axes = new_figure(12, 3.8, 1, len(PANELS))
    is_curve = len({setting.amount for setting in settings}) == len(settings)
    for axis, cell in zip(axes.flat, PANELS, strict=True):
        places = [100 * setting.amount for setting in settings] if is_curve else list(range(len(settings)))
        for shift, (group, colour) in enumerate(COLOURS.items()):
            found = [
                (place, setting.scores[group][cell])
                for place, setting in zip(places, settings, strict=True)
                if cell in setting.scores.get(group, {})
            ]
            draw(axis, found, colour, LABELS[group], is_curve=is_curve, shift=0.0 if is_curve else 0.15 * (shift - 1))
        axis.axhline(50, color=INK, linewidth=0.8, linestyle="--")
        axis.set_ylim(25, 103)
        axis.set_title(f"{cell.head}, % (chance 50)", fontsize=9, loc="left", color=INK)
        if is_curve:
            axis.set_xlabel("interleaved tokens, % of the training", fontsize=8)
        else:
            axis.set_xticks(places, [setting.label for setting in settings], rotation=25, ha="right", fontsize=6)
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
