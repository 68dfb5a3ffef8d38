"""An LM corpus on disk: documents of ids as Megatron `IndexedDataset`s, and their description ``corpus.json``.

::

    <folder>/train.bin train.idx    documents, one row of ids each, uint16 or int32 by the vocabulary's size
             valid.bin valid.idx    held-out documents (absent where there are none)
             corpus.json            format, vocabulary, speech tokenizer, documents and tokens a split, provenance
             train.targets.npy ...  (D, 2): begin and end of the targets of documents in a base model's chat template
             speech.json ...        of corpora whose speech is read as vectors, see `lm.data.clips`
             transcripts/           a corpus of the same documents with the transcripts in place of the speech, where
                                    the model that hears is to imitate the one that reads (`lm.training.divergence`)

The folder is written under a temporary name and renamed when whole. Reading refuses what belongs to another vocabulary.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.artefact import atomic_folder, read_json, write_json
from runtime.errors import UserError
from runtime.growing_array import growing_array

from .clips import ClipDocument, ClipRecord, ClipTable, ClipWriter, read_clip_record
from .indexed import id_type, open_indexed, write_indexed
from .loss_mask import loss_mask
from .vocabulary import Vocabulary

RECORD_FILE, TRANSCRIPTS, TARGETS = "corpus.json", "transcripts", ".targets.npy"
SPLITS = ("train", "valid")


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """Counts of one split; ``text_tokens`` counts special tokens too."""

    documents: int
    text_tokens: int
    speech_tokens: int
    longest: int

    @property
    def tokens(self) -> int:
        """Text and speech tokens together."""
        return self.text_tokens + self.speech_tokens


@dataclass(frozen=True, kw_only=True)
class CorpusInfo:
    """An opened corpus. ``prefix(split)`` is what Megatron's `IndexedDataset` takes; ``clips`` is None of a corpus
    without a side table of clips, ``transcripts`` of one without those. ``has_targets``: its documents state them.
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

    def prefix(self, split: str) -> str:
        """Path of a split without ``.bin``/``.idx``."""
        return str(self.folder / split)

    def documents(self, split: str) -> Iterator[npt.NDArray[np.int32]]:
        """The documents of a split, in order (copies: they outlive the dataset's memory map)."""
        if self.splits[split].documents:
            dataset = open_indexed(self.prefix(split))
            for number in range(len(dataset)):
                yield np.array(dataset[number], dtype=np.int32)

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
        return ClipTable(self.folder, split, self.clips, self.splits[split].documents)

    def document(self, split: str, number: int) -> npt.NDArray[np.int32]:
        """One document of a split (a copy)."""
        dataset = open_indexed(self.prefix(split))
        return np.array(dataset[number], dtype=np.int32)


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
        writer = ClipWriter(temporary, target, clips, vocabulary) if clips else None
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
            clips=writer.finish() if writer else None,
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
    """Write ``corpus.json`` into a corpus folder that is being made."""
    record = {key: value for key, value in vars(info).items() if key not in ("folder", "clips", "transcripts")}
    record["splits"] = {split: asdict(one) for split, one in info.splits.items()}
    write_json(folder / RECORD_FILE, record)


def open_corpus(folder: Path | str, vocabulary: Vocabulary) -> CorpusInfo:
    """Open a corpus and check that it is whole and of this vocabulary.

    Raises:
        UserError: missing or truncated files, or another vocabulary's fingerprint.
    """
    root = Path(folder)
    remake = "make the corpus again (lm.prepare, text2token.pack)"
    if not (root / RECORD_FILE).is_file():
        raise UserError(str(root), found=f"no LM corpus (no {RECORD_FILE})", remedy="give a corpus folder")
    record = read_json(root / RECORD_FILE)
    try:
        splits = {name: SplitCounts(**counts) for name, counts in record.pop("splits").items()}
        info = CorpusInfo(folder=root, splits=splits, **record, clips=read_clip_record(root))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(str(root / RECORD_FILE), found=f"incomplete ({error})", remedy=remake) from error
    if info.vocabulary != vocabulary.fingerprint:
        found = f"a corpus of vocabulary {info.vocabulary}, but the vocabulary given is {vocabulary.fingerprint}"
        raise UserError(str(root), found=found, remedy=f"give the vocabulary it was made with, or {remake}")
    item_size = np.dtype(id_type(vocabulary)).itemsize
    for name, counts in splits.items():
        for suffix in (".bin", ".idx") if counts.documents else ():
            if not (root / f"{name}{suffix}").is_file():
                raise UserError(str(root / f"{name}{suffix}"), found="no such file", remedy=remake)
        size = (root / f"{name}.bin").stat().st_size if counts.documents else 0
        if size != counts.tokens * item_size:
            found = f"{size} bytes where {counts.tokens} tokens take {counts.tokens * item_size}: a damaged copy"
            raise UserError(str(root / f"{name}.bin"), found=found, remedy=f"copy it again, or {remake}")
        if info.clips is not None:
            info.clip_table(name)
        info.targets(name)
    if not (root / TRANSCRIPTS).is_dir():
        return info
    transcripts = open_corpus(root / TRANSCRIPTS, vocabulary)
    for name, counts in splits.items():
        if transcripts.splits[name].documents != counts.documents:
            found = f"{transcripts.splits[name].documents} documents of {name}, of {counts.documents} in the corpus"
            raise UserError(str(root / TRANSCRIPTS), found=found, remedy=remake)
    return replace(info, transcripts=transcripts)


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


class _CountedDocuments:
    """Documents written one after the other, and their counts."""

    def __init__(self, vocabulary: Vocabulary, add: Callable[[npt.NDArray[np.integer]], None]) -> None:
        self.vocabulary, self.write = vocabulary, add
        self.count = self.text = self.speech = self.longest = 0

    def add(self, ids: npt.NDArray[np.integer]) -> None:
        """Write one."""
        assert len(ids) and ids[-1] == self.vocabulary.eos, "a document ends with EOS"
        assert ids.min() >= 0 and ids.max() < self.vocabulary.size, "an id outside the vocabulary"
        self.write(ids)
        spoken = int(self.vocabulary.is_speech(ids).sum())
        self.count, self.speech, self.text = self.count + 1, self.speech + spoken, self.text + len(ids) - spoken
        self.longest = max(self.longest, len(ids))

    @property
    def counts(self) -> SplitCounts:
        """Of those written."""
        return SplitCounts(documents=self.count, text_tokens=self.text, speech_tokens=self.speech, longest=self.longest)


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
        write_indexed(prefix, id_type(vocabulary)) as add,
        write_indexed(read, id_type(vocabulary)) if has_transcripts else nullcontext(lambda _: None) as add_transcript,
        writer.split(prefix.name) if writer else nullcontext() as clips,
        growing_array(target_file, np.dtype("<i8"), (2,)) if has_targets else nullcontext() as target_table,
    ):
        written, transcripts = _CountedDocuments(vocabulary, add), _CountedDocuments(vocabulary, add_transcript)
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
            if transcript is not None:
                _check_targets(whole, vocabulary, f"{prefix} document {written.count - 1}")
                transcripts.add(transcript)
    if not written.count:  # an empty file cannot be mapped into memory
        target_file.unlink(missing_ok=True)
        for empty in (prefix, read) if has_transcripts else (prefix,):
            Path(f"{empty}.bin").unlink()
            Path(f"{empty}.idx").unlink()
    return _BothCounts(written.counts, transcripts.counts)


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
