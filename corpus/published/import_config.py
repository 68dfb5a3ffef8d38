"""Options of corpus.speech_import."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.audio.files import SAMPLE_RATE
from runtime.bulk.launch import BulkConfig
from runtime.config import option
from runtime.stage import StageConfig

from .catalogue import BY_NAME

MANIFEST, SHAR = "manifest", "shar"


@dataclass(kw_only=True)
class SpeechImportConfig(StageConfig):
    """Options of corpus.speech_import.

    Attributes:
        name: of the corpus; the table below has all.
        source: the folder that it was unpacked into; "" fetches a corpus that comes in a package of pip or Debian.
        splits: what to import (default: all parts that do not overlap); a wrong name lists those that there are.
        limit: utterances of each split, the first ones of the corpus; 0: all.
        form: manifest (NeMo's JSON lines; the audio stays where it is) or shar (lhotse's Shar: the audio is copied into
            shards of FLAC, mono, 16 bit).
        sample_rate: of form=shar, in Hz.
        unit_utterances: utterances of a unit of work, and so of a shard.
        processes: workers that open the audio.
        max_bad_share: of a split's utterances; bad ones are left out and listed in bad_records.jsonl.
        bulk: where the workers run, and how many units may fail.
    """

    name: str = option(one_of=tuple(BY_NAME))
    source: str = ""
    splits: list[str] = field(default_factory=list)
    limit: int = option(0, at_least=0)
    form: str = option(MANIFEST, one_of=(MANIFEST, SHAR))
    sample_rate: int = option(SAMPLE_RATE, at_least=1000)
    unit_utterances: int = option(1000, at_least=1)
    processes: int = option(1, at_least=1)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    bulk: BulkConfig = field(default_factory=BulkConfig)
