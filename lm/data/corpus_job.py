"""LM corpora written in units by any number of processes and machines: a shard a unit, and the record that lists them.

The folder of the job is that of the corpus: what a unit's worker writes is where it stays. A shard depends on its unit
alone, so that killed workers and the number of workers change no byte (`runtime.bulk.job`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.artefact import write_json
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.errors import UserError

from .clips import FILES, AudioClip, ClipRecord, ClipWriter, FeatureClip, SpanTable
from .corpora import SPLITS, CorpusInfo, write_record
from .shards import CorpusShard, CountedDocuments, SplitCounts, write_documents
from .vocabulary import Vocabulary

SHARD = "shard"  # of a unit's result: its entry in ``corpus.json``


class ShardWriter:
    """Adds documents to a unit's shard; see `write_shard`."""

    def __init__(self, documents: CountedDocuments, clips: SpanTable | None) -> None:
        self.documents, self.clips = documents, clips

    def add(self, ids: npt.NDArray[np.integer], clips: Sequence[AudioClip | FeatureClip] = ()) -> None:
        """Write a document, and its references to clips."""
        if self.clips is not None:
            self.clips.add(ids, clips)
        self.documents.add(ids)


@contextmanager
def write_shard(
    attempt: UnitAttempt, vocabulary: Vocabulary, result: dict[str, Any], record: ClipRecord | None = None
) -> Iterator[ShardWriter]:
    """Write the shard of a unit; yields what adds documents. A shard without a document leaves no file.

    Args:
        attempt: at the unit.
        vocabulary: of the ids.
        result: of the unit, to which the shard's counts are added when the block is left.
        record: of the clips, where documents have some.
    """
    prefix = str(attempt.path("bin")).removesuffix(".bin")
    attempt.path("idx")
    writer = None if record is None else ClipWriter(attempt.root, record, vocabulary)
    with write_documents(prefix, vocabulary) as documents:
        table = nullcontext() if writer is None else writer.table(prefix, attempt.unit.name)
        for suffix in () if writer is None else ("starts.npy", "spans.npy"):
            attempt.path(suffix)
        with table as clips:
            yield ShardWriter(documents, clips)
    clip_counts = {}
    if writer is not None and clips is not None:
        write_json(attempt.path(FILES.removeprefix(".")), {"files": writer.names})
        clip_counts = {"clips": len(clips), "files": len(writer.files)}
    if not documents.count:
        for suffix in attempt.files:
            attempt.path(suffix).unlink(missing_ok=True)
        attempt.files.clear()
    result[SHARD] = vars(documents.counts) | clip_counts


def finish_corpus(
    job: UnitFolder,
    format: str,
    vocabulary: Vocabulary,
    provenance: Mapping[str, Any],
    clips: ClipRecord | None = None,
) -> CorpusInfo:
    """List the shards of a job whose units are done in ``corpus.json``; its folder is a corpus from then on.

    Args:
        job: whose units' works name their ``split``.
        format: one of `lm.data.formats.FORMATS`.
        vocabulary: of the ids.
        provenance: plain data to keep in ``corpus.json``.
        clips: of documents with clips.

    Raises:
        UserError: no training document at all.
    """
    shards: dict[str, list[CorpusShard]] = {split: [] for split in SPLITS}
    for unit, record in job.records():
        entry = record.result[SHARD]
        if entry["documents"]:
            shards[unit.work["split"]].append(CorpusShard.of_entry({"name": unit.name, **entry}))
    splits = {split: SplitCounts.of([shard.counts for shard in own]) for split, own in shards.items()}
    if not splits["train"].documents:
        remedy = "check the sources: every document was left out, or there were none"
        raise UserError(str(job.root), found=f"no document for a corpus of format {format}", remedy=remedy)
    info = CorpusInfo(
        folder=Path(job.root),
        format=format,
        vocabulary=vocabulary.fingerprint,
        speech_tokenizer=vocabulary.speech_fingerprint,
        splits=splits,
        provenance=dict(provenance),
        clips=clips,
        listed=shards,
    )
    job.tidy()
    write_record(info.folder, info)
    return info
