"""Predictor of naturalness given by path, which we do not ship: a TorchScript file.

It maps (waveform (1, S), sample rate) to a score of 1 to 5, as UTMOS's authors trace it. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corpus.audio.files import SAMPLE_RATE, read_audio
from runtime.errors import UserError


def naturalness(model: str, files: Sequence[Path]) -> list[float]:
    """The score of each file by the predictor at ``model``."""
    import torch

    if not Path(model).is_file():
        raise UserError(f"option utmos={model}", found="no such file", remedy="give the path of a TorchScript file")
    try:
        predictor = torch.jit.load(model, map_location="cpu").eval()
    except RuntimeError as error:
        found = f"no TorchScript ({str(error).splitlines()[0]})"
        raise UserError(
            f"option utmos={model}", found=found, remedy="trace the predictor with torch.jit first"
        ) from error
    with torch.inference_mode():
        return [float(predictor(torch.from_numpy(read_audio(file))[None], SAMPLE_RATE)) for file in files]
