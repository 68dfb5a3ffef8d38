"""Options of evaluation.recognition."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.audio.segments import DURATION_TOLERANCE
from runtime.config import option
from runtime.stage import StageConfig

from .config import NORMALISERS, WHISPER


@dataclass(kw_only=True)
class RecognitionConfig(StageConfig):
    """Options of evaluation.recognition.

    Attributes:
        recogniser: a .nemo file, a folder of transformers' (Whisper), a language model that hears (the output folder of
            lm.export), the folder of a built-in corpus (its closed-world judge), or a URL.
        instruction: of a language model that hears: the request before the speech, in its chat format or the chat
            template of its base model ("Write down what is said."); empty: its recognition task ``<|asr|>``.
        data: a NeMo manifest: JSON lines with audio_filepath, duration, text (and id, kind, speaker, offset).
        kinds: of the utterances; none named means all.
        limit: number of utterances, the first ones; 0 takes all.
        normaliser: of transcripts and texts before they are compared: whisper (Whisper's English normaliser, which
            published word error rates use) or spoken (lower case, numbers as they are spoken).
        max_bad_share: share of bad records; they are left out and counted.
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration.
        threads: CPU threads.
    """

    recogniser: str
    data: str
    kinds: list[str] = field(default_factory=list)
    limit: int = option(0, at_least=0)
    normaliser: str = option(WHISPER, one_of=NORMALISERS)
    max_bad_share: float = option(0.0, at_least=0, at_most=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0)
    threads: int = option(1, at_least=1)
    instruction: str = option("", is_later=True)
