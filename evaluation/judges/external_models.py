"""External models given by path: an open-vocabulary recogniser and a naturalness predictor, which we do not ship.

  asr    a NeMo ASR model (``model.nemo``) or a folder of transformers' (Whisper and its like)
  utmos  a TorchScript file that maps (waveform (1, S), sample rate) to a score of 1 to 5, as UTMOS's authors trace it

Nothing is downloaded: the path must be a local file or folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corpus.audio.files import SAMPLE_RATE, read_audio
from runtime.errors import UserError

BATCH = 8


def transcripts(model: str, files: Sequence[Path]) -> list[str]:
    """Transcripts of audio files by the recogniser at ``model``."""
    path = Path(model)
    if path.is_file() and path.suffix == ".nemo":
        return nemo_transcripts(path, files)
    if (path / "config.json").is_file():
        return transformers_transcripts(path, files)
    remedy = "give a .nemo file, or a folder that transformers saved a speech recogniser to"
    raise UserError(f"option asr={model}", found="neither a .nemo file nor a folder with config.json", remedy=remedy)


def nemo_transcripts(model: Path, files: Sequence[Path]) -> list[str]:
    """Transcripts by a NeMo model."""
    from nemo.collections.asr.models import ASRModel

    recogniser = ASRModel.restore_from(str(model), map_location="cpu").eval()
    audios = [read_audio(file) for file in files]
    hypotheses = recogniser.transcribe(audios, batch_size=BATCH, verbose=False)
    return [found if isinstance(found, str) else found.text for found in hypotheses]


def transformers_transcripts(model: Path, files: Sequence[Path]) -> list[str]:
    """Transcripts by a model of transformers."""
    from transformers import pipeline

    recogniser = pipeline("automatic-speech-recognition", model=str(model))
    return [recogniser({"raw": read_audio(file), "sampling_rate": SAMPLE_RATE})["text"] for file in files]


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
