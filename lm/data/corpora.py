"""An LM corpus on disk: documents of ids in shards, Megatron `IndexedDataset`s, and their description ``corpus.json``.

::

    <folder>/corpus.json            format, vocabulary, speech tokenizer, documents and tokens a split, provenance, and
                                    the shards of each split, in order, with their counts
             train/unit-000000.bin  documents of a shard, one row of ids each, uint16 or int32 by the vocabulary's size
             train/unit-000000.idx  their lengths and places
             valid/...              held-out documents (absent where there are none)
             units.jsonl done/ ...  the job that wrote the shards (`runtime.bulk.job`)
             speech.json ...        of corpora whose speech is read as vectors, see `lm.data.clips`

Many processes write shards (`lm.data.corpus_job`), each by itself, and nothing merges them. A corpus that one process
writes (`write_corpus`) has one shard a split, at the top, which the record does not list; nor did earlier versions::

    <folder>/train.bin train.idx valid.bin valid.idx
             train.targets.npy ...  (D, 2): begin and end of the targets of documents in a base model's chat template
             transcripts/           a corpus of the same documents with the transcripts in place of the speech, where
                                    the model that hears is to imitate the one that reads (`lm.training.divergence`)

``corpus.json`` is written last. Reading refuses what belongs to another vocabulary.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.artefact import atomic_folder, read_json, write_json
from runtime.errors import UserError
from runtime.growing_array import growing_array

from .clips import CLIPS_FILE, ClipDocument, ClipRecord, ClipTable, ClipWriter, read_clip_record
from .indexed import id_type
from .loss_mask import loss_mask
from .shards import CorpusShard, ShardedDocuments, SplitCounts, write_documents
from .vocabulary import Vocabulary

RECORD_FILE, TRANSCRIPTS, TARGETS = "corpus.json", "transcripts", ".targets.npy"
SPLITS = ("train", "valid")
CHECKED_SHARDS = 256  # of a split, spread over it: more of them would be a burden to a cluster's file system
REMAKE = "make the corpus again (lm.prepare, text2token.pack)"


@dataclass(frozen=True, kw_only=True)
class CorpusInfo:
    """An opened corpus. ``clips`` is None of a corpus without a side table of clips, ``transcripts`` of one without
    those. ``has_targets``: its documents state them. ``listed``: split -> shards, empty where the record lists none.
    """

    folder: Path
    format: str
    vocabulary: str
    speech_tokenizer: str
    splits: dict[str, SplitCounts]
    provenance: dict[str, Any] = field(default_factory=dict)
    clips: ClipRecord | None = None
    transcripts: CorpusInfo | None = None
    has_targets: bool = False
    listed: dict[str, list[CorpusShard]] = field(default_factory=dict)

    def prefix(self, split: str) -> str:
        """Name of a split among those of all corpora: its path without suffix."""
        return str(self.folder / split)

    def shards(self, split: str) -> Sequence[CorpusShard]:
        """The shards of a split, in order."""
        if self.listed:
            return self.listed.get(split, [])
        counts = self.splits[split]
        return [CorpusShard(name=split, counts=counts)] if counts.documents else []

    def documents(self, split: str) -> ShardedDocuments:
        """The documents of a split; iterated over they come in order (copies)."""
        return ShardedDocuments(self.folder, self.shards(split))

    def targets(self, split: str) -> npt.NDArray[np.int64] | None:
        """Begin and end of each document's targets (D, 2); None where the ids tell."""
        if not self.has_targets or not self.splits[split].documents:
            return None
        path, count = Path(f"{self.prefix(split)}{TARGETS}"), self.splits[split].documents
        remedy = "write the corpus again"
        try:
            found: npt.NDArray[np.int64] = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(str(path), found=f"cannot be read ({error})", remedy=remedy) from error
        if found.shape != (count, 2) or found.dtype != np.int64:
            wanted = f"{found.dtype} of shape {found.shape}, for {count} documents"
            raise UserError(str(path), found=wanted, remedy=remedy)
        return found

    def clip_table(self, split: str) -> ClipTable:
        """The side table of a split's clips."""
        assert self.clips is not None
        return ClipTable(self.folder, split, self.clips, self.shards(split))

    def document(self, split: str, number: int) -> npt.NDArray[np.int32]:
        """One document of a split (a copy)."""
        return np.array(self.documents(split).get(number), dtype=np.int32)


