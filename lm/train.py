"""Train a language model on LM corpora with megatron-core, on one process or many.

    python -m lm.train vocabulary=V corpora.text=C/text corpora.tts=C/tts out=runs/lm
    python -m torch.distributed.run --nproc-per-node 2 -m lm.train parallel.tensor=2 ...

SIGTERM (SLURM's preemption) ends the run with a checkpoint and status 0; the same command goes on from there, under
the same or another layout.

Set ``OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0`` for several processes on a CPU: waiting threads otherwise spin on the
cores that others need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runtime.errors import check_option
from runtime.stage import Run, Stage, StageConfig

from .data.formats import LOSSES
from .data.mixture import RULES
from .training.loop_config import LoopConfig
from .training.model_config import LmModelConfig
from .training.parallel import BatchShape, ParallelConfig, check_layout, world_size


@dataclass(kw_only=True)
class LmTrainConfig(StageConfig):
    """Options of lm.train; those of model.*, parallel.* and train.* are listed below with their defaults.

    Attributes:
        vocabulary: vocabulary folder.
        corpora: name -> LM corpus folder.
        weights: name -> share in training (any scale); empty: ``mixture`` decides.
        losses: name -> which targets count: ``all`` (default), ``text`` or ``speech``. InSerter takes the text of
            interleaved documents; GLM-4-Voice tunes on dialogues twice, on their text and on their speech (two names
            of one folder).
        mixture: ``tokens`` (each corpus by its size) or ``paper`` (text_share text, one epoch of speech, ASR and TTS
            data, the rest interleaved) or ``table2`` (the shares of the paper's table of what was read).
        text_share: share of text of the paper's rule.
        max_epochs: more epochs of one corpus are an error; 0: no bound.
        init: output folder of an earlier lm.train run whose weights to begin with (fine-tuning).
        model: shape, see lm/training/model_config.py.
        parallel: layout over processes, see lm/training/parallel.py.
        train: steps, batches, learning rate, see lm/training/loop_config.py.
    """

    vocabulary: str
    corpora: dict[str, str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    losses: dict[str, str] = field(default_factory=dict)
    mixture: str = "tokens"
    text_share: float = 0.3
    max_epochs: float = 50.0
    init: str = ""
    model: LmModelConfig = field(default_factory=LmModelConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    train: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        check_option(self.mixture in RULES, "mixture", self.mixture, f"choose one of {', '.join(RULES)}")
        for name, loss in self.losses.items():
            known = f"name one of the corpora {', '.join(self.corpora)}"
            check_option(name in self.corpora, f"losses.{name}", loss, known)
            check_option(loss in LOSSES, f"losses.{name}", loss, f"choose one of {', '.join(LOSSES)}")
        both = f"weights and mixture={self.mixture} contradict each other: leave one out"
        check_option(not self.weights or self.mixture == "tokens", "mixture", self.mixture, both)
        check_option(0 < self.text_share < 1, "text_share", self.text_share, "give a share between 0 and 1")
        check_option(self.max_epochs >= 0, "max_epochs", self.max_epochs, "give 0 (no bound) or more")


def run(config: LmTrainConfig, run: Run) -> dict[str, Any]:
    """Train into ``<out>/checkpoint``; metrics hold ``val_loss.<corpus>``, also by modality."""
    import torch

    from .data.corpora import open_corpus
    from .data.mixture import mix
    from .data.vocabulary import Vocabulary
    from .training.processes import backend_name, open_processes

    torch.set_num_threads(config.train.threads)
    loop = config.train
    batch = BatchShape(
        micro_batch=loop.micro_batch, global_batch=loop.global_batch, sequence_length=loop.sequence_length
    )
    check_layout(config.parallel, config.model, batch, processes=world_size(), backend=backend_name())
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    corpora = {name: open_corpus(folder, vocabulary) for name, folder in config.corpora.items()}
    mixture = mix(
        corpora,
        weights=config.weights,
        rule=config.mixture,
        text_share=config.text_share,
        budget=loop.steps * loop.tokens_per_step,
        max_epochs=config.max_epochs,
    )
    run.say(mixture.table())

    from .training.spec import check_engine
    from .training.trainer import Trainer

    check_engine(loop.layers, loop.fp8)

    with open_processes(config.parallel) as processes:
        return Trainer(config, run, processes, vocabulary, corpora, mixture).train()


STAGE = Stage(
    name="lm.train",
    config=LmTrainConfig,
    run=run,
    summary="Train a language model on LM corpora (one process, or many under torchrun).",
    inputs=lambda config: [config.vocabulary, *config.corpora.values(), config.init],
    example="vocabulary=runs/vocabulary/vocabulary corpora.tts=runs/corpora/tts train.steps=500 out=runs/lm",
)

if __name__ == "__main__":
    STAGE.exit()
