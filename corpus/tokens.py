"""Tokenised speech on disk: Parquet shards, one row an utterance, the tokenizer's fingerprint in the metadata.

Columns: id, tokens (list of uint16), text, duration (seconds), speaker, lang, kind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.artefact import atomic_path
from runtime.errors import UserError

COLUMNS = ("id", "tokens", "text", "duration", "speaker", "lang", "kind")
MAX_CODEBOOK_SIZE = 1 << 16


@dataclass(frozen=True, eq=False)
class TokenisedUtterance:
    """One utterance as speech tokens: (T,) uint16 codes at the tokenizer's frame rate."""

    id: str
    tokens: npt.NDArray[np.uint16]
    text: str
    duration: float
    speaker: str
    lang: str = "en"
    kind: str = ""


@dataclass(frozen=True, eq=False)
class TokenisedSpeech:
    """Tokenised utterances and the tokenizer (fingerprint, codebook size, tokens a second) that made them."""

    items: list[TokenisedUtterance]
    tokenizer: str
    codebook_size: int
    frame_rate: float


def write_tokens(
    path: Path | str, items: Iterable[TokenisedUtterance], *, tokenizer: str, codebook_size: int, frame_rate: float
) -> None:
    """Write one Parquet shard, atomically.

    Args:
        path: ends in ``.parquet``.
        items: the rows; codes must be below ``codebook_size``.
        tokenizer: fingerprint of the speech tokenizer.
        codebook_size: at most 65536.
        frame_rate: tokens a second.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not 0 < codebook_size <= MAX_CODEBOOK_SIZE:
        raise ValueError(f"codebook_size is {codebook_size}: codes are stored as uint16, give 1 to {MAX_CODEBOOK_SIZE}")
    rows = list(items)
    for row in rows:
        if len(row.tokens) and int(row.tokens.max()) >= codebook_size:
            raise ValueError(f"utterance {row.id}: code {row.tokens.max()} is not below codebook_size={codebook_size}")
    metadata = {"tokenizer": tokenizer, "codebook_size": str(codebook_size), "frame_rate": repr(float(frame_rate))}
    strings = {name: pa.string() for name in COLUMNS}
    types = strings | {"tokens": pa.list_(pa.uint16()), "duration": pa.float64()}
    schema = pa.schema([(name, types[name]) for name in COLUMNS], metadata=metadata)
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS if name != "tokens"}
    columns["tokens"] = [np.asarray(row.tokens, dtype=np.uint16) for row in rows]
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns, schema=schema), temporary, compression="zstd")


def read_tokens(path: Path | str) -> TokenisedSpeech:
    """Read one Parquet shard, or all ``*.parquet`` shards of a folder in the order of their names.

    Raises:
        UserError: nothing there, a file that is no tokenised speech, or shards of different tokenizers.
    """
    root = Path(path)
    shards = sorted(root.glob("*.parquet")) if root.is_dir() else [root]
    if not shards or not shards[0].is_file():
        raise UserError(str(root), found="no tokenised speech", remedy="run tokenizer.encode first, or check the path")
    parts = [_read_shard(shard) for shard in shards]
    first = parts[0]
    for shard, part in zip(shards, parts, strict=True):
        if (part.tokenizer, part.codebook_size) != (first.tokenizer, first.codebook_size):
            found = f"tokens of tokenizer {part.tokenizer}, but {shards[0].name} is of tokenizer {first.tokenizer}"
            raise UserError(str(shard), found=found, remedy="encode all shards with one tokenizer")
    items = [item for part in parts for item in part.items]
    return TokenisedSpeech(items, first.tokenizer, first.codebook_size, first.frame_rate)


def token_groups(shard: Path) -> list[int]:
    """Bytes of each row group of a Parquet shard, uncompressed; raises a `UserError` where it is no such shard."""
    with _open_shard(shard) as file:
        return [file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]


def read_token_groups(shard: Path, groups: Iterable[int]) -> TokenisedSpeech:
    """The utterances of some row groups of a Parquet shard; raises a `UserError` where it is no such shard."""
    with _open_shard(shard) as file:
        return _speech_of(file.read_row_groups(list(groups)), shard)


def _read_shard(shard: Path) -> TokenisedSpeech:
    with _open_shard(shard) as file:
        return _speech_of(file.read(), shard)


@contextlib.contextmanager
def _open_shard(shard: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`; what it cannot read becomes a `UserError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(shard) as file:
            yield file
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        remedy = "remove it and run tokenizer.encode again"
        raise UserError(str(shard), found=f"not readable as Parquet ({error})", remedy=remedy) from error


def _speech_of(table: Any, shard: Path) -> TokenisedSpeech:
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if "tokenizer" not in metadata or not set(COLUMNS) <= set(table.column_names):
        remedy = "give a file written by tokenizer.encode"
        raise UserError(str(shard), found="a Parquet file, but no tokenised speech", remedy=remedy)
    tokens = table["tokens"].combine_chunks()
    codes, bounds = tokens.values.to_numpy(), tokens.offsets.to_numpy()
    columns = [table[name].to_pylist() for name in COLUMNS if name != "tokens"]
    items = [
        TokenisedUtterance(id, codes[bounds[row] : bounds[row + 1]], text, duration, speaker, lang, kind)
        for row, (id, text, duration, speaker, lang, kind) in enumerate(zip(*columns, strict=True))
    ]
    return TokenisedSpeech(items, metadata["tokenizer"], int(metadata["codebook_size"]), float(metadata["frame_rate"]))
