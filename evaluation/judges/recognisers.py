"""Speech recognisers that judge: the closed-world one, or an open one by path or endpoint, behind one contract.

  runs/quickstart/corpus      the closed-world judge of a built-in corpus (its folder has sentences.txt)
  model.nemo                  a NeMo ASR model
  whisper-base/               a folder that transformers saved a recogniser to (Whisper and its like)
  runs/inserter_export        a language model that hears: what lm.export wrote, with hearing/
  http://localhost:8000/v1    ``/audio/transcriptions`` of an OpenAI-compatible server; ``#model`` names its model

Nothing is downloaded: a path must be a local file or folder.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from corpus.audio.files import SAMPLE_RATE, read_audio
from lm.data.hearing_folder import is_listening_model
from runtime.artefact import file_digest
from runtime.errors import UserError

from .closed_world import load_judge

KEY_VARIABLE = "OPENAI_API_KEY"
ENDPOINT_SECONDS = 120.0


class Recogniser(Protocol):
    """A recogniser: its name for a score's stamp, and transcripts of files.

    Attributes:
        name: with the digest of its files.
        batch: files that it hears at once; the unit in which transcripts are kept.
    """

    name: str
    batch: int

    def transcribe(self, files: Sequence[Path]) -> list[str]:
        """The transcript of each file, in order."""
        ...


def find_recogniser(source: str, option: str = "recogniser", *, instruction: str = "") -> Recogniser:
    """The recogniser that a path or URL names.

    Args:
        source: see above.
        option: its option, for errors.
        instruction: request that a language model that hears is asked by; empty: its recognition task.

    Raises:
        UserError: there is none, or an instruction for one that takes none.
    """
    if instruction and not is_listening_model(Path(source)):
        found = f"{source}, which is no language model that hears and takes no instruction"
        raise UserError(f"option {option}", found=found, remedy="leave instruction= out")
    if source.startswith(("http://", "https://")):
        return EndpointRecogniser(source)
    path = Path(source)
    if (path / "sentences.txt").is_file():
        return ClosedWorldRecogniser(path)
    if path.is_file() and path.suffix == ".nemo":
        return NemoRecogniser(path)
    if is_listening_model(path):
        from .listening_recogniser import ListeningRecogniser  # a language model, which other recognisers do not need

        return ListeningRecogniser(path, instruction)
    if (path / "config.json").is_file():
        return TransformersRecogniser(path)
    remedy = (
        "give a .nemo file, a folder that transformers saved a speech recogniser to, the folder of a built-in corpus, "
        "or the URL of a server"
    )
    raise UserError(f"option {option}={source}", found="no recogniser there (nothing is downloaded)", remedy=remedy)


class ClosedWorldRecogniser:
    """pocketsphinx with the language model of a closed world (`evaluation.judges.closed_world`)."""

    batch = 1

    def __init__(self, corpus: Path) -> None:
        self.name = closed_world_name(corpus)
        self.judge = load_judge(corpus)

    def transcribe(self, files: Sequence[Path]) -> list[str]:
        """The transcript of each file, in order."""
        return [self.judge.transcribe_file(file) for file in files]


def closed_world_name(corpus: Path) -> str:
    """The name of the closed-world judge of a corpus, for a score's stamp."""
    return f"closed world {file_digest(corpus / 'sentences.txt')}"


class NemoRecogniser:
    """A NeMo ASR model."""

    batch = 8

    def __init__(self, model: Path) -> None:
        self.model, self.name = model, f"{model.name} {file_digest(model)}"

    @functools.cached_property
    def _recogniser(self) -> Any:
        from nemo.collections.asr.models import ASRModel

        return ASRModel.restore_from(str(self.model), map_location="cpu").eval()

    def transcribe(self, files: Sequence[Path]) -> list[str]:
        """The transcript of each file, in order."""
        audios = [read_audio(file) for file in files]
        hypotheses = self._recogniser.transcribe(audios, batch_size=self.batch, verbose=False)
        return [found if isinstance(found, str) else found.text for found in hypotheses]


class TransformersRecogniser:
    """A recogniser of transformers; one file at a time, so that batch mates change no transcript."""

    batch = 1

    def __init__(self, model: Path) -> None:
        self.model, self.name = model, f"{model.name} {file_digest(model)}"

    @functools.cached_property
    def _recogniser(self) -> Any:
        from transformers import pipeline

        return pipeline("automatic-speech-recognition", model=str(self.model))

    def transcribe(self, files: Sequence[Path]) -> list[str]:
        """The transcript of each file, in order; files over 30 s are read by the model's own long form."""
        options = {"return_timestamps": True} if self._recogniser.type == "seq2seq_whisper" else {}
        return [
            self._recogniser({"raw": audio, "sampling_rate": SAMPLE_RATE}, **options)["text"].strip()
            for audio in map(read_audio, files)
        ]


class EndpointRecogniser:
    """``/audio/transcriptions`` of an OpenAI-compatible server."""

    batch = 1

    def __init__(self, source: str) -> None:
        self.url, _, self.model = source.partition("#")
        self.name = f"{self.url} {self.model}".strip()

    def transcribe(self, files: Sequence[Path]) -> list[str]:
        """The transcript of each file, in order.

        Raises:
            UserError: the server refuses, or does not answer.
        """
        return list(self._transcripts(files))

    def _transcripts(self, files: Sequence[Path]) -> Iterator[str]:
        import httpx

        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(headers=headers, timeout=ENDPOINT_SECONDS) as client:
            for file in files:
                form = {"model": self.model or "whisper-1", "response_format": "json", "temperature": "0"}
                try:
                    with file.open("rb") as content:
                        url = f"{self.url.rstrip('/')}/audio/transcriptions"
                        response = client.post(url, data=form, files={"file": (file.name, content)})
                    response.raise_for_status()
                    yield str(response.json()["text"])
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    remedy = "check the URL, the model after '#' and the key; call again: what is transcribed is kept"
                    raise UserError(
                        self.url, found=f"{file.name} was not transcribed ({error})", remedy=remedy
                    ) from error
