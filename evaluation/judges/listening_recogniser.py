"""Recogniser made of a language model that hears (`lm.inference.listening_model`), by its own recognition task."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from corpus.audio.files import read_audio
from lm.data.formats import asr_prompt
from lm.data.request_format import generation_end_ids
from lm.inference.listening_model import HeardPrompt, ListeningModel
from runtime.artefact import file_digest

TRANSCRIPT_TOKENS = 256


class ListeningRecogniser:
    """Transcripts that the model writes after ``<|asr|>`` and the speech; those of a file do not depend on others."""

    batch = 32

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"{folder.name} {file_digest(folder)}"

    @functools.cached_property
    def _model(self) -> ListeningModel:
        return ListeningModel.from_pretrained(self.folder)

    def transcribe(self, files: Sequence[Path]) -> list[str]:
        """The transcript of each file, in order."""
        model, vocabulary = self._model, self._model.vocabulary
        heard = model.hear([read_audio(file) for file in files])
        prompts = [HeardPrompt(asr_prompt(model.placeholders(one), vocabulary), [one]) for one in heard]
        rows = model.generate(prompts, max_new_tokens=TRANSCRIPT_TOKENS, stop=generation_end_ids(vocabulary))
        return [vocabulary.decode_text(row).strip() for row in rows]
