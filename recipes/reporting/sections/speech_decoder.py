"""The speech decoder: recordings and their resyntheses, the judge's word error rates and its floor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from corpus.audio.files import read_audio
from corpus.audio.frame_rate import pad_to_token
from corpus.audio.mel import LogMel
from recipes.reporting import figures
from recipes.reporting.blocks import Section, marked, percent, sound
from recipes.reporting.run_results import Results


def decoder_section(results: Results) -> Section | None:
    """Recordings and resyntheses: spectrograms, players, the judge's WER with its floor."""
    rows = results.lines("evaluation", "details.jsonl")
    parts = {
        part: {row["id"]: row for row in rows if row["part"] == part}
        for part in ("floor", "resynthesis", "griffin_lim")
    }
    if not parts["resynthesis"]:
        return None
    section = Section("Speech decoder")
    section.text(
        "Held-out recordings, turned into tokens and back into speech: flow matching makes the mel, then the project's "
        "own vocoder or Griffin-Lim makes the waveform. The judge also heard the untouched recordings: its floor."
    )
    table = [
        ["untouched recordings (floor)", percent(results.metrics.get("judge.floor_wer"))],
        ["flow matching + vocoder", percent(results.metrics.get("decoder.judge_wer"))],
        ["flow matching + Griffin-Lim", percent(results.metrics.get("decoder.judge_wer_griffin_lim"))],
    ]
    section.table(["speech", "judge's WER"], table)
    names = {
        "floor": "original",
        "resynthesis": "flow matching + vocoder",
        "griffin_lim": "flow matching + Griffin-Lim",
    }
    chosen = list(parts["resynthesis"])[:6]
    first = {name: log_mel(parts[part][chosen[0]]["audio"]) for part, name in names.items() if chosen[0] in parts[part]}
    section.image(figures.spectrograms(first), f"spectrograms of “{parts['resynthesis'][chosen[0]]['text']}”")
    header = ["text", *names.values(), "judge on the vocoder's"]
    cells: list[list[Any]] = []
    for identity in chosen:
        row = parts["resynthesis"][identity]
        players = [sound(parts[part][identity]["audio"] if identity in parts[part] else None) for part in names]
        cells.append([row["text"], *players, marked(row["judge"], row["edits"] == 0)])
    section.table(header, cells)
    return section


def log_mel(path: str) -> npt.NDArray[np.float32]:
    """The log-mel picture of a sound file, (num_mels, F)."""
    audio = torch.from_numpy(pad_to_token(read_audio(path)))[None]
    with torch.inference_mode():
        mel: npt.NDArray[np.float32] = LogMel()(audio)[0].numpy()
    return mel
