"""Options of stages that search for clips (`corpus.clip_job`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.bulk.launch import BulkConfig
from runtime.config import LATER, Options, option


@dataclass(kw_only=True)
class ClipJobConfig(Options):
    """Options of a search for clips.

    Attributes:
        processes: workers that open and check the recordings of vectors.encoder.
        unit_clips: recordings of a unit of work (of a manifest or a list; Shar and tarred audio: a shard).
        bulk: executor and fault tolerance of that work.
    """

    processes: int = option(1, at_least=1, is_later=True)
    unit_clips: int = option(1000, at_least=1, is_later=True)
    bulk: BulkConfig = field(default_factory=BulkConfig, metadata={LATER: True})
