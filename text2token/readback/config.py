"""Options of ``text2token.evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.config import option
from runtime.stage import StageConfig
from text2token.speech_generation import SpeechGenerationConfig


@dataclass(kw_only=True)
class ReadbackConfig(SpeechGenerationConfig, StageConfig):
    """Options of text2token.evaluate.

    Attributes:
        tokens: output folder of tokenizer.encode, for the sentences and their real tokens.
        tokenizer: artefact folder of the speech tokenizer.
        split: of the sentences.
        num_utterances: number of its utterances, drawn by the seed (0 = all).
        kinds: of the utterances, e.g. [statement, question] (default: all).
        speakers_from: split whose real tokens the speaker classifier is fitted on ("" = leave that measure out).
        device: a torch device.
    """

    tokens: str
    tokenizer: str
    split: str = "heldout_sentence"
    num_utterances: int = option(200, at_least=0)
    kinds: list[str] = field(default_factory=list)
    speakers_from: str = "train"
    device: str = "cpu"
