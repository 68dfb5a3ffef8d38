"""The options of lm.train: corpora and their mixture, and the configs of model, layout and loop."""

from __future__ import annotations

from dataclasses import dataclass, field

from lm.data.loss_mask import LOSSES
from lm.data.mixture import RULES, RULES_REMEDY
from runtime.config import LATER, option
from runtime.errors import check_option
from runtime.stage import StageConfig

from .loop_config import LoopConfig
from .model_config import LmModelConfig
from .parallel import BatchShape, ParallelConfig
from .speech_config import DIVERGENCE, SpeechConfig


@dataclass(kw_only=True)
class LmTrainConfig(StageConfig):
    """Options of lm.train; those of model.*, parallel.* and train.* are listed below with their defaults.

    Attributes:
        vocabulary: vocabulary folder.
        corpora: name -> LM corpus folder.
        weights: name -> share in training (any scale); empty: ``mixture`` decides.
        losses: name -> which targets count: ``all`` (default), ``text``, ``text_without_marks`` (text but for the mark
            that begins speech) or ``speech``. InSerter takes the text of interleaved documents; GLM-4-Voice tunes on
            dialogues twice, on their text and on their speech (two names of one folder). Speech read as vectors is no
            target: there ``text_without_marks`` is the default.
        mixture: ``tokens`` (each corpus by its size) or ``paper`` (text_share text, one epoch of speech, ASR and TTS
            data, the rest interleaved) or ``published_shares`` (arXiv 2412.02612, table 2).
        text_share: share of text of the paper's rule.
        max_epochs: more epochs of one corpus are an error; 0: no bound.
        init: output folder of an earlier lm.train run whose weights to begin with (fine-tuning).
        model: shape, see lm/training/model_config.py.
        parallel: layout over processes, see lm/training/parallel.py.
        train: steps, batches, learning rate, see lm/training/loop_config.py.
        speech: speech read as vectors, where corpora have clips, see lm/training/speech_config.py.
    """

    vocabulary: str
    corpora: dict[str, str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    losses: dict[str, str] = field(default_factory=dict)
    mixture: str = option("tokens", one_of=RULES, remedy=RULES_REMEDY)
    text_share: float = option(0.3, above=0, below=1)
    max_epochs: float = option(50.0, at_least=0)
    init: str = ""
    model: LmModelConfig = field(default_factory=LmModelConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    train: LoopConfig = field(default_factory=LoopConfig)
    speech: SpeechConfig = field(default_factory=SpeechConfig, metadata={LATER: True})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, loss in self.losses.items():
            known = f"name one of the corpora {', '.join(self.corpora)}"
            check_option(name in self.corpora, f"losses.{name}", loss, known)
            check_option(loss in LOSSES, f"losses.{name}", loss, f"choose one of {', '.join(LOSSES)}")
        both = f"weights and mixture={self.mixture} contradict each other: leave one out"
        check_option(not self.weights or self.mixture == "tokens", "mixture", self.mixture, both)

        if self.speech.loss == DIVERGENCE:
            whole = "speech.loss=kl compares whole documents, each by itself: set it to"
            check_option(self.train.packing == "best_fit", "train.packing", self.train.packing, f"{whole} best_fit")
            check_option(self.train.reset_attention, "train.reset_attention", False, f"{whole} true")
            z_loss = "the frozen model's normalisers are as they are: leave it out with speech.loss=kl"
            whole = "speech.loss=kl compares the scores of all ids: set it to 1"
            check_option(self.train.loss_slices == 1, "train.loss_slices", self.train.loss_slices, whole)
            check_option(self.train.z_loss == 0, "train.z_loss", self.train.z_loss, z_loss)

    @property
    def batch_shape(self) -> BatchShape:
        """The sizes that the layout divides besides the model's."""
        return BatchShape(
            micro_batch=self.train.micro_batch,
            global_batch=self.train.global_batch,
            sequence_length=self.train.sequence_length,
        )
