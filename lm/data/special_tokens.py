"""Special tokens of a speech-text LM, speaker tags and the names of speech tokens."""

from __future__ import annotations

from enum import StrEnum


class SpecialToken(StrEnum):
    """The special tokens in the order of their ids.

    A new token is a new row, at the end: vocabularies that are built from then on have it (their speaker tags and
    speech tokens then begin one id later, so corpora and models of older ones stay with those), and
    `lm.data.vocabulary.Vocabulary.special` raises a `KeyError` where an older one is asked for it.
    """

    END_OF_TEXT = "<|endoftext|>"  # ends a document; a base tokenizer's own EOS takes its place
    PAD = "<|pad|>"
    BEGIN_OF_AUDIO = "<|begin_of_audio|>"
    END_OF_AUDIO = "<|end_of_audio|>"
    ASR = "<|asr|>"  # header of a document: speech, then its transcript
    TTS = "<|tts|>"  # header of a document: text, then the same read aloud
    SYSTEM = "<|system|>"  # header of a dialogue: its system prompt
    USER = "<|user|>"
    ASSISTANT = "<|assistant|>"
    TRANSCRIPT = "<|transcript|>"  # begins the transcript of a spoken question within a reply


def audio_token(code: int) -> str:
    """Name of a speech token."""
    return f"<|audio_{code}|>"


def speaker_token(number: int) -> str:
    """Name of a speaker tag."""
    return f"<|speaker_{number}|>"
