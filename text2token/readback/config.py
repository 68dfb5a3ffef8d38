"""Options of ``text2token.evaluate`` and ``text2token.evaluate_spans``."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.config import option
from runtime.stage import StageConfig
from text2token.speech_generation import SpeechGenerationConfig
from text2token.synthesis.plan import SPLITS


@dataclass(kw_only=True)
class ReadbackConfig(SpeechGenerationConfig, StageConfig):
    """Options of text2token.evaluate.

    Attributes:
        tokens: output folder of tokenizer.encode, for the sentences and their real tokens.
        tokenizer: artefact folder of the speech tokenizer.
        split: of the sentences.
        num_utterances: number of its utterances, drawn by the seed (0 = all).
        kinds: of the utterances, e.g. [statement, question] (default: all).
        speakers_from: split whose real tokens the speaker classifier is fitted on ("" = leave that measure out).
        device: a torch device.
    """

    tokens: str
    tokenizer: str
    split: str = "heldout_sentence"
    num_utterances: int = option(200, at_least=0)
    kinds: list[str] = field(default_factory=list)
    speakers_from: str = "train"
    device: str = "cpu"


@dataclass(kw_only=True)
class SpanReadbackConfig(StageConfig):
    """Options of text2token.evaluate_spans.

    Attributes:
        synthesised: output folder of text2token.synthesize.
        tokenizer: artefact folder of the speech tokenizer.
        split: of the synthesis.
        num_spans: number of its spans in speech, drawn by the seed (0 = all).
        tokens: output folder of tokenizer.encode, whose training texts tell which word pairs the model has not seen
            ("" = leave that measure out).
        corpus: output folder of corpus.build, whose voices speak the same words as the floor ("" = no floor).
        threads: torch threads.
        device: a torch device.
    """

    synthesised: str
    tokenizer: str
    split: str = option("train", one_of=SPLITS)
    num_spans: int = option(400, at_least=0)
    tokens: str = ""
    corpus: str = ""
    threads: int = option(1, at_least=1)
    device: str = "cpu"
