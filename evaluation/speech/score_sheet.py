"""Score sheet: spectrograms of a recording and its resyntheses, with the pitch drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from corpus.audio.files import SAMPLE_RATE, read_audio
from corpus.audio.mel import LogMel
from runtime.artefact import atomic_path

from .pitch import HOP, WINDOW, pitch


def draw_sheet(file: Path, title: str, audios: Mapping[str, Path]) -> None:
    """Write a PNG with one row for each of the named recordings."""
    log_mel = LogMel()
    figure = Figure(figsize=(10, 1.9 * len(audios) + 0.4), layout="constrained")
    rows = figure.subplots(len(audios), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (name, audio_file) in zip(rows, audios.items(), strict=True):
        audio = read_audio(audio_file)
        whole = audio[: len(audio) // log_mel.config.hop * log_mel.config.hop]
        mel = log_mel(torch.from_numpy(whole)[None])[0].numpy()
        seconds = len(whole) / SAMPLE_RATE
        axes.imshow(mel, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, len(mel)), vmin=-2, vmax=2)
        axes.set(ylabel="mel band", title=name)
        track = pitch(audio, SAMPLE_RATE)
        over = axes.twinx()
        times = np.arange(len(track)) * HOP + WINDOW / 2
        over.plot(times[track > 0], track[track > 0], ".", color="cyan", markersize=2)
        over.set(ylim=(0, 500), ylabel="pitch, Hz")
    rows[-1].set_xlabel("seconds")
    figure.suptitle(title, fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        figure.savefig(temporary, dpi=80)
