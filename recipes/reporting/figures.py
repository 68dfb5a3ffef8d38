"""Pictures of the report, each a PNG as a data URI so that the page stays one file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .blocks import png_uri

INK = "#1f2933"
ACCENT = "#0b6e99"
SECOND = "#d1495b"
SMOOTHING = 0.9


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, npt.NDArray[Any]]:
    """A figure drawn without a screen, and its axes as an array (rows, columns)."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, colors=INK)
    return figure, axes


def data_uri(figure: Figure) -> str:
    """The figure as ``data:image/png;base64,...``."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return png_uri(buffer.getvalue())


def smoothed(values: Sequence[float]) -> list[float]:
    """Exponential moving average with bias correction."""
    mean, out = 0.0, []
    for index, value in enumerate(values):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        out.append(mean / (1 - SMOOTHING ** (index + 1)))
    return out


def loss_curves(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """One panel a training stage: loss over steps, raw and smoothed, and the validation losses where there are any."""
    columns = 3
    rows = -(-len(curves) // columns)
    figure, axes = new_figure(11, 2.6 * rows, rows, columns)
    for axis, (name, points) in zip(axes.flat, curves.items(), strict=False):
        logged = [point for point in points if "loss" in point]
        steps, losses = [point["step"] for point in logged], [point["loss"] for point in logged]
        axis.plot(steps, losses, color=ACCENT, alpha=0.25, linewidth=0.8)
        axis.plot(steps, smoothed(losses), color=ACCENT, linewidth=1.6, label="training loss")
        held_out = {key for point in points for key in point if key.startswith("val_loss.") and key.count(".") == 1}
        for key in sorted(held_out):
            held = [(point["step"], point[key]) for point in points if key in point]
            axis.plot(*zip(*held, strict=True), marker=".", linewidth=1, label=key.removeprefix("val_loss."))
        axis.set_title(name, fontsize=9, loc="left", color=INK)
        axis.set_xlabel("step", fontsize=8)
        if len(losses) > 4 and min(losses) > 0 and max(losses) / min(losses) > 8:
            axis.set_yscale("log")
        if axis.get_legend_handles_labels()[1][1:]:
            axis.legend(fontsize=6, frameon=False, ncols=2)
    for axis in list(axes.flat)[len(curves) :]:
        axis.set_visible(False)
    return data_uri(figure)


def codebook_histogram(counts: Sequence[int]) -> str:
    """Share of tokens of each code, the most frequent code first."""
    ordered = np.sort(np.asarray(counts, dtype=np.float64))[::-1]
    figure, axes = new_figure(7, 2.4)
    axis = axes[0, 0]
    axis.fill_between(np.arange(len(ordered)), ordered / max(ordered.sum(), 1.0), color=ACCENT, step="mid", alpha=0.8)
    axis.set_xlabel("code, most used first", fontsize=8)
    axis.set_ylabel("share of tokens", fontsize=8)
    axis.set_xlim(0, len(ordered))
    return data_uri(figure)


def spectrograms(mels: Mapping[str, npt.NDArray[np.float32]]) -> str:
    """Log-mel pictures under each other, one a signal; each (num_mels, F) at 10 ms a frame."""
    figure, axes = new_figure(7.5, 1.7 * len(mels), len(mels), 1)
    low = min(float(np.quantile(mel, 0.02)) for mel in mels.values())
    high = max(float(np.quantile(mel, 0.998)) for mel in mels.values())
    longest = max(mel.shape[1] for mel in mels.values())
    for axis, (name, mel) in zip(axes.flat, mels.items(), strict=True):
        extent = (0.0, mel.shape[1] / 100, 0.0, float(mel.shape[0]))
        axis.imshow(mel, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, extent=extent)
        axis.set_xlim(0, longest / 100)
        axis.set_title(name, fontsize=8, loc="left", color=INK)
        axis.set_ylabel("mel band", fontsize=7)
    list(axes.flat)[-1].set_xlabel("seconds", fontsize=8)
    return data_uri(figure)


def bars(values: Mapping[str, float], label: str) -> str:
    """Horizontal bars, one a name."""
    figure, axes = new_figure(6, 0.34 * len(values) + 0.7)
    axis = axes[0, 0]
    names = list(values)[::-1]
    axis.barh(names, [values[name] for name in names], color=ACCENT, height=0.6)
    for row, name in enumerate(names):
        axis.text(values[name], row, f" {values[name]:.3g}", va="center", fontsize=7, color=INK)
    axis.set_xlabel(label, fontsize=8)
    return data_uri(figure)
