"""Prompts about items, with worked examples in front: as chat messages or as one plain text."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from corpus.audio.files import encode_wav
from evaluation.sets.item import ItemAudio, WorkedExample

QUESTION, ANSWER = "Question: ", "Answer:"


@dataclass(frozen=True, kw_only=True)
class ItemPrompt:
    """The question about one item, in text or in speech.

    Attributes:
        id: of the item.
        text: of the question; None where it is asked in speech.
        audio: of the question; None where it is asked in text.
        instruction: sent with spoken questions.
        system: instructions to the model; "" for none.
        shots: worked examples; chat messages and plain text show them in text.
    """

    id: str
    text: str | None = None
    audio: ItemAudio | None = None
    instruction: str = ""
    system: str = ""
    shots: tuple[WorkedExample, ...] = ()

    def messages(self) -> list[dict[str, Any]]:
        """As chat messages; each worked example is an exchange of its own."""
        messages: list[dict[str, Any]] = [{"role": "system", "content": self.system}] if self.system else []
        for shot in self.shots:
            messages += [{"role": "user", "content": shot.prompt}, {"role": "assistant", "content": shot.answer}]
        if self.text is not None:
            return [*messages, {"role": "user", "content": self.text}]
        assert self.audio is not None
        data = base64.b64encode(encode_wav(self.audio.read())).decode()
        parts: list[dict[str, Any]] = [{"type": "text", "text": self.instruction}] if self.instruction else []
        parts.append({"type": "input_audio", "input_audio": {"data": data, "format": "wav"}})
        return [*messages, {"role": "user", "content": parts}]

    def plain(self) -> str:
        """As one text for a model without a chat template: ``Question: ...\\nAnswer: ...`` for each, the last open."""
        assert self.text is not None
        shown = [f"{QUESTION}{shot.prompt}\n{ANSWER} {shot.answer}\n\n" for shot in self.shots]
        head = [f"{self.system}\n\n"] if self.system else []
        return "".join([*head, *shown, f"{QUESTION}{self.text}\n{ANSWER}"])
