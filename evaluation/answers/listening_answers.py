"""Language models that hear speech as vectors, asked in our chat format: in speech or in text, many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm.data.chat_template import has_foreign_template
from lm.data.formats import Said, chat_message, chat_prompt, system_row
from lm.data.vocabulary import Ids
from lm.inference.listening_model import HeardPrompt, ListeningModel
from runtime.artefact import file_digest
from runtime.errors import UserError
from runtime.hashing import seed_of

from .answering_models import MAX_SEED, AnswerSettings, ReceivedReply, written_reply
from .prompt import ItemPrompt

UNIT = 32  # questions heard and answered together


class ListeningAnswers:
    """A model that lm.export wrote with its speech input; see `evaluation.answers.answering_models.AnsweringModel`."""

    hears = True

    def __init__(self, folder: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self.name, self.digest = folder.name, file_digest(folder)
        self.model = ListeningModel.from_pretrained(folder, batch_size=UNIT)
        if has_foreign_template(self.model.vocabulary):
            remedy = "ask a model that was tuned on our chat format"
            raise UserError(str(folder), found="a model with a chat template of its own", remedy=remedy)

    def settings(self) -> dict[str, Any]:
        """The encoder whose vectors it hears."""
        record = self.model.record
        return {"encoder": record.encoder, "connector": record.connector.kind}

    def replies(self, prompts: Sequence[ItemPrompt], settings: AnswerSettings) -> Iterator[ReceivedReply]:
        """Written replies.

        Raises:
            UserError: a spoken reply is asked for.
        """
        if settings.is_spoken:
            found, remedy = "a spoken reply: the model writes", "choose t2t or s2t, or serve it with a reader"
            raise UserError("option direction", found=found, remedy=remedy)
        vocabulary = self.model.vocabulary
        for begin in range(0, len(prompts), UNIT):
            unit = prompts[begin : begin + UNIT]
            rows = self.model.generate(
                [self._prompt(prompt) for prompt in unit],
                max_new_tokens=settings.max_new_tokens,
                stop=vocabulary.end_ids,
                temperature=settings.temperature,
                seeds=[seed_of(settings.seed, prompt.id) % MAX_SEED for prompt in unit],
            )
            yield from (written_reply(row, vocabulary, vocabulary.end_ids) for row in rows)

    def _prompt(self, prompt: ItemPrompt) -> HeardPrompt:
        vocabulary = self.model.vocabulary
        rows: list[Ids] = [system_row(prompt.system, vocabulary)] if prompt.system else []
        for shot in prompt.shots:
            rows += [chat_message("user", shot.prompt, vocabulary), chat_message("assistant", shot.answer, vocabulary)]
        clips: list[torch.Tensor] = []
        content: Said
        if prompt.text is not None:
            content = prompt.text
        else:
            assert prompt.audio is not None
            clips = self.model.hear([prompt.audio.read()])
            said = self.model.placeholders(clips[0])
            content = (f"{prompt.instruction} ", said) if prompt.instruction else said
        rows.append(chat_prompt(content, vocabulary))
        return HeardPrompt(np.concatenate(rows), clips)