def write_corpus(
    folder: Path | str,
    format: str,
    vocabulary: Vocabulary,
    train: Iterable[npt.NDArray[np.integer] | ClipDocument],
    valid: Iterable[npt.NDArray[np.integer] | ClipDocument],
    provenance: Mapping[str, Any],
    *,
    clips: ClipRecord | None = None,
    has_transcripts: bool = False,
    has_targets: bool = False,
) -> CorpusInfo:
    """Write a corpus, atomically, replacing what stood at ``folder``.

    Args:
        folder: where.
        format: one of `lm.data.formats.FORMATS`.
        vocabulary: of the ids.
        train: documents, each a row of ids ended by EOS.
        valid: held-out documents; may be empty.
        provenance: plain data to keep in ``corpus.json``: where the documents come from, rates, counts.
        clips: write a side table of clips, of this kind and encoder (its ``shards`` are found from the documents).
            Documents with speech are then `lm.data.clips.ClipDocument`s.
        has_transcripts: write the documents' transcripts, which all have.
        has_targets: write the documents' targets, which all state.

    Raises:
        UserError: no training document at all; clips that are not the documents' runs of the speech id.
    """
    target = Path(folder)
    with atomic_folder(target) as temporary:
        writer = ClipWriter(target, clips, vocabulary) if clips else None
        if has_transcripts:
            (temporary / TRANSCRIPTS).mkdir()
        counts = {
            split: _write_split(
                temporary / split,
                vocabulary,
                documents,
                writer,
                has_transcripts=has_transcripts,
                has_targets=has_targets,
            )
            for split, documents in zip(SPLITS, (train, valid), strict=True)
        }
        if not counts["train"].documents.documents:
            remedy = "check the sources: every document was left out, or there were none"
            raise UserError(str(target), found=f"no document for a corpus of format {format}", remedy=remedy)
        info = CorpusInfo(
            folder=target,
            format=format,
            vocabulary=vocabulary.fingerprint,
            speech_tokenizer=vocabulary.speech_fingerprint,
            splits={split: both.documents for split, both in counts.items()},
            provenance=dict(provenance),
            clips=replace(writer.record, shards=writer.names) if writer else None,
            has_targets=has_targets,
        )
        write_record(temporary, info)
        if has_transcripts:
            splits = {split: both.transcripts for split, both in counts.items()}
            own = replace(info, folder=target / TRANSCRIPTS, splits=splits, clips=None, has_targets=False)
            write_record(temporary / TRANSCRIPTS, own)
            info = replace(info, transcripts=own)
    return info


def write_record(folder: Path, info: CorpusInfo) -> None:
    """Write ``corpus.json`` into a corpus folder that is being made, and ``speech.json`` before it."""
    left_out = ("folder", "clips", "transcripts", "listed")
    record = {key: value for key, value in vars(info).items() if key not in left_out}
    record["splits"] = {split: asdict(one) for split, one in info.splits.items()}
    if info.listed:
        record["shards"] = {split: [shard.entry() for shard in shards] for split, shards in info.listed.items()}
    if info.clips is not None:
        write_json(folder / CLIPS_FILE, asdict(info.clips))
    write_json(folder / RECORD_FILE, record)


def open_corpus(folder: Path | str, vocabulary: Vocabulary) -> CorpusInfo:
    """Open a corpus and check that it is whole and of this vocabulary.

    At most `CHECKED_SHARDS` shards of a split are looked at here; each is checked again when it is read.

    Raises:
        UserError: missing or truncated files, or another vocabulary's fingerprint.
    """
    root = Path(folder)
    if not (root / RECORD_FILE).is_file():
        raise UserError(str(root), found=f"no LM corpus (no {RECORD_FILE})", remedy="give a corpus folder")
    record = read_json(root / RECORD_FILE)
    try:
        splits = {name: SplitCounts(**counts) for name, counts in record.pop("splits").items()}
        listed = {
            name: [CorpusShard.of_entry(entry) for entry in entries]
            for name, entries in record.pop("shards", {}).items()
        }
        info = CorpusInfo(folder=root, splits=splits, listed=listed, **record, clips=read_clip_record(root))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(str(root / RECORD_FILE), found=f"incomplete ({error})", remedy=REMAKE) from error
    if info.vocabulary != vocabulary.fingerprint:
        found = f"a corpus of vocabulary {info.vocabulary}, but the vocabulary given is {vocabulary.fingerprint}"
        raise UserError(str(root), found=found, remedy=f"give the vocabulary it was made with, or {REMAKE}")
    for name, counts in splits.items():
        _check_split(info, name, counts, vocabulary)
    if not (root / TRANSCRIPTS).is_dir():
        return info
    transcripts = open_corpus(root / TRANSCRIPTS, vocabulary)
    for name, counts in splits.items():
        if transcripts.splits[name].documents != counts.documents:
            found = f"{transcripts.splits[name].documents} documents of {name}, of {counts.documents} in the corpus"
            raise UserError(str(root / TRANSCRIPTS), found=found, remedy=REMAKE)
    return replace(info, transcripts=transcripts)


