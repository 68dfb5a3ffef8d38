"""A finished unit on disk: Parquet, one row a document, its spans as lists; what `text2token.pack` reads.

Columns: id, text, and for each span ``starts`` and ``ends`` (characters of the text), ``words``, ``spoken`` (the words
as they were given to the model), ``speakers``, ``verdicts`` (``good``, or why the span stays text) and ``tokens``
(empty unless good). The same documents give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import UserError

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
class Fingerprints:
    """What the tokens of a unit belong to: fingerprints of vocabulary, speech tokenizer and model."""

    vocabulary: str
    speech_tokenizer: str
    model: str


@dataclass
class Counts:
    """What a unit, or many, holds.

    Attributes:
        documents: texts.
        words: of them.
        chosen_words: those of spans.
        spoken_words: those of spans that became speech.
        spans: good ones and others.
        tokens: speech tokens.
        rejected: why spans stay text -> how many.
        lengths: words of a span that became speech -> how many.
        speakers: who reads -> good spans.
    """

    documents: int = 0
    words: int = 0
    chosen_words: int = 0
    spoken_words: int = 0
    spans: int = 0
    tokens: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    speakers: dict[str, int] = field(default_factory=dict)

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
                _count(self.lengths, str(span.num_words))
                _count(self.speakers, span.speaker)
            else:
                _count(self.rejected, span.verdict)

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def merge(self, record: Mapping[str, Any]) -> None:
        """Add the counts of a `record` (what else it holds is passed over)."""
        for name, mine in vars(self).items():
            if isinstance(mine, int):
                setattr(self, name, mine + record[name])
            elif isinstance(mine, dict):
                for key, count in record[name].items():
                    _count(mine, key, count)

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


def _count(table: dict[str, int], key: str, count: int = 1) -> None:
    table[key] = table.get(key, 0) + count


def write_unit(path: Path, documents: Sequence[SpokenDocument], marks: Fingerprints, num_bad: int) -> None:
    """Write a unit; ``num_bad`` records were left out of it."""
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
    pq.write_table(pa.table(texts | lists, schema=pa.schema(columns, metadata)), path, compression="zstd")


def read_unit(path: Path) -> tuple[list[SpokenDocument], Fingerprints, int]:
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
    lists = {name: table[name].combine_chunks() for name in LISTS}
    bounds = lists["starts"].offsets.to_numpy()
    bounds = bounds - bounds[0]
    flat = {name: lists[name].flatten() for name in LISTS}
    codes, code_bounds = flat["tokens"].flatten().to_numpy(), flat["tokens"].offsets.to_numpy()
    values = [flat[name].to_pylist() for name in LISTS if name != "tokens"]
    code_bounds = code_bounds - code_bounds[0]
    spans = [
        SpokenSpan(start, end, words, spoken, speaker, verdict, codes[code_bounds[at] : code_bounds[at + 1]])
        for at, (start, end, words, spoken, speaker, verdict) in enumerate(zip(*values, strict=True))
    ]
    texts = zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
    documents = [SpokenDocument(id, text, spans[bounds[row] : bounds[row + 1]]) for row, (id, text) in enumerate(texts)]
    return documents, Fingerprints(**marks), num_bad
