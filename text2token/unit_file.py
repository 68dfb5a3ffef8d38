"""A finished unit on disk: Parquet, one row a document, its spans as lists; what `text2token.pack` reads.

Columns: id, text, and for each span ``starts`` and ``ends`` (characters of the text), ``words``, ``spoken`` (the words
as they were given to the model), ``speakers``, ``verdicts`` (``good``, or why the span stays text) and ``tokens``
(empty unless good). The same documents give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from corpus.artefact import atomic_path
from corpus.errors import UserError

from .gate import GOOD
from .spans import count_words

Codes = npt.NDArray[np.uint16]
LISTS = ("starts", "ends", "words", "spoken", "speakers", "verdicts", "tokens")  # one item a span, as in SpokenSpan
REMAKE = "remove it and run text2token.synthesize again"


@dataclass(frozen=True, eq=False)
class SpokenSpan:
    """A span and its speech tokens, which are none unless the verdict is ``good``."""

    start: int
    end: int
    num_words: int
    spoken: str
    speaker: str
    verdict: str
    tokens: Codes


@dataclass(frozen=True, eq=False)
class SpokenDocument:
    """A text and its spans, in order."""

    id: str
    text: str
    spans: list[SpokenSpan]

    def pieces(self) -> list[str | Codes]:
        """Texts and speech tokens in turn; a span that was not good is text."""
        pieces: list[str | Codes] = []
        at = 0
        for span in self.spans:
            if span.verdict == GOOD:
                pieces += [self.text[at : span.start], span.tokens]
                at = span.end
        return [*pieces, self.text[at:]]


@dataclass(frozen=True)
class Marks:
    """What the tokens of a unit belong to: fingerprints of vocabulary, speech tokenizer and model."""

    vocabulary: str
    speech_tokenizer: str
    model: str


@dataclass
class Counts:
    """What a unit, or many, holds."""

    documents: int = 0
    words: int = 0
    chosen_words: int = 0
    spoken_words: int = 0
    spans: int = 0
    tokens: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    def add(self, document: SpokenDocument) -> None:
        """Count one document."""
        self.documents += 1
        self.words += count_words(document.text)
        for span in document.spans:
            self.spans += 1
            self.chosen_words += span.num_words
            self.tokens += len(span.tokens)
            if span.verdict == GOOD:
                self.spoken_words += span.num_words
            else:
                self.rejected[span.verdict] = self.rejected.get(span.verdict, 0) + 1

    def merge(self, more: Counts) -> None:
        """Add the counts of others."""
        for name in ("documents", "words", "chosen_words", "spoken_words", "spans", "tokens"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        for reason, count in more.rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count

    @property
    def num_rejected(self) -> int:
        """Spans that stay text."""
        return sum(self.rejected.values())

    @property
    def rejected_share(self) -> float:
        """Share of the spans that stay text."""
        return self.num_rejected / max(self.spans, 1)

    @property
    def realised_ratio(self) -> float:
        """Share of the words that became speech."""
        return self.spoken_words / max(self.words, 1)


def write_unit(path: Path, documents: Sequence[SpokenDocument], marks: Marks, num_bad: int) -> None:
    """Write a unit, atomically; ``num_bad`` lines were left out of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    string, number = pa.string(), pa.int32()
    kinds = dict(zip(LISTS, (number, number, number, string, string, string, pa.list_(pa.uint16())), strict=True))
    metadata = {"text2token": json.dumps(vars(marks) | {"bad_lines": num_bad}, sort_keys=True)}
    columns = [("id", pa.string()), ("text", pa.string()), *((name, pa.list_(kind)) for name, kind in kinds.items())]
    lists = {
        name: [[getattr(span, attribute.name) for span in document.spans] for document in documents]
        for name, attribute in zip(LISTS, fields(SpokenSpan), strict=True)
    }
    texts = {"id": [document.id for document in documents], "text": [document.text for document in documents]}
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(texts | lists, schema=pa.schema(columns, metadata)), temporary, compression="zstd")


def read_unit(path: Path) -> tuple[list[SpokenDocument], Marks, int]:
    """Documents of a unit, what they belong to, and how many lines were left out.

    Raises:
        UserError: a file that is missing, damaged or no unit.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        marks = json.loads((table.schema.metadata or {})[b"text2token"])
        num_bad = int(marks.pop("bad_lines"))
    except FileNotFoundError as error:
        raise UserError(str(path), found="no such file", remedy="run text2token.synthesize to its end") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(str(path), found=f"not readable as Parquet ({error})", remedy=REMAKE) from error
    except KeyError as error:
        raise UserError(str(path), found="a Parquet file, but no unit of synthesis", remedy=REMAKE) from error
    documents = []
    for row in table.to_pylist():
        lists = zip(*(row[name] for name in LISTS), strict=True)
        spans = [
            SpokenSpan(start, end, words, spoken, speaker, verdict, np.array(tokens, dtype=np.uint16))
            for start, end, words, spoken, speaker, verdict, tokens in lists
        ]
        documents.append(SpokenDocument(row["id"], row["text"], spans))
    return documents, Marks(**marks), num_bad
