"""Sources of LM documents: texts as JSON lines (``{"id", "text"}``) and splits of tokenised speech."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import BadRecord, check_bad_share
from corpus.tokens import TokenisedSpeech, read_tokens
from runtime.errors import UserError


@dataclass(frozen=True)
class TextDocument:
    """One text; ``id`` is unique within its source (file name and line where the record gives none)."""

    id: str
    text: str


@dataclass(frozen=True)
class Texts:
    """The texts of a source, in order, and the records that were left out."""

    documents: list[TextDocument]
    bad: list[BadRecord]


def text_files(path: Path | str) -> list[Path]:
    """The JSON-lines files of a source: the file itself, or every ``*.jsonl`` of a folder in order of name."""
    root = Path(path)
    files = sorted(root.glob("*.jsonl")) if root.is_dir() else [root]
    if not files or not files[0].is_file():
        remedy = 'give a file (or a folder of *.jsonl files) with one {"id": ..., "text": ...} a line'
        raise UserError(str(root), found="no texts", remedy=remedy)
    return files


def parse_text(line: bytes, place: str, text_column: str = "text", id_column: str = "id") -> TextDocument:
    """One JSON line as a text. The id defaults to ``place``.

    Raises:
        ValueError: the line is no JSON object with a text that holds a word; the message is the reason.
    """
    record = parse_json_line(line)
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__} instead of an object")
    return document_of(record, place, text_column, id_column)


def document_of(
    record: Mapping[str, Any], place: str, text_column: str = "text", id_column: str = "id"
) -> TextDocument:
    """A record as a text; raises as `parse_text`."""
    text = record.get(text_column)
    if not isinstance(text, str) or not text.strip():
        raise ValueError("an empty text")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # a lone surrogate from a \\ud83d escape
        raise ValueError(f"text that is no Unicode ({error.reason})") from error
    return TextDocument(str(record.get(id_column) or place), text)


def iterate_texts(path: Path | str) -> Iterator[TextDocument | BadRecord]:
    """Every text of a source, in order; a line that is none comes as a `BadRecord`. Blank lines are passed over."""
    for file in text_files(path):
        with file.open("rb") as lines:
            for number, line in numbered_lines(lines):
                try:
                    yield parse_text(line, f"{file.stem}-{number:07d}")
                except ValueError as error:
                    yield BadRecord(f"{file}, line {number}", str(error))


def read_texts(path: Path | str, max_bad_share: float = 0.01) -> Texts:
    """Read a source of texts; bad lines are left out as long as their share is at most ``max_bad_share``.

    Raises:
        UserError: nothing there, or too many bad lines (the first is named).
    """
    texts = Texts([], [])
    for item in iterate_texts(path):
        if isinstance(item, TextDocument):
            texts.documents.append(item)
        else:
            texts.bad.append(item)
    check_bad_share(texts.bad, len(texts.documents) + len(texts.bad), max_bad_share)
    if not texts.documents:
        raise UserError(str(path), found="an empty file", remedy='write one {"id": ..., "text": ...} a line')
    return texts


def split_path(tokens: Path | str, split: str) -> Path:
    """Where a split lies in an encode folder: ``<split>.parquet``, or a folder ``<split>/`` of shards."""
    root = Path(tokens)
    for candidate in (root / f"{split}.parquet", root / split):
        if candidate.exists():
            return candidate
    remedy = "run tokenizer.encode first, or give its output folder"
    raise UserError(str(root), found=f"no {split}.parquet and no folder {split}/", remedy=remedy)


def read_split(tokens: Path | str, split: str) -> TokenisedSpeech:
    """The tokenised speech of one split of an encode folder."""
    return read_tokens(split_path(tokens, split))
