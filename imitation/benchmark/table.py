"""Table and plot of the benchmark: conditions by groups of prompts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from runtime.artefact import atomic_path, write_text

from .config import TRANSCRIPT
from .generalisation import GROUPS, TITLES, GroupScore, imitation_gap

COLOURS = {"transcript": "#8d99ae", "speech": "#0b6e99", "interleaved": "#59a5c2", "cascade": "#d1495b"}
Scores = Mapping[str, Mapping[str, GroupScore]]


def write_table(folder: Path, scores: Scores) -> None:
    """Write ``generalisation.md``: means with intervals and worst prompts, then the tasks."""
    lines = [
        "# Generalisation over prompts and tasks",
        "",
        "Mean over tasks, % (95 % interval over utterances), the worst prompt, and the imitation gap: the transcript's "
        "mean less this one.",
        "",
        "| condition | " + " | ".join(TITLES[group] for group in GROUPS) + " |",
        "|---" * (len(GROUPS) + 1) + "|",
    ]
    for condition, groups in scores.items():
        cells = [cell(scores, condition, group) if group in groups else "" for group in GROUPS]
        lines.append(f"| {condition} | " + " | ".join(cells) + " |")
    lines += ["", "| task | " + " | ".join(scores) + " |", "|---" * (len(scores) + 1) + "|"]
    for group in GROUPS:
        tasks = sorted({task for groups in scores.values() if group in groups for task in groups[group].tasks})
        for task in tasks:
            found = [groups[group].tasks.get(task) if group in groups else None for groups in scores.values()]
            cells = ["" if one is None else f"{100 * one:.1f}" for one in found]
            lines.append(f"| {task}, {TITLES[group]} | " + " | ".join(cells) + " |")
    write_text(folder / "generalisation.md", "\n".join([*lines, ""]))


def cell(scores: Scores, condition: str, group: str) -> str:
    """One group's score in words."""
    one = scores[condition][group]
    low, high = one.interval
    words = f"{100 * one.mean:.1f} ({100 * low:.1f}-{100 * high:.1f}), worst {100 * one.worst_prompt[0]:.1f}"
    gap = imitation_gap(scores, condition, group)
    return words if condition == TRANSCRIPT or np.isnan(gap) else f"{words}, gap {100 * gap:.1f}"


def write_figure(folder: Path, scores: Scores) -> None:
    """Write ``generalisation.png``: a bar a condition in each group, with its interval."""
    figure = Figure(figsize=(7, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    width = 0.8 / len(scores)
    for number, (condition, groups) in enumerate(scores.items()):
        found = [(at, groups[group]) for at, group in enumerate(GROUPS) if group in groups]
        places = [at + (number - (len(scores) - 1) / 2) * width for at, _ in found]
        means = [100 * one.mean for _, one in found]
        below = [100 * max(one.mean - one.interval[0], 0) for _, one in found]
        above = [100 * max(one.interval[1] - one.mean, 0) for _, one in found]
        axis.bar(places, means, width * 0.92, yerr=[below, above], label=condition, color=COLOURS[condition], capsize=2)
    axis.set_xticks(range(len(GROUPS)), [TITLES[group] for group in GROUPS], fontsize=8)
    axis.set_ylabel("mean over tasks, %", fontsize=8)
    axis.set_ylim(0, 100)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=7, frameon=False, ncols=len(scores), loc="upper right")
    with atomic_path(folder / "generalisation.png") as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
