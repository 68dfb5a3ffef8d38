"""Language models that hear speech as vectors, asked in speech or in text, many at once.

A prompt is laid out as in the training: in our chat format, or in the chat template of the base model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm.data.formats import Said
from lm.data.request_format import AnsweredRequest, request_format
from lm.inference.listening_model import HeardPrompt, ListeningModel
from runtime.artefact import file_digest, fingerprint
from runtime.errors import UserError
from runtime.hashing import seed_of

from .answering_models import MAX_SEED, AnswerSettings, ReceivedReply, written_reply
from .config import AnswerConfig
from .prompt import ItemPrompt


class ListeningAnswers:
    """A model that lm.export wrote with its speech input; see `evaluation.answers.answering_models.AnsweringModel`."""

    hears = True

    def __init__(self, config: AnswerConfig) -> None:
        torch.set_num_threads(config.threads)
        self.folder = Path(config.model)
        self.name, self.digest, self.dtype = self.folder.name, file_digest(self.folder), config.dtype
        self.batch_size = config.batch_size
        self.model = ListeningModel.from_pretrained(
            self.folder, batch_size=config.batch_size, dtype=config.dtype, device=config.device
        )
        self.format = request_format(self.model.vocabulary)

    def settings(self) -> dict[str, Any]:
        """The encoder whose vectors it hears, and what else decides about its answers."""
        record = self.model.record
        known = {"encoder": record.encoder, "connector": record.connector.kind}
        known |= {} if self.dtype == "float32" else {"dtype": self.dtype}
        template = self.model.vocabulary.chat_template
        if template is None or not self.format.has_targets:  # our own
            return known
        return known | {"template": fingerprint(template)}

    def replies(self, prompts: Sequence[ItemPrompt], settings: AnswerSettings) -> Iterator[ReceivedReply]:
        """Written replies; a text that the model's template cannot hold is a failure of its prompt.

        Raises:
            UserError: a spoken reply is asked for, or a template that holds no speech, system or worked examples.
        """
        if settings.is_spoken:
            found, remedy = "a spoken reply: the model writes", "choose t2t or s2t, or serve it with a reader"
            raise UserError("option direction", found=found, remedy=remedy)
        if prompts:
            self._check_template(prompts[0])
        for begin in range(0, len(prompts), self.batch_size):
            yield from self._answer(prompts[begin : begin + self.batch_size], settings)

    def _answer(self, prompts: Sequence[ItemPrompt], settings: AnswerSettings) -> list[ReceivedReply]:
        laid_out = [self._prompt(prompt) for prompt in prompts]
        asked = [number for number, one in enumerate(laid_out) if isinstance(one, HeardPrompt)]
        rows = self.model.generate(
            [one for one in laid_out if isinstance(one, HeardPrompt)],
            max_new_tokens=settings.max_new_tokens,
            stop=self.format.end_ids,
            temperature=settings.temperature,
            seeds=[seed_of(settings.seed, prompts[number].id) % MAX_SEED for number in asked],
        )
        written = iter([written_reply(row, self.model.vocabulary, self.format.end_ids) for row in rows])
        return [next(written) if isinstance(one, HeardPrompt) else one for one in laid_out]

    def _prompt(self, prompt: ItemPrompt) -> HeardPrompt | ReceivedReply:
        """The prompt's ids and clips, or the reason why the model's format cannot hold it."""
        clips: list[torch.Tensor] = []
        content: Said
        if prompt.text is not None:
            content = prompt.text
        else:
            assert prompt.audio is not None
            clips = self.model.hear([prompt.audio.read()])
            said = self.model.placeholders(clips[0])
            content = (f"{prompt.instruction} ", said) if prompt.instruction else said
        shots = [AnsweredRequest(shot.prompt, shot.answer) for shot in prompt.shots]
        try:
            return HeardPrompt(self.format.prompt(content, system=prompt.system, shots=shots), clips)
        except UserError as error:
            return ReceivedReply(None, failure=str(error))

    def _check_template(self, prompt: ItemPrompt) -> None:
        """Raise a `UserError` where the template holds no request of this prompt's parts, whatever their texts."""
        content: Said = "a" if prompt.text is not None else ("a ", np.zeros(1, dtype=np.uint16))
        try:
            self.format.prompt(content, system=prompt.system, shots=[AnsweredRequest("a", "b") for _ in prompt.shots])
        except UserError as error:
            raise UserError(f"{self.folder}, {error.subject}", found=error.found, remedy=error.remedy) from error
