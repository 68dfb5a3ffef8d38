"""Options of ``text2token.pack``."""

from __future__ import annotations

from dataclasses import dataclass, field

from lm.data.vector_config import VectorsConfig
from runtime.bulk.launch import BulkConfig
from runtime.config import LATER, option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class PackConfig(StageConfig):
    """Options of text2token.pack.

    Attributes:
        synthesised: output folder of text2token.synthesize, or of text2token.aloud.
        vocabulary: folder of a vocabulary that has the speech tokenizer's codes (the model's folder holds one); of
            audio, one with num_speech_tokens=1.
        vectors: of audio: the encoder that hears it in training, or its vectors stored by ``tokenizer.features
            corpus=<synthesised> splits=[train,valid]``.
        span_readback: output folder of text2token.evaluate_spans on this synthesis, whose word error rates go into the
            corpus's card ("" = none).
        ratio: share of the words that are speech, at most the synthesised one (default: all good spans).
        has_marks: mark each change of modality by ``<|begin_of_audio|>`` and ``<|end_of_audio|>``.
        unit_files: units of the synthesis that one unit of work packs.
        processes: worker processes; changes speed only.
        bulk: where the workers run, and how many units may fail.
    """

    synthesised: str
    vocabulary: str
    span_readback: str = option("", is_later=True)
    vectors: VectorsConfig = field(default_factory=VectorsConfig, metadata={LATER: True})
    ratio: float | None = option(None, at_least=0, at_most=1)
    has_marks: bool = True
    unit_files: int = option(16, at_least=1)
    processes: int = option(1, at_least=1)
    bulk: BulkConfig = field(default_factory=BulkConfig)
