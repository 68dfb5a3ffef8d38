"""The file of a synthesised unit: Parquet, one row a document, its spans as lists; read by `text2token.pack`.

Columns: id, text, and for each span ``starts`` and ``ends`` (characters of the text), ``words`` (their number),
``spoken`` (the text as the model got it), ``speakers``, ``verdicts`` (``good``, or why the span stays text) and
``tokens`` (empty unless good). A unit of `text2token.aloud` has ``offsets``, ``bytes`` and ``samples`` besides: the
places of the spans' audio in the unit's tar (0 unless good). The same documents give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.audio.archives import ClipPlace
from corpus.text.words import count_words
from runtime.errors import UserError
from text2token.gate import EMPTY, GOOD
from text2token.spans.layout import Span
from text2token.speech_generation import NO_CODES, Codes, SynthesisRequest

# One item for each span, in the order of the fields of SpokenSpan.
LISTS = ("starts", "ends", "words", "spoken", "speakers", "verdicts", "tokens")
PLACES = ("offsets", "bytes", "samples")  # of audio, in the order of the fields of ClipPlace
NO_CLIP = ClipPlace(0, 0, 0)
REMAKE = "remove it and run text2token.synthesize (or aloud) again"


@dataclass(frozen=True, eq=False)
class SpokenSpan:
    """A span, and its speech tokens, or the place of its audio in the unit's tar, if the verdict is ``good``."""

    start: int
    end: int
    num_words: int
    spoken: str
    speaker: str
    verdict: str
    tokens: Codes
    clip: ClipPlace | None = None

    @classmethod
    def unspoken(cls, span: Span, request: SynthesisRequest) -> SpokenSpan:
        """A span whose speech is still to be made."""
        return cls(span.start, span.end, span.num_words, request.text, request.speaker, EMPTY, NO_CODES)


@dataclass(frozen=True, eq=False)
class SpokenDocument:
    """A text and its spans, in order."""

    id: str
    text: str
    spans: list[SpokenSpan]

    def pieces(self) -> list[str | Codes]:
        """Texts and speech tokens in turn; spans that did not pass the gate are text."""
        pieces: list[str | Codes] = []
        at = 0
        for span in self.spans:
            if span.verdict == GOOD:
                pieces += [self.text[at : span.start], span.tokens]
                at = span.end
        return [*pieces, self.text[at:]]


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of the vocabulary, speech tokenizer and model of a unit's tokens."""

    vocabulary: str
    speech_tokenizer: str
    model: str


@dataclass
class SynthesisCounts:
    """Sums over the documents of one unit, or of many.

    Attributes:
        documents: number of texts.
        words: of the texts.
        chosen_words: words of all spans.
        spoken_words: words of the spans that became speech.
        spans: number of all spans.
        tokens: speech tokens.
        samples: of audio, at 16 kHz.
        rejected: verdict -> number of spans that stay text for it.
        lengths: number of words -> number of spans of this length that became speech.
        speakers: speaker -> number of spans that became speech.
    """

    documents: int = 0
    words: int = 0
    chosen_words: int = 0
    spoken_words: int = 0
    spans: int = 0
    tokens: int = 0
    samples: int = 0
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
            self.samples += 0 if span.clip is None else span.clip.samples
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
        """Add the counts of a `record` (its other items are ignored)."""
        for name, mine in vars(self).items():
            if isinstance(mine, int):
                setattr(self, name, mine + record.get(name, 0))  # samples are missing in older records
            elif isinstance(mine, dict):
                for key, count in record[name].items():
                    _count(mine, key, count)

    @property
    def num_rejected(self) -> int:
        """Number of spans that stay text."""
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


def clip_key(unit: str, document: int, span: int) -> str:
    """The key of a span's audio in a unit's tar: the unit's name, the numbers of the document and of the span in it."""
    return f"{unit.replace('/', '-')}-{document:05d}-{span:04d}"


def write_unit(
    path: Path,
    documents: Sequence[SpokenDocument],
    fingerprints: Fingerprints,
    num_bad: int,
    *,
    has_clips: bool = False,
) -> None:
    """Write a unit of which ``num_bad`` records were left out; ``has_clips``: its speech is audio."""
    string, number = pa.string(), pa.int32()
    kinds = dict(zip(LISTS, (number, number, number, string, string, string, pa.list_(pa.uint16())), strict=True))
    metadata = {"text2token": json.dumps(vars(fingerprints) | {"bad_lines": num_bad}, sort_keys=True)}
    columns = [("id", pa.string()), ("text", pa.string()), *((name, pa.list_(kind)) for name, kind in kinds.items())]
    lists = {
        name: [[getattr(span, attribute.name) for span in document.spans] for document in documents]
        for name, attribute in zip(LISTS, fields(SpokenSpan)[: len(LISTS)], strict=True)
    }
    if has_clips:
        columns += [(name, pa.list_(pa.int64())) for name in PLACES]
        for at, name in enumerate(PLACES):
            lists[name] = [[(span.clip or NO_CLIP)[at] for span in document.spans] for document in documents]
    texts = {"id": [document.id for document in documents], "text": [document.text for document in documents]}
    pq.write_table(pa.table(texts | lists, schema=pa.schema(columns, metadata)), path, compression="zstd")


def read_unit(path: Path) -> tuple[list[SpokenDocument], Fingerprints, int]:
    """The documents of a unit, their fingerprints, and the number of records left out.

    Raises:
        UserError: a file that is missing, damaged or of another kind.
    """
    try:
        table = pq.read_table(path)
        record = json.loads((table.schema.metadata or {})[b"text2token"])
        num_bad = int(record.pop("bad_lines"))
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
    clips = _clips(table, len(values[0]))
    spans = [
        SpokenSpan(start, end, words, spoken, speaker, verdict, codes[code_bounds[at] : code_bounds[at + 1]], clips[at])
        for at, (start, end, words, spoken, speaker, verdict) in enumerate(zip(*values, strict=True))
    ]
    texts = zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
    documents = [SpokenDocument(id, text, spans[bounds[row] : bounds[row + 1]]) for row, (id, text) in enumerate(texts)]
    return documents, Fingerprints(**record), num_bad


def _clips(table: pa.Table, num_spans: int) -> list[ClipPlace | None]:
    """The place of each span's audio."""
    if PLACES[0] not in table.column_names:
        return [None] * num_spans
    places = zip(*(table[name].combine_chunks().flatten().to_pylist() for name in PLACES), strict=True)
    return [ClipPlace(*place) if place[1] else None for place in places]
