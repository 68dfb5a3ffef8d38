"""Speaker encoders for the similarity of two voices, by path or package; nothing is downloaded.

  runs/voices          a decoder of ours with a speaker encoder (``speaker.embedding=64``)
  wavlm-base-plus-sv/  a folder that transformers saved an x-vector model to (WavLM-SV, which papers quote as SIM)
  titanet_large.nemo   a NeMo speaker model (TitaNet, ECAPA-TDNN)
  resemblyzer          the package of that name, with its weights (GE2E; Wan et al. 2018)

The similarity is the cosine of two embeddings. Values of different encoders do not compare.
"""

from __future__ import annotations

import functools
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from corpus.audio.files import SAMPLE_RATE, read_audio
from decoder.model import SpeechDecoder
from runtime.artefact import artefact_folder, file_digest, read_json
from runtime.errors import UserError

from .packages import RESEMBLYZER

TRANSFORMERS_FILE = "config.json"
X_VECTOR = "ForXVector"  # the end of the class names of transformers' speaker models

Embedding = npt.NDArray[np.float32]  # (E,), of length 1


class VoiceEncoder(Protocol):
    """An encoder of voices.

    Attributes:
        name: with the digest of its files or its version, for a score's stamp.
    """

    name: str

    def embed(self, file: Path) -> Embedding:
        """The embedding (E,) of the voice in a sound file, of length 1."""
        ...


def find_speaker_encoder(source: str, option: str = "similarity") -> VoiceEncoder:
    """The speaker encoder that a path, or the name of a package, means.

    Args:
        source: see above.
        option: its option, for errors.

    Raises:
        UserError: there is none.
    """
    if source == RESEMBLYZER:
        return ResemblyzerEncoder(option)
    path = Path(source)
    if path.is_file() and path.suffix == ".nemo":
        return NemoSpeakerEncoder(path)
    if is_x_vector_folder(path):
        return TransformersSpeakerEncoder(path)
    return DecoderSpeakerEncoder(source, option)


def is_x_vector_folder(path: Path) -> bool:
    """Whether transformers saved a speaker model to a folder."""
    if not (path / TRANSFORMERS_FILE).is_file():
        return False
    record = read_json(path / TRANSFORMERS_FILE)
    classes = record.get("architectures") if isinstance(record, dict) else None
    return any(str(name).endswith(X_VECTOR) for name in classes or ())


def unit(embedding: npt.ArrayLike) -> Embedding:
    """An embedding as a vector (E,) of length 1."""
    vector = np.asarray(embedding, dtype=np.float32).reshape(-1)
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


class DecoderSpeakerEncoder:
    """The speaker encoder of one of our decoders."""

    def __init__(self, source: str, option: str) -> None:
        folder = artefact_folder(source)
        self.name = file_digest(folder)
        self.decoder = SpeechDecoder.from_pretrained(folder)
        if self.decoder.speaker_encoder is None:
            remedy = (
                "train one with speaker.embedding=64, or give a folder of transformers' (WavLM-SV), a .nemo speaker "
                f"model or {RESEMBLYZER}"
            )
            raise UserError(f"option {option}={source}", found="a decoder without a speaker encoder", remedy=remedy)

    def embed(self, file: Path) -> Embedding:
        """The embedding (E,) of the voice in a sound file (its first 10 s)."""
        return unit(self.decoder.embed_speaker(str(file)).cpu().numpy())


class TransformersSpeakerEncoder:
    """A speaker model of transformers with an x-vector head."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"{folder.name} {file_digest(folder)}"

    @functools.cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import AutoFeatureExtractor, AutoModelForAudioXVector

        return (
            AutoFeatureExtractor.from_pretrained(self.folder),
            AutoModelForAudioXVector.from_pretrained(self.folder).eval(),
        )

    def embed(self, file: Path) -> Embedding:
        """The embedding (E,) of the voice in a sound file."""
        extractor, model = self._parts
        inputs = extractor(read_audio(file), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            return unit(model(**inputs).embeddings[0].numpy())


class NemoSpeakerEncoder:
    """A NeMo speaker model."""

    def __init__(self, model: Path) -> None:
        self.model, self.name = model, f"{model.name} {file_digest(model)}"

    @functools.cached_property
    def _encoder(self) -> Any:
        from nemo.collections.asr.models import EncDecSpeakerLabelModel

        return EncDecSpeakerLabelModel.restore_from(str(self.model), map_location="cpu").eval()

    def embed(self, file: Path) -> Embedding:
        """The embedding (E,) of the voice in a sound file."""
        with torch.inference_mode():
            embedding, _ = self._encoder.infer_segment(read_audio(file))
        return unit(embedding.numpy())


class ResemblyzerEncoder:
    """The package ``resemblyzer``, which carries its weights."""

    def __init__(self, option: str) -> None:
        try:
            from resemblyzer import VoiceEncoder as PackageEncoder  # type: ignore[import-not-found]
            from resemblyzer import preprocess_wav
        except ImportError as error:
            found = f"{error.name} is not installed"
            remedy = f"pip install {RESEMBLYZER}, or give the path of another speaker encoder"
            raise UserError(f"option {option}={RESEMBLYZER}", found=found, remedy=remedy) from error
        self.name = f"{RESEMBLYZER} {version(RESEMBLYZER)}"
        self._prepare, self._encoder = preprocess_wav, PackageEncoder("cpu", verbose=False)

    def embed(self, file: Path) -> Embedding:
        """The embedding (E,) of the voice in a sound file; of silence, which its authors' preparation cuts, zeros."""
        audio = self._prepare(read_audio(file), source_sr=SAMPLE_RATE) if np.any(read_audio(file)) else np.zeros(0)
        return unit(self._encoder.embed_utterance(audio)) if len(audio) else np.zeros(256, np.float32)
