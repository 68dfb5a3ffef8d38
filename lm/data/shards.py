"""Shards of a split of an LM corpus: their counts, their writing by one process each, and reading as one dataset.

::

    <shard>.bin <shard>.idx       documents (`lm.data.indexed`)
    <shard>.starts.npy .spans.npy references to their clips, where speech is read as vectors (`lm.data.clips`)
    <shard>.files.json            the files that these references name by number

A split is its shards' documents in the order in which ``corpus.json`` lists them: what a training reads depends on
the documents alone, not on where one shard ends and the next begins. At most `OPEN_SHARDS` of a split are open at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .indexed import AddDocument, IndexedFile, id_type, write_indexed
from .vocabulary import Vocabulary

OPEN_SHARDS = 64  # two memory maps each: processes may hold 1,024 files open
Opened = TypeVar("Opened")


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """Counts of one split, or of a shard of it; ``text_tokens`` counts special tokens too."""

    documents: int
    text_tokens: int
    speech_tokens: int
    longest: int

    @property
    def tokens(self) -> int:
        """Text and speech tokens together."""
        return self.text_tokens + self.speech_tokens

    @classmethod
    def of(cls, parts: Sequence[SplitCounts]) -> SplitCounts:
        """Sums over the shards of a split."""
        return cls(
            documents=sum(part.documents for part in parts),
            text_tokens=sum(part.text_tokens for part in parts),
            speech_tokens=sum(part.speech_tokens for part in parts),
            longest=max((part.longest for part in parts), default=0),
        )


@dataclass(frozen=True, kw_only=True)
class CorpusShard:
    """A shard.

    Attributes:
        name: path of its files from the corpus's folder, without suffixes.
        counts: of its documents.
        clips: references to clips.
        files: files that these name; None: by the corpus's own list.
    """

    name: str
    counts: SplitCounts
    clips: int = 0
    files: int | None = None

    def entry(self) -> dict[str, Any]:
        """As ``corpus.json`` lists it."""
        clips = {} if self.files is None else {"clips": self.clips, "files": self.files}
        return {"name": self.name, **asdict(self.counts), **clips}

    @classmethod
    def of_entry(cls, entry: dict[str, Any]) -> CorpusShard:
        """The shard of an `entry`; raises a `KeyError` where the entry is not whole."""
        counts = SplitCounts(**{field.name: entry[field.name] for field in fields(SplitCounts)})
        return cls(name=entry["name"], counts=counts, clips=entry.get("clips", 0), files=entry.get("files"))


class CountedDocuments:
    """Documents written one after the other, and their counts.

    Args:
        vocabulary: of the ids.
        add: writes one.
    """

    def __init__(self, vocabulary: Vocabulary, add: AddDocument) -> None:
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


@contextmanager
def write_documents(prefix: Path | str, vocabulary: Vocabulary) -> Iterator[CountedDocuments]:
    """Write ``<prefix>.bin`` and ``.idx``; neither is left where there was no document (it could not be mapped)."""
    with write_indexed(prefix, id_type(vocabulary)) as add:
        documents = CountedDocuments(vocabulary, add)
        yield documents
    if not documents.count:
        for suffix in (".bin", ".idx"):
            Path(f"{prefix}{suffix}").unlink()


class RecentShards(Generic[Opened]):
    """The shards of a split that were read last, each by the documents' numbers in the split.

    Args:
        shards: of the split, in order.
        open: opens one.
    """

    def __init__(self, shards: Sequence[CorpusShard], open: Callable[[CorpusShard], Opened]) -> None:
        self.shards, self.open = shards, open
        self.ends = list(accumulate(shard.counts.documents for shard in shards))
        self._open: dict[int, Opened] = {}  # the latest is the last

    def find(self, document: int) -> tuple[int, int]:
        """The number of a document's shard, and the document's number in it."""
        at = bisect_right(self.ends, document)
        if document < 0 or at == len(self.shards):
            raise IndexError(f"document {document} of {self.ends[-1] if self.ends else 0}")
        return at, document - (self.ends[at - 1] if at else 0)

    def __getitem__(self, at: int) -> Opened:
        opened = self._open.pop(at, None)
        if opened is None:
            opened = self.open(self.shards[at])
        self._open[at] = opened
        if len(self._open) > OPEN_SHARDS:
            del self._open[next(iter(self._open))]
        return opened

    def __getstate__(self) -> dict[str, Any]:
        """Workers open the shards themselves: a pickled memory map would be a copy."""
        return {**vars(self), "_open": {}}


@dataclass(frozen=True)
class _FolderOfShards:
    """Opens the documents of shards in a folder."""

    folder: Path

    def __call__(self, shard: CorpusShard) -> IndexedFile:
        return IndexedFile(self.folder / shard.name)


class ShardedDocuments:
    """The documents of a split, with what megatron-core's datasets ask of an `IndexedDataset`.

    Args:
        folder: of the corpus.
        shards: of the split, in order, each with a document.
    """

    def __init__(self, folder: Path, shards: Sequence[CorpusShard]) -> None:
        self.shards = shards
        self._files = RecentShards(shards, _FolderOfShards(folder))

    def __len__(self) -> int:
        return self._files.ends[-1] if self.shards else 0

    def __iter__(self) -> Iterator[npt.NDArray[np.int32]]:
        """The documents, in order (copies)."""
        for at in range(len(self.shards)):
            file = self._files[at]
            for number in range(len(file)):
                yield np.array(file.read(number), dtype=np.int32)

    def get(self, document: int, offset: int = 0, length: int | None = None) -> npt.NDArray[np.integer]:
        """``length`` ids of a document from ``offset`` on; by default all that are left."""
        at, number = self._files.find(document)
        return self._files[at].read(number, offset, length)

    def length(self, document: int) -> int:
        """Ids of a document."""
        at, number = self._files.find(document)
        return int(self._files[at].lengths[number])

    @property
    def sequence_lengths(self) -> npt.NDArray[np.int32]:
        """Ids of each document, (D,): read from all shards each time, for the one process that builds an index."""
        lengths = [np.array(self._files[at].lengths) for at in range(len(self.shards))]
        return np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int32)
