"""Clips of an LM corpus whose speech is read as vectors: the side table of references to audio or stored vectors.

::

    <shard>.starts.npy   (D + 1,) int64: the first span of each document of a shard of the corpus, and N
    <shard>.spans.npy    (N,) structured: `AUDIO_SPAN` or `FEATURE_SPAN`, in the documents' order
    <shard>.files.json   the files that the shard's spans name by number, where ``speech.json`` lists none
    <folder>/speech.json `ClipRecord`: kind, files, encoder, layer, positions a second, width, stride

In the ids each position of a clip is the vocabulary's one speech id (a speech block of 1), and the document's k-th run
of it is its k-th span. The number of positions of a clip is fixed when the corpus is written: the encoder's vectors,
divided by the connector's stride and rounded up. Both are checked when a corpus is written and when it is read.

Shapes: D documents, N clips, T vectors of a clip, E their width.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from runtime.artefact import fingerprint, read_json
from runtime.errors import UserError
from runtime.growing_array import GrowingArray, growing_array

from .shards import CorpusShard, RecentShards
from .vocabulary import Ids, Vocabulary

CLIPS_FILE, FILES = "speech.json", ".files.json"
ClipKind = Literal["audio", "features"]
CLIP_KINDS: tuple[ClipKind, ...] = ("audio", "features")
AUDIO_SPAN = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("bytes", "<u4"), ("samples", "<u4")])
FEATURE_SPAN = np.dtype([("shard", "<u4"), ("first", "<u8"), ("frames", "<u4")])
SPAN_TYPES: dict[ClipKind, np.dtype[Any]] = {"audio": AUDIO_SPAN, "features": FEATURE_SPAN}
REMEDY = "write the corpus again"
SHARD_REMEDY = (
    "restore the shard, or write features and corpus again (speech.max_unreadable_share tolerates some such clips)"
)


class AudioClip(NamedTuple):
    """A recording within a file (a tar's member, or a whole file).

    Attributes:
        file: the tar or audio file.
        offset: of the encoded audio, in bytes.
        bytes: of the encoded audio.
        samples: its length, of the file's own sample rate.
        positions: vectors that the encoder makes of it (``SpeechEncoder.num_positions``).
    """

    file: Path
    offset: int
    bytes: int
    samples: int
    positions: int

    @property
    def entries(self) -> tuple[int, ...]:
        """The span after the shard's number."""
        return self.offset, self.bytes, self.samples


class FeatureClip(NamedTuple):
    """Stored vectors: rows ``first`` to ``first + frames`` of a shard (``.npy`` or raw, (rows, E) float16)."""

    file: Path
    first: int
    frames: int

    @property
    def positions(self) -> int:
        """Vectors of the clip."""
        return self.frames

    @property
    def entries(self) -> tuple[int, ...]:
        """The span after the shard's number."""
        return self.first, self.frames


class ClipDocument(NamedTuple):
    """A document with clips.

    Attributes:
        ids: (T,).
        clips: one for each run of the speech id.
        transcript: the same document with the transcripts in place of the speech; both end with the same targets.
        targets: begin and end of the ids that are targets, of a document whose ids do not tell.
    """

    ids: Ids
    clips: Sequence[AudioClip | FeatureClip]
    transcript: Ids | None = None
    targets: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class ClipRecord:
    """Contents of ``speech.json``: all clips of a corpus.

    Attributes:
        kind: ``audio``, encoded recordings, or ``features``, stored vectors of a frozen encoder.
        encoder: fingerprint of the encoder whose vectors are counted (and, of features, stored).
        source: the encoder's artefact, as ``load_encoder`` takes it.
        layer: of the encoder.
        positions_per_second: the encoder's vectors a second, before the connector's stride.
        width: E.
        stride: vectors that the connector makes one position of.
        shards: files that the spans name by number, relative to the corpus folder or absolute; empty where the
            corpus's own shards list them.
    """

    kind: ClipKind
    encoder: str
    positions_per_second: float
    width: int
    stride: int = 1
    source: str = ""
    layer: str = ""
    shards: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, is_good in (
            ("kind", self.kind in CLIP_KINDS),
            ("positions_per_second", self.positions_per_second > 0),
            ("width", self.width >= 1),
            ("stride", self.stride >= 1),
        ):
            if not is_good:
                raise UserError(CLIPS_FILE, found=f"{name} = {getattr(self, name)!r}", remedy=REMEDY)

    def num_placeholders(self, positions: int) -> int:
        """Speech ids that stand for a clip of that many vectors."""
        return -(-positions // self.stride)

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the meaning of the vectors; files have no part in it."""
        return fingerprint([self.encoder, self.positions_per_second, self.width, self.stride])


class ClipWriter:
    """Writer of side tables, as documents are written.

    Args:
        home: folder of the corpus, from which files are named.
        record: of the clips; its ``shards`` are not read.
        vocabulary: the corpus's.

    Attributes:
        files: that clips named, with their numbers.

    Raises:
        UserError: a vocabulary whose speech block is not of 1.
    """

    def __init__(self, home: Path, record: ClipRecord, vocabulary: Vocabulary) -> None:
        if vocabulary.num_speech_tokens != 1:
            found = f"a vocabulary of {vocabulary.num_speech_tokens} speech tokens for a corpus with clips"
            remedy = "make one with a speech block of 1: lm.vocabulary num_speech_tokens=1"
            raise UserError(str(home), found=found, remedy=remedy)
        self.home, self.record, self.vocabulary = home, record, vocabulary
        self.files: dict[Path, int] = {}

    @contextmanager
    def table(self, prefix: Path | str, name: str) -> Iterator[SpanTable]:
        """Write ``<prefix>.starts.npy`` and ``<prefix>.spans.npy`` of the documents ``name``; yields what adds one."""
        with ExitStack() as stack:
            spans = stack.enter_context(growing_array(Path(f"{prefix}.spans.npy"), SPAN_TYPES[self.record.kind]))
            starts = stack.enter_context(growing_array(Path(f"{prefix}.starts.npy"), np.dtype("<i8")))
            yield SpanTable(self, name, starts, spans)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files, by their numbers."""
        return tuple(_file_name(file, self.home) for file in self.files)


class SpanTable:
    """Growing side table of one shard; see `ClipWriter.table`."""

    def __init__(self, writer: ClipWriter, name: str, starts: GrowingArray, spans: GrowingArray) -> None:
        self.writer, self.name, self.starts, self.spans = writer, name, starts, spans
        starts.append(np.zeros(1, dtype="<i8"))

    def __len__(self) -> int:
        return len(self.spans)

    def add(self, ids: npt.NDArray[np.integer], clips: Sequence[AudioClip | FeatureClip]) -> None:
        """Append the clips of the next document.

        Raises:
            UserError: a clip of another kind, or runs of the speech id that are not the clips' positions.
        """
        record, number = self.writer.record, len(self.starts) - 1
        where = f"{self.writer.home}, {self.name} document {number}"
        lengths = [stop - start for start, stop in speech_runs(ids, self.writer.vocabulary)]
        wanted = [record.num_placeholders(clip.positions) for clip in clips]
        if lengths != wanted:
            raise _differing(where, lengths, wanted, [str(clip.file) for clip in clips])
        kind = AudioClip if record.kind == "audio" else FeatureClip
        if not all(isinstance(clip, kind) for clip in clips):
            found = f"clips that are not {kind.__name__}, in a corpus of {record.kind}"
            raise UserError(where, found=found, remedy="write clips of one kind")
        files = self.writer.files
        rows = [(files.setdefault(Path(clip.file), len(files)), *clip.entries) for clip in clips]
        self.spans.append(np.array(rows, dtype=self.spans.type))
        self.starts.append(np.array([len(self.spans)], dtype="<i8"))


class _ShardTable:
    """Memory-mapped side table of one shard of a split.

    Args:
        folder: of the corpus.
        shard: of the split.
        record: the corpus's.

    Attributes:
        files: that its spans name by number, relative to the folder or absolute.
    """

    def __init__(self, folder: Path, shard: CorpusShard, record: ClipRecord) -> None:
        prefix = folder / shard.name
        self.starts = _open_array(Path(f"{prefix}.starts.npy"), np.dtype("<i8"))
        self.spans = _open_array(Path(f"{prefix}.spans.npy"), SPAN_TYPES[record.kind])
        documents = shard.counts.documents
        if len(self.starts) != documents + 1 or int(self.starts[-1]) != len(self.spans):
            found = (
                f"{len(self.starts)} starts, the last {int(self.starts[-1]) if len(self.starts) else None}, of "
                f"{documents} documents and {len(self.spans)} spans"
            )
            raise UserError(f"{prefix}.starts.npy", found=found, remedy=REMEDY)
        self.files: Sequence[str] = record.shards
        if shard.files is not None:
            self.files = read_json(Path(f"{prefix}{FILES}")).get("files", [])
            if len(self.files) != shard.files:
                found = f"{len(self.files)} files where the corpus has {shard.files}"
                raise UserError(f"{prefix}{FILES}", found=found, remedy=REMEDY)


@dataclass(frozen=True)
class _FolderOfTables:
    """Opens the side tables of shards in a folder."""

    folder: Path
    record: ClipRecord

    def __call__(self, shard: CorpusShard) -> _ShardTable:
        return _ShardTable(self.folder, shard, self.record)


class ClipTable:
    """Memory-mapped side table of one split.

    A span's ``shard`` is the number of a file among those that the split's spans name, shard after shard.

    Args:
        folder: of the corpus.
        split: ``train`` or ``valid``.
        record: the corpus's.
        shards: of the split.
    """

    def __init__(self, folder: Path, split: str, record: ClipRecord, shards: Sequence[CorpusShard]) -> None:
        self.folder, self.split, self.record = folder, split, record
        self._tables = RecentShards(shards, _FolderOfTables(folder, record))
        self._first_files = [0, *accumulate(shard.files or 0 for shard in shards)]

    @property
    def num_clips(self) -> int:
        """Clips of all documents."""
        shards = self._tables.shards
        return sum(len(self._tables[at].spans) if one.files is None else one.clips for at, one in enumerate(shards))

    @property
    def num_files(self) -> int:
        """Files that the clips lie in, of the whole corpus where it has one list."""
        return self._first_files[-1] or len(self.record.shards)

    def check(self, at: int) -> None:
        """Raise a `UserError` where the tables of the split's shard ``at`` are missing, not whole, or of other kind."""
        self._tables[at]

    def of(self, document: int) -> npt.NDArray[Any]:
        """The spans of a document, in order."""
        at, number = self._tables.find(document)
        table = self._tables[at]
        spans = table.spans[int(table.starts[number]) : int(table.starts[number + 1])]
        if self._first_files[at]:
            spans = np.array(spans)
            spans["shard"] += self._first_files[at]
        return spans

    def shard(self, number: int) -> Path:
        """The file of a span's number."""
        if not self._first_files[-1]:
            return self.folder / self.record.shards[number]  # an absolute name replaces the folder
        at = bisect_right(self._first_files, number) - 1
        return self.folder / self._tables[at].files[number - self._first_files[at]]

    def where(self, document: int, number: int) -> str:
        """Words for the ``number``-th clip of a document, for errors."""
        span = self.of(document)[number]
        entries = ", ".join(f"{name} {span[name]}" for name in span.dtype.names[1:])
        return f"{self.shard(int(span['shard']))} ({entries}), clip {number} of {self.split} document {document}"

    def check_runs(self, document: int, lengths: Sequence[int]) -> None:
        """Raise a `UserError` unless the runs of the speech id in a document, of these lengths, are its clips.

        Of audio only the number of clips is known before it is decoded.
        """
        spans = self.of(document)
        if self.record.kind == "features":
            wanted = [self.record.num_placeholders(int(frames)) for frames in spans["frames"]]
        else:
            wanted = [*lengths, *([1] * len(spans))][: len(spans)]
        if list(lengths) != wanted:
            files = [str(self.shard(int(shard))) for shard in spans["shard"]]
            raise _differing(f"{self.folder}, {self.split} document {document}", lengths, wanted, files)


class FeatureShards:
    """Stored vectors of a corpus's clips: shards are memory-mapped when they are first read.

    Args:
        table: the references.
    """

    def __init__(self, table: ClipTable) -> None:
        self.table = table
        self._open: dict[int, npt.NDArray[np.float16]] = {}

    def read(self, document: int, number: int) -> npt.NDArray[np.float16]:
        """The vectors (T, E) of the ``number``-th clip of a document.

        Raises:
            UserError: the shard is missing or too short; names document, clip and file.
        """
        span = self.table.of(document)[number]
        shard, first, frames = int(span["shard"]), int(span["first"]), int(span["frames"])
        try:
            rows = self._shard(shard)
        except (OSError, ValueError) as error:
            where, found = self.table.where(document, number), f"cannot be read ({error})"
            raise UserError(where, found=found, remedy=SHARD_REMEDY) from error
        if first + frames > len(rows):
            found = f"{len(rows)} rows where the clip ends at row {first + frames}"
            raise UserError(self.table.where(document, number), found=found, remedy=SHARD_REMEDY)
        return rows[first : first + frames]

    def __getstate__(self) -> dict[str, Any]:
        """Workers open the shards themselves: a pickled memory map would be a copy."""
        return {"table": self.table, "_open": {}}

    def _shard(self, number: int) -> npt.NDArray[np.float16]:
        if number not in self._open:
            self._open[number] = open_features(self.table.shard(number), self.table.record.width)
        return self._open[number]


def open_features(file: Path, width: int) -> npt.NDArray[np.float16]:
    """Memory-map a shard of vectors, (rows, ``width``) float16: ``.npy``, or raw rows under any other name.

    Raises:
        OSError: it is missing.
        ValueError: it is not of that width and type.
    """
    if file.suffix == ".npy":
        rows = np.load(file, mmap_mode="r")
        if rows.ndim != 2 or rows.shape[1] != width or rows.dtype != np.float16:
            raise ValueError(f"{rows.dtype} of shape {rows.shape} where rows of {width} float16 are wanted")
        return cast(npt.NDArray[np.float16], rows)
    size = file.stat().st_size
    if size % (2 * width):
        raise ValueError(f"{size} bytes are not whole rows of {width} float16")
    return np.memmap(file, dtype=np.float16, mode="r", shape=(size // (2 * width), width))


def speech_runs(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> list[tuple[int, int]]:
    """The runs of speech ids in a row: (start, stop) of each."""
    is_speech = vocabulary.is_speech(ids)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_speech, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def read_clip_record(folder: Path) -> ClipRecord | None:
    """The contents of ``speech.json`` in a corpus folder, None where there is none (no clips).

    Raises:
        UserError: it is not whole.
    """
    path = folder / CLIPS_FILE
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        return ClipRecord(**{**content, "shards": tuple(content["shards"])})
    except (KeyError, TypeError) as error:
        raise UserError(str(path), found=f"incomplete ({error})", remedy=REMEDY) from error


def _open_array(path: Path, type: np.dtype[Any]) -> npt.NDArray[Any]:
    try:
        values = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(str(path), found=f"cannot be read ({error})", remedy=f"copy it again, or {REMEDY}") from error
    if values.ndim != 1 or values.dtype != type:
        raise UserError(str(path), found=f"{values.dtype} of shape {values.shape}, not {type}", remedy=REMEDY)
    return values


def _file_name(file: Path, home: Path) -> str:
    """Relative where both lie below a common folder other than the root, so that they can be moved together."""
    whole, folder = file.resolve(), home.resolve()
    if os.path.commonpath([whole, folder]) == whole.anchor:
        return str(whole)
    return os.path.relpath(whole, folder)


def _differing(where: str, found: Iterable[int], wanted: Iterable[int], files: Sequence[str]) -> UserError:
    found, wanted = list(found), list(wanted)
    at = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), min(len(found), len(wanted)))
    file = f", {files[at]}" if at < len(files) else ""
    if len(found) != len(wanted):
        words = f"{len(found)} runs of the speech id and {len(wanted)} clips"
    else:
        words = f"a run of {found[at]} speech ids where the clip has {wanted[at]} positions"
    return UserError(f"{where}, span {at}{file}", found=words, remedy=REMEDY)
