"""Vocabulary and corpus of random documents, to train on where only speed or equality counts.

Documents have 50 to 400 random ids of bytes and an end; training lowers the loss from log V to that of random bytes.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lm.data.corpora import CorpusInfo, write_corpus
from lm.data.mixture import mix
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from lm.training.config import LmTrainConfig
from lm.training.inputs import TrainingInputs
from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig
from lm.training.processes import open_processes
from lm.training.trainer import Trainer
from runtime.stage import Run

from .finding import THERE, Finding

NUM_SPEECH_TOKENS = 1024
NUM_DOCUMENTS = 4000


class RandomData:
    """A corpus ``text`` and a ``vocabulary`` in ``folder``, written when this is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vocabulary: Vocabulary = build_vocabulary(
            train_bpe(["a b"], 300), num_speech_tokens=NUM_SPEECH_TOKENS, speech_tokenizer="none"
        )
        self.vocabulary.save_pretrained(folder / "vocabulary")
        random = np.random.default_rng(0)
        documents = [
            np.append(random.integers(0, 256, random.integers(50, 400)), self.vocabulary.eos)
            for _ in range(NUM_DOCUMENTS)
        ]
        self.corpus: CorpusInfo = write_corpus(folder / "text", "text", self.vocabulary, documents, [], {})

    @contextlib.contextmanager
    def trainer(self, model: LmModelConfig, **options: Any) -> Iterator[Trainer]:
        """Our trainer, ready for its first step, in one process; ``options`` are of `LoopConfig`."""
        loop = LoopConfig(
            steps=100_000, warmup_steps=10, validate_every=0, checkpoint_every=0, max_skipped_steps=0, **options
        )
        out = Path(tempfile.mkdtemp(dir=self.folder))
        corpora = {"text": self.corpus}
        config = LmTrainConfig(
            out=str(out),
            vocabulary=str(self.folder / "vocabulary"),
            corpora={"text": str(self.folder / "text")},
            model=model,
            parallel=ParallelConfig(distributed_optimizer=torch.cuda.is_available()),
            train=loop,
        )
        budget = loop.steps * loop.tokens_per_step
        mixture = mix(corpora, weights={}, rule="tokens", text_share=0.3, budget=budget, max_epochs=0)
        with open_processes(config.parallel) as processes:
            yield Trainer(TrainingInputs(config, Run(out), processes, self.vocabulary, corpora, mixture))


def write_random_data(folder: str) -> Finding:
    """Write `RandomData` into a folder."""
    data = RandomData(Path(folder))
    return Finding(status=THERE, detail=f"{data.corpus.splits['train'].documents} random documents")
