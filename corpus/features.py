"""Stored speech features on disk: a frozen encoder's vectors in memory-mapped shards, an index of utterances.

::

    <folder>/features.json      encoder fingerprint, source, layer, positions a second, width
             <split>.parquet    a row an utterance: id, text, duration, speaker, lang, kind, shard, first, frames
             <split>/000000.npy (rows, E) float16; an utterance is rows first to first + frames of its shard

E width of a vector, T positions of an utterance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.artefact import atomic_path, read_json, write_json
from runtime.errors import UserError

FEATURES_FILE = "features.json"
REMEDY = "restore the folder, or write it again with tokenizer.features"


@dataclass(frozen=True)
class FeatureUtterance:
    """One utterance as stored vectors.

    Attributes:
        id: unique within a split.
        text: the transcript; "" where unknown.
        duration: seconds.
        speaker: a name; "" where unknown.
        lang: ISO 639-1 code.
        kind: of utterance, as the manifest has it.
        shard: file of its vectors, relative to the artefact's folder.
        first: row of its first vector.
        frames: T.
    """

    id: str
    text: str
    duration: float
    speaker: str
    lang: str
    kind: str
    shard: str
    first: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class FeatureRecord:
    """Contents of ``features.json``.

    Attributes:
        encoder: fingerprint of the encoder, layer included.
        source: path of the encoder, as ``load_encoder`` takes it.
        layer: whose vectors are stored.
        positions_per_second: vectors a second.
        width: E.
        sample_rate: of the audio that the encoder took, Hz.
        splits: number of utterances of each.
    """

    encoder: str
    source: str
    layer: str
    positions_per_second: float
    width: int
    sample_rate: int
    splits: dict[str, int]


class StoredFeatures:
    """An artefact of ``tokenizer.features``.

    Args:
        folder: of the artefact.

    Attributes:
        record: of the encoder, and the splits.

    Raises:
        UserError: no such artefact, or one that is not whole.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        content = read_json(self.folder / FEATURES_FILE)
        try:
            self.record = FeatureRecord(**content)
        except TypeError as error:
            raise UserError(str(self.folder / FEATURES_FILE), found=f"incomplete ({error})", remedy=REMEDY) from error
        self._open: dict[str, npt.NDArray[np.float16]] = {}

    def utterances(self, split: str) -> Iterator[FeatureUtterance]:
        """The utterances of a split, in order, read in batches; raises as `index_of`, or where it cannot be read."""
        yield from read_feature_index(self.index_of(split))

    def index_of(self, split: str) -> Path:
        """The index of a split; raises a `UserError` where there is no such split."""
        if split not in self.record.splits:
            remedy = f"it has {', '.join(self.record.splits)}"
            raise UserError(str(self.folder), found=f"no features of a split {split}", remedy=remedy)
        return self.folder / f"{split}.parquet"

    def file(self, utterance: FeatureUtterance) -> Path:
        """The shard that holds an utterance's vectors."""
        return self.folder / utterance.shard

    def vectors(self, utterance: FeatureUtterance) -> npt.NDArray[np.float16]:
        """(T, E) of an utterance, memory-mapped.

        Raises:
            UserError: a shard that is missing, too short, or of another width.
        """
        rows = self._shard(utterance.shard)
        if utterance.first + utterance.frames > len(rows):
            found = f"{len(rows)} rows, but utterance {utterance.id} ends at row {utterance.first + utterance.frames}"
            raise UserError(str(self.file(utterance)), found=found, remedy=REMEDY)
        return rows[utterance.first : utterance.first + utterance.frames]

    def _shard(self, name: str) -> npt.NDArray[np.float16]:
        if name not in self._open:
            file = self.folder / name
            try:
                rows = np.load(file, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise UserError(str(file), found=f"cannot be read ({error})", remedy=REMEDY) from error
            if rows.dtype != np.float16 or rows.ndim != 2 or rows.shape[1] != self.record.width:
                found = f"{rows.dtype} of shape {rows.shape}, not rows of {self.record.width} float16"
                raise UserError(str(file), found=found, remedy=REMEDY)
            self._open[name] = rows
        return self._open[name]


def write_feature_record(folder: Path, record: FeatureRecord) -> None:
    """Write ``features.json``, atomically: the last file of an artefact."""
    write_json(folder / FEATURES_FILE, asdict(record))


def write_feature_index(path: Path, batches: Iterable[Sequence[FeatureUtterance]]) -> int:
    """Write an index, atomically, a row group for each batch; returns the number of utterances."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"str": pa.string(), "float": pa.float64(), "int": pa.int64()}
    schema = pa.schema([(field.name, types[str(field.type)]) for field in fields(FeatureUtterance)])
    count = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in batches:
            columns = zip(*map(astuple, batch), strict=True) if batch else ((),) * len(schema)
            arrays = [pa.array(column, type) for column, type in zip(columns, schema.types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(batch)
    return count


def feature_groups(path: Path) -> list[int]:
    """Bytes of each row group of an index, uncompressed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(str(path), found=f"no index of features ({error})", remedy=REMEDY) from error
    return [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]


def read_feature_index(path: Path, groups: Sequence[int] | None = None) -> Iterator[FeatureUtterance]:
    """The utterances of an index, in order, or those of some of its row groups.

    Raises:
        UserError: it is missing, torn, or no index.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [field.name for field in fields(FeatureUtterance)]
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=names, row_groups=groups):
                columns = [column.to_pylist() for column in batch.columns]
                yield from (FeatureUtterance(*row) for row in zip(*columns, strict=True))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError, TypeError) as error:
        raise UserError(str(path), found=f"no index of features ({error})", remedy=REMEDY) from error
