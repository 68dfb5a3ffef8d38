"""Splits of tokenised speech in an output folder of tokenizer.encode."""

from __future__ import annotations

from pathlib import Path

from corpus.tokens import TokenisedSpeech, read_tokens
from runtime.errors import UserError


def split_path(tokens: Path | str, split: str) -> Path:
    """Where a split lies in an encode folder: ``<split>.parquet``, or a folder ``<split>/`` of shards."""
    root = Path(tokens)
    for candidate in (root / f"{split}.parquet", root / split):
        if candidate.exists():
            return candidate
    remedy = "run tokenizer.encode first, or give its output folder"
    raise UserError(str(root), found=f"no {split}.parquet and no folder {split}/", remedy=remedy)


def split_parts(tokens: Path | str, split: str) -> list[Path]:
    """The Parquet files of a split, in order; none where the split is ""."""
    if not split:
        return []
    path = split_path(tokens, split)
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def read_split(tokens: Path | str, split: str) -> TokenisedSpeech:
    """The tokenised speech of one split of an encode folder."""
    return read_tokens(split_path(tokens, split))
