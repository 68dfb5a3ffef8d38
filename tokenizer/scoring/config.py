"""Options of ``tokenizer.evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.audio.segments import DURATION_TOLERANCE
from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig
from tokenizer.data.config import NoiseConfig


@dataclass(kw_only=True)
class EvaluationNoiseConfig(NoiseConfig):
    """Noise under which the tokens are compared with those of the clean audio.

    Attributes:
        kinds: as `NoiseConfig`; babble is made of other utterances of the split.
        snrs: signal-to-noise ratios in dB; none skips the noise.
        max_utterances: the first utterances of the first split, at most as many.
    """

    snrs: list[float] = option([20.0, 10.0, 5.0])
    max_utterances: int = option(64, at_least=2, remedy="give at least 2 (babble is made of the other utterances)")


@dataclass(kw_only=True)
class TokenizerEvaluateConfig(StageConfig):
    """Options of ``tokenizer.evaluate``.

    Attributes:
        tokenizer: the artefact folder of ``tokenizer.train``.
        corpus: a folder of ``corpus.build``, or any with NeMo manifests.
        splits: its manifests to score, without ``.jsonl``; those that do not exist are left out.
        max_utterances: the first utterances of each manifest, at most as many.
        num_examples: transcripts of each split kept in the report.
        max_bad_share: largest share of bad records.
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration, beyond
            which the record is bad.
        noise: token stability under noise.
        stream_utterances: utterances of the first split that are streamed for the latency; 0 skips it.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads.
    """

    tokenizer: str
    corpus: str
    splits: list[str] = field(default_factory=lambda: ["heldout_sentence", "heldout_voice", "heldout_words"])
    max_utterances: int = option(1000, at_least=1)
    num_examples: int = option(8, at_least=0)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0, is_later=True)
    noise: EvaluationNoiseConfig = field(default_factory=EvaluationNoiseConfig)
    stream_utterances: int = option(8, at_least=0)
    device: str = "cpu"
    threads: int = option(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(len(self.splits) > 0, "splits", self.splits, "name at least one manifest")
