"""An LM corpus on disk: documents of ids as Megatron `IndexedDataset`s, and their description ``corpus.json``.

::

    <folder>/train.bin train.idx    documents, one row of ids each, uint16 or int32 by the vocabulary's size
             valid.bin valid.idx    held-out documents (absent where there are none)
             corpus.json            format, vocabulary, speech tokenizer, documents and tokens a split, provenance
             speech.json ...        of corpora whose speech is read as vectors, see `lm.data.clips`

The folder is written under a temporary name and renamed when whole. Reading refuses what belongs to another vocabulary.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.artefact import atomic_folder, read_json, write_json
from runtime.errors import UserError

from .clips import ClipDocument, ClipRecord, ClipTable, ClipWriter, read_clip_record
from .indexed import id_type, open_indexed, write_indexed
from .vocabulary import Vocabulary

RECORD_FILE = "corpus.json"
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
    without a side table of clips.
    """

    folder: Path
    format: str
    vocabulary: str
    speech_tokenizer: str
    splits: dict[str, SplitCounts]
    provenance: dict[str, Any] = field(default_factory=dict)
    clips: ClipRecord | None = None

    def prefix(self, split: str) -> str:
        """Path of a split without ``.bin``/``.idx``."""
        return str(self.folder / split)

    def documents(self, split: str) -> Iterator[npt.NDArray[np.int32]]:
        """The documents of a split, in order (copies: they outlive the dataset's memory map)."""
        if self.splits[split].documents:
            dataset = open_indexed(self.prefix(split))
            for number in range(len(dataset)):
                yield np.array(dataset[number], dtype=np.int32)

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

    Raises:
        UserError: no training document at all; clips that are not the documents' runs of the speech id.
    """
    target = Path(folder)
    with atomic_folder(target) as temporary:
        writer = ClipWriter(temporary, target, clips, vocabulary) if clips else None
        counts = {
            split: _write_split(temporary / split, vocabulary, documents, writer)
            for split, documents in zip(SPLITS, (train, valid), strict=True)
        }
        if not counts["train"].documents:
            remedy = "check the sources: every document was left out, or there were none"
            raise UserError(str(target), found=f"no document for a corpus of format {format}", remedy=remedy)
        info = CorpusInfo(
            folder=target,
            format=format,
            vocabulary=vocabulary.fingerprint,
            speech_tokenizer=vocabulary.speech_fingerprint,
            splits=counts,
            provenance=dict(provenance),
            clips=writer.finish() if writer else None,
        )
        write_record(temporary, info)
    return info


def write_record(folder: Path, info: CorpusInfo) -> None:
    """Write ``corpus.json`` into a corpus folder that is being made."""
    record = {key: value for key, value in vars(info).items() if key not in ("folder", "clips")}
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
    return info


def finished_corpus(folder: Path | str, vocabulary: Vocabulary) -> CorpusInfo | None:
    """The corpus at ``folder`` if a call before this one finished it; removes the temporary folders of killed calls."""
    target = Path(folder)
    for unfinished in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    return open_corpus(target, vocabulary) if (target / RECORD_FILE).is_file() else None


def _write_split(
    prefix: Path,
    vocabulary: Vocabulary,
    documents: Iterable[npt.NDArray[np.integer] | ClipDocument],
    writer: ClipWriter | None,
) -> SplitCounts:
    count = text = speech = longest = 0
    with (
        write_indexed(prefix, id_type(vocabulary)) as add,
        writer.split(prefix.name) if writer else nullcontext() as clips,
    ):
        for document in documents:
            ids, references = document if isinstance(document, ClipDocument) else (document, ())
            assert len(ids) and ids[-1] == vocabulary.eos, "a document ends with EOS"
            assert ids.min() >= 0 and ids.max() < vocabulary.size, "an id outside the vocabulary"
            assert clips is not None or not references, "clips without the record of their kind"
            if clips is not None:
                clips.add(ids, references)
            add(ids)
            spoken = int(vocabulary.is_speech(ids).sum())
            count, speech, text = count + 1, speech + spoken, text + len(ids) - spoken
            longest = max(longest, len(ids))
    if not count:  # an empty file cannot be mapped into memory
        Path(f"{prefix}.bin").unlink()
        Path(f"{prefix}.idx").unlink()
    return SplitCounts(documents=count, text_tokens=text, speech_tokens=speech, longest=longest)
