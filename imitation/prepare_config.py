"""Options of imitation.prepare."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.clip_job_config import ClipJobConfig
from lm.data.vector_config import VectorsConfig
from runtime.config import LATER, option
from runtime.errors import check_option
from runtime.stage import StageConfig
from text2token.spans.policies import SpanConfig

SPEECH, TEXT = INPUTS = ("speech", "text")


def word_spans() -> SpanConfig:
    """Half of an utterance's words, in spans of 3 on average (our choice)."""
    return SpanConfig(ratio=0.5, mean_words=3.0, min_words=1)


@dataclass(kw_only=True)
class ImitationPrepareConfig(ClipJobConfig, StageConfig):
    """Options of imitation.prepare.

    Attributes:
        pairs: output folder of imitation.ask.
        vocabulary: of the text model that is frozen; for speech one whose speech block is 1 (lm.vocabulary
            num_speech_tokens=1).
        input: speech: in the place of the transcripts; text: the transcripts, to teach a text model of one's own the
            tasks before it is frozen.
        prompts: seen: pairs that may be trained on; all: held-out prompts and tasks, too (text only).
        interleaved_share: of the pairs about several utterances, those whose utterances are speech and text in turn,
            as many as that allows (2505.18644: interleaved inputs); all utterances of the others are speech.
        corpus: folder of the speech corpus, for vectors.encoder.
        vectors: the encoder, or its stored features.
        words: times of the utterances' words, JSON lines ``{"id": ..., "words": [[word, begin, end], ...]}`` (seconds),
            as a forced aligner finds them: interleaved inputs then change within utterances, at spans of words, of
            pairs about one utterance, too; of stored features. "": they change at utterances.
        spans: of words that become speech, where ``words`` are given.
        splits: of the corpus or the features, in which the utterances are looked for.
        valid_share: of the utterances; all pairs that begin with one of them are held out.
        max_missing_share: share of the pairs whose speech may be missing; they are left out and counted.
        max_bad_share: share of the corpus's records that may be bad.
    """

    pairs: str
    vocabulary: str
    input: str = option(SPEECH, one_of=INPUTS)
    prompts: str = option("seen", one_of=("seen", "all"))
    interleaved_share: float = option(0.5, at_least=0, at_most=1)
    corpus: str = ""
    vectors: VectorsConfig = field(default_factory=VectorsConfig)
    words: str = option("", is_later=True)
    spans: SpanConfig = field(default_factory=word_spans, metadata={LATER: True})
    splits: list[str] = field(default_factory=lambda: ["train"])
    valid_share: float = option(0.02, at_least=0, below=1)
    max_missing_share: float = option(0.01, at_least=0, at_most=1)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_heard = self.input == SPEECH
        remedy = "leave it out: what is held out must not be heard in training"
        check_option(not is_heard or self.prompts == "seen", "prompts", self.prompts, remedy)
        given = "give it, or vectors.features"
        check_option(self.vectors.is_given == is_heard, "vectors.encoder", self.vectors.encoder, given)
        needed = "vectors.encoder hears it, vectors.features has no need of it"
        check_option(bool(self.corpus) == bool(self.vectors.encoder), "corpus", self.corpus, needed)
        check_option(bool(self.splits), "splits", self.splits, "name at least one")
        is_cut = bool(self.words)
        stored = "only stored vectors can be cut at words: give vectors.features"
        check_option(not is_cut or bool(self.vectors.features), "words", self.words, stored)
        timed = "give the words' times (words=), or leave it out"
        check_option(is_cut or self.spans == word_spans(), "spans", self.spans, timed)
