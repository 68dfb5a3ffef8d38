"""Copy synthesis: recordings through mel and vocoder, without tokens, as the vocoder's own share of what is lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from corpus.audio.files import write_audio
from corpus.audio.mel import LogMel
from corpus.audio.segments import read_segment
from decoder.vocoder import Vocoder
from runtime.artefact import artefact_folder
from runtime.errors import UserError
from runtime.progress import Progress

from .resynthesis import ResynthesisPair


def copy_synthesis(
    pairs: Sequence[ResynthesisPair], vocoder: str, folder: Path, bar: Progress, *, frame_rate: float
) -> list[ResynthesisPair]:
    """Pairs of each recording with its copy, written to ``folder``; files that are there from a killed call are kept.

    Args:
        pairs: whose ``original`` is copied.
        vocoder: run folder of decoder.train_vocoder, or its artefact.
        folder: for the sounds.
        bar: updated by each utterance.
        frame_rate: mel frames a second at which the hop modulation is measured.

    Raises:
        UserError: no vocoder there or one of another frame rate, whose buzz would not be found, or an unreadable
            recording.
    """
    model = Vocoder.from_pretrained(artefact_folder(vocoder))
    own_rate = model.mel.sample_rate / model.mel.hop
    if not math.isclose(own_rate, frame_rate, rel_tol=1e-6):
        found = f"{frame_rate:.9g}, but {vocoder} makes {own_rate:.9g} frames a second"
        raise UserError("option frame_rate", found=found, remedy=f"give {own_rate:.9g}")
    log_mel = LogMel(model.mel)
    copies = []
    for pair in pairs:
        audio = folder / f"{pair.original.id.replace('/', '_')}.flac"
        if not audio.exists():
            recorded = read_segment(pair.original.segment, model.mel.sample_rate)
            padded = np.pad(recorded, (0, -len(recorded) % model.mel.hop))
            with torch.inference_mode():
                made = model(log_mel(torch.from_numpy(padded)[None]))[0, : len(recorded)]
            write_audio(audio, made.numpy(), model.mel.sample_rate)
        copies.append(ResynthesisPair(replace(pair.original, audio=audio, offset=None), pair.original))
        bar.update()
    return copies
