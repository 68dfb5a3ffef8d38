"""The check of generated speech tokens by transcription: their words, read by the speech tokenizer's own post-VQ half.

It sees what the gate cannot: speech of a sensible length that nobody understands. What it lets through reads better by
the same reader than by another one, for it was chosen so.
"""

from __future__ import annotations

from collections.abc import Sequence

from corpus.text.spoken_words import spoken_words
from corpus.text.word_errors import word_errors
from lm.data.vocabulary import Vocabulary
from tokenizer.model import SpeechTokenizer

from .speech_generation import Codes


class TranscriptCheck:
    """Compares texts with what the speech tokenizer reads in their tokens.

    Args:
        tokenizer: artefact folder.
        max_wer: largest word error rate of a text that is understood.
        vocabulary: of the model, whose tokens must be the tokenizer's.
        device: a torch device.

    Raises:
        UserError: no tokenizer there, or another one than that of the vocabulary.
    """

    def __init__(self, tokenizer: str, max_wer: float, vocabulary: Vocabulary, device: str = "cpu") -> None:
        self.tokenizer = SpeechTokenizer.from_pretrained(tokenizer, device)
        self.max_wer = max_wer
        vocabulary.check_speech_tokenizer(self.tokenizer.fingerprint, tokenizer)

    def are_understood(self, texts: Sequence[str], tokens: Sequence[Codes]) -> list[bool]:
        """Whether each text can be read in its tokens (T,)."""
        heard = self.tokenizer.read_tokens(tokens)
        return [
            word_errors(spoken_words(text), transcript).rate_or_errors <= self.max_wer
            for text, transcript in zip(texts, heard, strict=True)
        ]
