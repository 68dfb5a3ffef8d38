"""An item of an evaluation set: its prompt in text and in speech, and the fields that a scoring rule needs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from corpus.audio.files import SAMPLE_RATE, Samples
from corpus.audio.segments import AudioSegment, read_segment
from corpus.manifest import BadRecord


@dataclass(frozen=True, eq=False)
class ItemAudio:
    """The speech of an item: a file, or the bytes of one (a column of Parquet).

    Attributes:
        name: of the audio in errors.
        file: its path.
        content: the file's bytes, where they lie in a table.
    """

    name: str
    file: Path | None = None
    content: bytes | None = None

    def read(self, sample_rate: int = SAMPLE_RATE) -> Samples:
        """The samples, (S,) float32 mono at ``sample_rate``.

        Raises:
            UserError: no audio, or a broken one.
        """
        segment = AudioSegment(self.file or Path(self.name))
        content = None if self.content is None else io.BytesIO(self.content)
        return read_segment(segment, sample_rate, content=content, name=self.name)


@dataclass(frozen=True, kw_only=True)
class EvaluationItem:
    """One item.

    Attributes:
        id: unique in its set.
        prompt: what is asked, in text.
        audio: the same in speech; None where the set has none.
        subset: part of the set that is scored by itself; "" where there are no parts.
        voice: that speaks its audio, where the set says so.
        references: right answers, any of which will do; none where answers are rated.
        details: further fields that the rules of its benchmark need.
        answer_text: its answer as a worked example shows it; "" for the first reference.
        answer_audio: the same in speech; None where there is none.
    """

    id: str
    prompt: str
    audio: ItemAudio | None = None
    subset: str = ""
    voice: str = ""
    references: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    answer_text: str = ""
    answer_audio: ItemAudio | None = None


class WorkedExample(NamedTuple):
    """A question with its answer, shown to a model in front of another question; in speech where it has audio."""

    prompt: str
    answer: str
    id: str = ""
    audio: ItemAudio | None = None
    answer_audio: ItemAudio | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """The items of a set, and the rows that were left out.

    Attributes:
        name: of the benchmark.
        source: file or folder.
        digest: of the items, audio included: what a score is stamped with.
        items: in the order of the source.
        left_out: bad rows, each with its place and the reason.
        repeated: ids of items whose prompt an earlier item has too (they are scored like all others).
    """

    name: str
    source: str
    digest: str
    items: tuple[EvaluationItem, ...]
    left_out: tuple[BadRecord, ...] = ()
    repeated: tuple[str, ...] = ()