def _check_split(info: CorpusInfo, split: str, counts: SplitCounts, vocabulary: Vocabulary) -> None:
    """Raise a `UserError` where the shards of a split are not those of its counts."""
    shards, item_size = info.shards(split), np.dtype(id_type(vocabulary)).itemsize
    if SplitCounts.of([shard.counts for shard in shards]) != counts:
        found = f"shards of {split} that are not its {counts.documents} documents of {counts.tokens} tokens"
        raise UserError(str(info.folder / RECORD_FILE), found=found, remedy=REMAKE)
    chosen = np.linspace(0, len(shards) - 1, min(len(shards), CHECKED_SHARDS)).astype(int)
    for shard in (shards[number] for number in chosen):
        for suffix in (".bin", ".idx"):
            file = info.folder / f"{shard.name}{suffix}"
            if not file.is_file():
                raise UserError(str(file), found="no such file", remedy=REMAKE)
        ids, tokens = info.folder / f"{shard.name}.bin", shard.counts.tokens
        if (size := ids.stat().st_size) != tokens * item_size:
            found = f"{size} bytes where {tokens} tokens take {tokens * item_size}: a damaged copy"
            raise UserError(str(ids), found=found, remedy=f"copy it again, or {REMAKE}")
    if info.clips is not None:
        table = info.clip_table(split)
        for number in chosen:
            table.check(int(number))
    info.targets(split)


def finished_corpus(folder: Path | str, vocabulary: Vocabulary) -> CorpusInfo | None:
    """The corpus at ``folder`` if a call before this one finished it; removes the temporary folders of killed calls."""
    target = Path(folder)
    for unfinished in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    return open_corpus(target, vocabulary) if (target / RECORD_FILE).is_file() else None


class _BothCounts(NamedTuple):
    """Counts of a split's documents, and of their transcripts."""

    documents: SplitCounts
    transcripts: SplitCounts


def _write_split(
    prefix: Path,
    vocabulary: Vocabulary,
    documents: Iterable[npt.NDArray[np.integer] | ClipDocument],
    writer: ClipWriter | None,
    *,
    has_transcripts: bool,
    has_targets: bool,
) -> _BothCounts:
    read, target_file = prefix.parent / TRANSCRIPTS / prefix.name, Path(f"{prefix}{TARGETS}")
    with (
        write_documents(prefix, vocabulary) as written,
        write_documents(read, vocabulary) if has_transcripts else nullcontext() as transcripts,
        writer.table(prefix, prefix.name) if writer else nullcontext() as clips,
        growing_array(target_file, np.dtype("<i8"), (2,)) if has_targets else nullcontext() as target_table,
    ):
        for document in documents:
            whole = (
                document
                if isinstance(document, ClipDocument)
                else ClipDocument(np.asarray(document, dtype=np.int32), ())
            )
            ids, references, transcript, targets = whole
            assert clips is not None or not references, "clips without the record of their kind"
            assert (transcript is not None) == has_transcripts, "all documents have a transcript, or none"
            assert (targets is not None) == has_targets, "all documents state their targets, or none"
            if clips is not None:
                clips.add(ids, references)
            written.add(ids)
            if target_table is not None:
                target_table.append(np.array([targets], dtype="<i8"))
            if transcript is not None and transcripts is not None:
                _check_targets(whole, vocabulary, f"{prefix} document {written.count - 1}")
                transcripts.add(transcript)
    if not written.count:  # an empty file cannot be mapped into memory
        target_file.unlink(missing_ok=True)
    return _BothCounts(written.counts, transcripts.counts if transcripts is not None else SplitCounts.of([]))


def _check_targets(document: ClipDocument, vocabulary: Vocabulary, where: str) -> None:
    """Raise a `UserError` unless document and transcript have the same targets in the same places from their ends."""
    ids, transcript = document.ids, document.transcript
    assert transcript is not None
    length = min(len(ids), len(transcript))
    if document.targets is not None:
        size = len(ids) - document.targets[0]
        is_same = size < length and np.array_equal(ids[len(ids) - size :], transcript[len(transcript) - size :])
    else:
        heard, read = (loss_mask(row, vocabulary).astype(bool) for row in (ids, transcript))
        is_aligned = np.array_equal(heard[len(heard) - length :], read[len(read) - length :])
        is_same = is_aligned and np.array_equal(ids[heard], transcript[read])
    if not is_same:
        found = "targets other than those of the document with the transcript"
        raise UserError(where, found=found, remedy="write documents whose answers are equal and stand at their ends")
