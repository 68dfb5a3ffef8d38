"""Speech codes of the parts of items: given in the set, looked up in an encoded corpus, or encoded from the sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from corpus.tokens import read_tokens
from lm.data.formats import Codes
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from tokenizer.model import SpeechTokenizer

from .choice_item import ChoiceItem, ChoicePart


class SpokenPair(NamedTuple):
    """Codes of a context, (T,), and of a candidate; None for a context that is not spoken."""

    context: Codes | None
    candidate: Codes


class SpeechCodes:
    """The sources of speech codes.

    Args:
        vocabulary: of the model, which knows its speech tokenizer; None for a model without speech tokens.
        tokenizer: artefact folder; None where no sound needs to be encoded.
        tokens: file or folder of `tokenizer.encode`; None for none.
        device: of the tokenizer.

    Raises:
        UserError: tokens or a tokenizer that the model was not trained with.
    """

    def __init__(
        self, vocabulary: Vocabulary | None, tokenizer: str | None, tokens: str | None, device: str = "cpu"
    ) -> None:
        self.vocabulary = vocabulary
        self.known: Mapping[str, Codes] = {}
        self.tokenizer: SpeechTokenizer | None = None
        if tokens is not None:
            encoded = read_tokens(tokens)
            self._check(encoded.tokenizer, tokens)
            self.known = {item.id: item.tokens for item in encoded.items}
        if tokenizer is not None:
            self.tokenizer = SpeechTokenizer.from_pretrained(tokenizer, device)
            self._check(self.tokenizer.fingerprint, tokenizer)

    def has(self, part: ChoicePart) -> bool:
        """Whether a part's codes were looked up."""
        return part.id in self.known

    def check_set(self, items: Sequence[ChoiceItem], source: str) -> None:
        """Raise a `UserError` where sound has no tokenizer, or codes are of another one than the model's."""
        for fingerprint in sorted({item.speech_tokenizer for item in items} - {""}):
            self._check(fingerprint, source)
        needy = (
            part for item in items for part in item.parts() if part.audio is not None and self._given(part) is None
        )
        part = next(needy, None)
        if part is not None and self.tokenizer is None:
            found = f"speech of {part.id} as sound, and no tokenizer"
            raise UserError(source, found=found, remedy="set tokenizer=, or tokens= to where it was encoded")

    def of_part(self, part: ChoicePart) -> Codes:
        """The codes (T,) of one part.

        Raises:
            UserError: a sound that cannot be read.
        """
        given = self._given(part)
        return self._encode([self._sound(part)]) if given is None else given

    def of_pair(self, context: ChoicePart, candidate: ChoicePart) -> SpokenPair:
        """The codes of a spoken context and its candidate; where both are sounds, of both as one sound.

        The token in which the context ends belongs to the part that has more of it.

        Raises:
            UserError: a sound that cannot be read.
        """
        if self._given(context) is not None or self._given(candidate) is not None:
            return SpokenPair(self.of_part(context), self.of_part(candidate))
        assert self.tokenizer is not None
        before, after = self._sound(context), self._sound(candidate)
        codes = self._encode([before, after])
        border = min(round(len(before) / self.tokenizer.time.samples_per_token), len(codes))
        return SpokenPair(codes[:border], codes[border:])

    def _given(self, part: ChoicePart) -> Codes | None:
        if part.codes is not None:
            return np.array(part.codes, dtype=np.int64).astype(np.uint16)
        return self.known.get(part.id)

    def _sound(self, part: ChoicePart) -> np.ndarray:
        assert part.audio is not None and self.tokenizer is not None
        return part.audio.read(self.tokenizer.sample_rate)

    def _encode(self, sounds: Sequence[np.ndarray]) -> Codes:
        assert self.tokenizer is not None
        (codes,) = self.tokenizer.encode([np.concatenate(sounds)])
        return codes

    def _check(self, fingerprint: str, subject: str) -> None:
        if self.vocabulary is None:
            found = "speech, but a text model without speech tokens"
            raise UserError(subject, found=found, remedy="give directions=[t2t]")
        self.vocabulary.check_speech_tokenizer(fingerprint, subject)
