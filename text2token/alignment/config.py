"""Options of ``text2token.aligned``."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.config import option
from runtime.stage import StageConfig
from text2token.spans.policies import SpanConfig


@dataclass(kw_only=True)
class AlignedConfig(StageConfig):
    """Options of text2token.aligned.

    Attributes:
        tokens: output folder of tokenizer.encode.
        words: JSON lines with the times of each utterance's words.
        vocabulary: folder of the vocabulary.
        spans: which words become speech.
        train: split of the tokens to train on.
        valid: split of the validation documents ("" = none).
        has_marks: mark each change of modality by ``<|begin_of_audio|>`` and ``<|end_of_audio|>``.
        max_bad_share: largest share of utterances whose words are missing or do not fit.
    """

    tokens: str
    words: str
    vocabulary: str
    spans: SpanConfig = field(default_factory=lambda: SpanConfig(ratio=0.5))
    train: str = "train"
    valid: str = ""
    has_marks: bool = True
    max_bad_share: float = option(0.05, at_least=0, at_most=1)
