"""Options of an ablation of the language model: those of all points, and those that a point may vary."""

from __future__ import annotations

from dataclasses import dataclass, field

from lm.data.loss_mask import LOSSES
from runtime.config import Options, option
from text2token.spans.policies import SpanConfig

BUDGETS = ("equal", "added")
SOURCES = ("text2token", "tuned", "voices")
KINDS = ("text", "speech", "asr", "tts")
LENGTH_DRAWN = ("poisson", "word")  # span policies that read mean_words


@dataclass(kw_only=True)
class AblateLmConfig(Options):
    """Options of ``speechweave ablate lm`` for all points.

    Attributes:
        out: run folder.
        seed: of facts and synthesis.
        cores: cores to use; trainings run side by side while their cores fit.
        processes: ranks of one training.
        corpus: output folder of corpus.build.
        tokens: output folder of tokenizer.encode on it.
        tokenizer: artefact folder of the speech tokenizer.
        vocabulary: folder of the vocabulary.
        lm_data: output folder of lm.prepare.
        text2token: folder of the text-to-token model (``source=text2token``).
        text2token_checkpoint: output folder of its training, which ``source=tuned`` goes on from.
        text2token_data: output folder of lm.prepare with the speech that it was trained on.
        steps: of a point's training; with ``budget=added``, of what is not interleaved.
        rule: of `evaluation.base_score`, by which answers are chosen.
    """

    out: str
    seed: int = 1
    cores: int = option(2, at_least=1)
    processes: int = option(1, at_least=1)
    corpus: str
    tokens: str
    tokenizer: str
    vocabulary: str
    lm_data: str
    text2token: str = ""
    text2token_checkpoint: str = ""
    text2token_data: str = ""
    steps: int = option(900, at_least=1)
    rule: str = "continuation_sum"


@dataclass(kw_only=True)
class LmPointConfig(Options):
    """Options that a point may vary.

    Attributes:
        amount: share of the training's tokens that are interleaved; 0: none.
        budget: equal: the other kinds of data give way; added: they are read as often as without.
        source: of the spans' tokens: text2token, tuned (text2token after training on the speech of `corpus.facts`,
            too), or voices (the synthesiser's own speech, encoded).
        spans: which words become speech.
        readback: spans that the speech tokenizer misreads are spoken again, and then stay text.
        loss: of interleaved documents: all, text or speech.
        left_out: kinds of data that are left out.
        seed: of the trainings, base included.
    """

    amount: float = option(0.0, at_least=0, below=1)
    budget: str = option("equal", one_of=BUDGETS)
    source: str = option("text2token", one_of=SOURCES)
    spans: SpanConfig = field(default_factory=SpanConfig)
    readback: bool = False
    loss: str = option("all", one_of=LOSSES)
    left_out: list[str] = option([], one_of=KINDS)
    seed: int = 1

    @property
    def source_name(self) -> str:
        """A name for the interleaved corpus that it needs."""
        own = f"{self.source}_{self.spans.policy}_{self.spans.ratio:g}"
        own += f"_{self.spans.mean_words:g}" * (self.spans.policy in LENGTH_DRAWN)
        return own + "_read" * self.readback

    def effective(self) -> LmPointConfig:
        """The same without what has no part in it: nothing about interleaved documents where there are none."""
        return self if self.amount else LmPointConfig(left_out=self.left_out, seed=self.seed)
