"""Recogniser that is a language model that hears (`lm.inference.listening_model`): by its own task, or by a request."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from corpus.audio.files import read_audio
from lm.data.formats import Codes, asr_prompt
from lm.data.request_format import generation_end_ids, request_format
from lm.data.vocabulary import Ids
from lm.inference.listening_model import HeardPrompt, ListeningModel
from runtime.artefact import file_digest

TRANSCRIPT_TOKENS = 256


class ListeningRecogniser:
    """Transcripts that the model writes; those of a file do not depend on others.

    Args:
        folder: what lm.export wrote.
        instruction: stands before the speech, in the chat format or the base model's template; empty: the speech
            stands after ``<|asr|>``, which a model that was trained on requests alone does not know.
    """

    batch = 32

    def __init__(self, folder: Path, instruction: str = "") -> None:
        self.folder, self.instruction = folder, instruction
        self.name = f"{folder.name} {file_digest(folder)}" + (f", asked {instruction!r}" if instruction else "")

    @functools.cached_property
    def _model(self) -> ListeningModel:
        return ListeningModel.from_pretrained(self.folder)

    def transcribe(self, files: Sequence[Path]) -> list[str]:
        """The transcript of each file, in order."""
        model, vocabulary = self._model, self._model.vocabulary
        heard = model.hear([read_audio(file) for file in files])
        prompts = [HeardPrompt(self._ids(model.placeholders(one)), [one]) for one in heard]
        stop = request_format(vocabulary).end_ids if self.instruction else generation_end_ids(vocabulary)
        rows = model.generate(prompts, max_new_tokens=TRANSCRIPT_TOKENS, stop=stop)
        return [vocabulary.decode_text(row).strip() for row in rows]

    def _ids(self, said: Codes) -> Ids:
        vocabulary = self._model.vocabulary
        if not self.instruction:
            return asr_prompt(said, vocabulary)
        return request_format(vocabulary).prompt((f"{self.instruction} ", said))
