"""Options of ``text2token.aligned``."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.clip_job_config import ClipJobConfig
from lm.data.vector_config import SPEECH_INPUTS, TOKENS, VECTORS, VectorsConfig
from runtime.config import LATER, option
from runtime.errors import check_option
from runtime.stage import StageConfig
from text2token.spans.policies import SpanConfig


@dataclass(kw_only=True)
class AlignedConfig(ClipJobConfig, StageConfig):
    """Options of text2token.aligned.

    Attributes:
        tokens: output folder of tokenizer.encode.
        speech: tokens, or vectors of an encoder.
        corpus: folder of NeMo manifests (``<split>.jsonl``), whose recordings vectors.encoder hears.
        vectors: the encoder, or its stored features (speech=vectors). Vectors of features have heard the whole
            utterance where their encoder does.
        words: JSON lines with the times of each utterance's words.
        vocabulary: folder of the vocabulary.
        spans: which words become speech.
        train: split of the tokens to train on.
        valid: split of the validation documents ("" = none).
        has_marks: mark each change of modality by ``<|begin_of_audio|>`` and ``<|end_of_audio|>``.
        max_bad_share: largest share of utterances whose words are missing or do not fit.
    """

    tokens: str = ""
    words: str
    vocabulary: str
    speech: str = option(TOKENS, one_of=SPEECH_INPUTS, is_later=True)
    corpus: str = option("", is_later=True)
    vectors: VectorsConfig = field(default_factory=VectorsConfig, metadata={LATER: True})
    spans: SpanConfig = field(default_factory=lambda: SpanConfig(ratio=0.5))
    train: str = "train"
    valid: str = ""
    has_marks: bool = True
    max_bad_share: float = option(0.05, at_least=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        of_vectors = self.speech == VECTORS
        needed = "give what tokenizer.encode wrote, or speech=vectors"
        check_option(bool(self.tokens) != of_vectors, "tokens", self.tokens, needed)
        given = "give vectors.encoder or vectors.features with speech=vectors, and only then"
        check_option(self.vectors.is_given == of_vectors, "vectors.encoder", self.vectors.encoder, given)
        heard = "vectors.encoder hears it, vectors.features and tokens have no need of it"
        check_option(bool(self.corpus) == bool(self.vectors.encoder), "corpus", self.corpus, heard)
