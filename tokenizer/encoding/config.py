"""Options of ``tokenizer.encode`` and ``tokenizer.features``."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.audio.room_simulation import RoomConfig
from corpus.audio.segments import DURATION_TOLERANCE
from runtime.bulk.launch import BulkConfig
from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class SpeechJobConfig(StageConfig):
    """Options of a job over a corpus of speech.

    Attributes:
        corpus: a folder of ``corpus.build``, or any with NeMo manifests, or with a folder of Shar or tarred audio for
            each split.
        splits: what to encode, names without ``.jsonl``; those that do not exist are left out.
        kinds: of the utterances to encode, as the manifest names them, e.g. [question, followup] (default: all).
        unit_utterances: utterances of a unit of work (of a manifest; Shar and tarred audio: a shard).
        processes: worker processes, of one thread each; 1 works in this process.
        device: ``cpu`` or ``cuda``.
        max_bad_share: largest share of bad records; they are listed in bad_records.jsonl.
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration, beyond
            which the record is bad.
        room: encode utterances as recorded by a microphone in a room (`corpus.audio.room_simulation`; its draws depend
            on the seed): another take of the same speech, in other tokens, of another length. ``share`` 0 leaves all as
            it is.
        bulk: where the workers run, and how many units may fail.
    """

    corpus: str
    splits: list[str] = field(default_factory=lambda: ["train", "heldout_sentence", "heldout_voice", "heldout_words"])
    kinds: list[str] = option([], is_later=True)
    unit_utterances: int = option(256, at_least=1)
    processes: int = option(1, at_least=1)
    device: str = "cpu"
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0, is_later=True)
    room: RoomConfig = field(default_factory=RoomConfig)
    bulk: BulkConfig = field(default_factory=BulkConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(len(self.splits) > 0, "splits", self.splits, "name at least one manifest")


@dataclass(kw_only=True)
class EncodeConfig(SpeechJobConfig):
    """Options of ``tokenizer.encode``.

    Attributes:
        tokenizer: the artefact folder of ``tokenizer.train``.
    """

    tokenizer: str


@dataclass(kw_only=True)
class FeaturesConfig(SpeechJobConfig):
    """Options of ``tokenizer.features``.

    Attributes:
        encoder: a speech encoder: an artefact of ``tokenizer.train``, a folder of transformers' Whisper, or a .nemo
            file of a FastConformer.
        layer: whose vectors are stored; default: the first of a tokenizer's ``back`` (whole clip, without quantising)
            and ``front`` (streaming), Whisper's ``last`` (50 Hz) and ``pooled`` (25 Hz), FastConformer's ``last``.
        max_seconds: a longer utterance is a bad record: attention over a whole clip costs the square of its length.
        unit_utterances: utterances of a unit of work, and so of a shard of vectors (of a manifest; Shar and tarred
            audio: a shard).
    """

    encoder: str
    layer: str = ""
    unit_utterances: int = option(1024, at_least=1)
    max_seconds: float = option(240.0, above=0)
