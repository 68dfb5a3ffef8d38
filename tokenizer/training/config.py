"""Options of ``tokenizer.train``."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.config import option
from runtime.errors import check_option
from runtime.fit_config import FitConfig
from runtime.stage import StageConfig
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.data.config import AugmentConfig, DataConfig, TrainingNoiseConfig
from tokenizer.quantisers.config import QuantiserConfig


@dataclass(kw_only=True)
class TokenizerFitConfig(FitConfig):
    """`FitConfig` with the defaults of a laptop run."""

    steps: int = option(1400, at_least=1)
    learning_rate: float = option(1.2e-3, above=0)
    warmup_steps: int = option(100, at_least=0)
    checkpoint_every: int = option(100, at_least=1)


@dataclass(kw_only=True)
class TokenizerTrainConfig(StageConfig):
    """Options of ``tokenizer.train``.

    Attributes:
        corpus: a folder of ``corpus.build``, or any with NeMo manifests ``train.jsonl`` and ``heldout_sentence.jsonl``.
        manifests: trained on instead of ``<corpus>/train.jsonl``: NeMo manifests, e.g. one transcribed by people and
            one by a recogniser (pseudo-labelled).
        kinds: of the utterances to train on, as the manifests name them, e.g. [question, story] (default: all).
        weights: of the manifests, in seconds of audio (the paper: supervised 1, pseudo-labelled 3); empty: all alike.
        init: initial weights: an artefact folder of ours; a ``.nemo`` file or a name of NeMo's (fastconformer); a
            folder or hub name of a Whisper or of the GLM-4-Voice tokenizer (whisper). Sizes must be set to fit.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is one.
        max_scored: utterances of each held-out manifest that are scored at the end.
        model: sizes of the encoder.
        vq: the quantiser.
        augment: random changes of the input.
        noise: noise added to the input.
        data: batches.
        fit: the optimisation.
    """

    corpus: str
    manifests: list[str] = field(default_factory=list)
    kinds: list[str] = option([], is_later=True)
    weights: list[float] = option([], above=0, remedy="give one positive number for each manifest")
    init: str = ""
    device: str = option("auto", one_of=("auto", "cpu", "cuda"))
    max_scored: int = option(300, at_least=1)
    model: TokenizerModelConfig = field(default_factory=TokenizerModelConfig)
    vq: QuantiserConfig = field(default_factory=QuantiserConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    noise: TrainingNoiseConfig = field(default_factory=TrainingNoiseConfig)
    data: DataConfig = field(default_factory=DataConfig)
    fit: TokenizerFitConfig = field(default_factory=TokenizerFitConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        remedy = f"give one positive number for each of the {len(self.manifests)} manifests"
        check_option(len(self.weights) in (0, len(self.manifests)), "weights", self.weights, remedy)
        check_option(
            not self.vq.enabled or self.vq.start_step < self.fit.steps,
            "vq.start_step",
            self.vq.start_step,
            f"it must be below fit.steps ({self.fit.steps}), or there is no codebook",
        )
