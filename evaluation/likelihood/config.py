"""Options of evaluation.base and evaluation.base_score."""

from __future__ import annotations

from dataclasses import dataclass, field

from evaluation.answers.config import DIRECTIONS
from lm.training.parallel import ParallelConfig
from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig

from .choice_sets import BENCHMARKS
from .likelihood_rules import RULES

BACKENDS = ("auto", "built_in", "transformers", "megatron")
UNIT = 128  # items scored and kept together: what is lost by a kill, and among what rows of alike length are found
NEEDED = {"text": "t2t", "speech": "s2s"}


@dataclass(kw_only=True)
class BaseConfig(StageConfig):
    """Options of evaluation.base; those of parallel.* are listed below with their defaults.

    Attributes:
        benchmark: name of the set; ``pairs`` for sets of your own.
        data: a table (JSON lines, JSON, CSV, Parquet, Arrow), or a folder of tables or of sounds.
            Nothing is downloaded.
        max_bad_share: share of the items that may be bad; they are left out and counted.
        directions: media of context and continuation: t2t, s2t, t2s, s2s.
        limit: number of items, a seeded choice; 0 takes all.
        model: folder of lm.export or of any causal LM of transformers, or output folder of lm.train (a checkpoint).
        backend: what runs it; auto: the checkpoint by Megatron, an exported model by the built-in generation where it
            knows the family and by transformers elsewhere.
        vocabulary: vocabulary folder of a checkpoint.
        tokenizer: artefact of the speech tokenizer, for speech that comes as sound.
        tokens: file or folder of tokenizer.encode, in which speech is looked up by its id (of files, their name).
        used_modality: ids among which a token is scored, the others at -inf: special tokens and text or speech
            (slamkit's used_token_modality), or its own modality; any: all ids.
        joiner: between context and continuation of t2t, where neither brings white space.
        max_failed_share: share of the items that may fail (too long for the model, broken sound); they count as wrong.
        dtype: of the weights.
        device: of the model (a checkpoint takes CUDA where it is present).
        threads: CPU threads.
        parallel: layout over processes of a checkpoint, under torchrun.
    """

    benchmark: str = option("pairs", one_of=tuple(BENCHMARKS))
    data: str
    max_bad_share: float = option(0.0, at_least=0, at_most=1)
    directions: list[str] = option(["s2s"], one_of=DIRECTIONS)
    limit: int = option(0, at_least=0)
    model: str
    backend: str = option("auto", one_of=BACKENDS)
    vocabulary: str | None = None
    tokenizer: str | None = None
    tokens: str | None = None
    used_modality: str = option("any", one_of=("any", "text", "speech", "own"))
    joiner: str = " "
    max_failed_share: float = option(0.0, at_least=0, at_most=1)
    dtype: str = option("float32", one_of=("float32", "bfloat16"))
    device: str = "cpu"
    threads: int = option(1, at_least=1)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(bool(self.directions), "directions", self.directions, "name at least one")
        is_once = len(set(self.directions)) == len(self.directions)
        check_option(is_once, "directions", self.directions, "name each once")
        needed = NEEDED.get(self.used_modality)
        remedy = f"tokens of the other modality would be impossible: give directions=[{needed}], or used_modality=own"
        fits = needed is None or self.directions == [needed]
        check_option(fits, "used_modality", self.used_modality, remedy)


@dataclass(kw_only=True)
class BaseScoreConfig(StageConfig):
    """Options of evaluation.base_score.

    Attributes:
        likelihoods: output folder of evaluation.base.
        rules: to choose by; none named means all.
        marks: count the marks (begin and end of audio, end of text) as tokens of their part. They are always read by
            the model.
    """

    likelihoods: str
    rules: list[str] = option([], one_of=tuple(RULES))
    marks: bool = False
