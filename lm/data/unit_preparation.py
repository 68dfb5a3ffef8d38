"""Units of lm.prepare: parts of the texts or of the tokenised speech, and the workers that write each as a shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from corpus.clip_job import read_found
from corpus.features import StoredFeatures, feature_groups, read_feature_index
from corpus.manifest import BadRecord
from corpus.text.spoken_form import in_words
from corpus.tokens import TokenisedUtterance, read_token_groups, token_groups
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.unit import Unit
from runtime.bulk.workers import UnitFunction
from runtime.errors import UserError

from .clip_source import SplitClip, heard_clips, reason_of, stored_clips
from .clips import ClipDocument, ClipRecord
from .corpora import SPLITS
from .corpus_job import write_shard
from .formats import asr_document, speech_document, text_document, tts_document
from .preparation_config import LmPrepareConfig
from .readers import split_parts
from .text_files import BrokenFile, Columns, FilePart, SizedPart, TextDocument, TextReader, file_parts, list_files
from .vector_clips import StoredClips, open_clips
from .vector_config import VECTORS
from .vocabulary import Ids, Vocabulary

MEGABYTE = 1 << 20


class UnitSource(Protocol):
    """The documents of a unit."""

    @property
    def clips(self) -> ClipRecord | None:
        """Of documents with clips; None where there are none."""
        ...

    def read(self, work: dict[str, Any]) -> Iterator[Ids | ClipDocument | BadRecord | BrokenFile]:
        """The documents in order, and what cannot be one."""
        ...


def plan_units(config: LmPrepareConfig, format: str, found: Mapping[str, Sequence[Path]]) -> list[Unit]:
    """The units of a format, in the order of its sources, of ``unit_megabytes`` where these can be cut so.

    Args:
        config: the options.
        format: of the documents.
        found: split -> files of a search for clips (`corpus.clip_job.read_found`), for recordings as vectors.
    """
    return [
        Unit(f"{split}/unit-{number:06d}", {"split": split, "format": format, "parts": parts})
        for split in SPLITS
        for number, parts in enumerate(
            _grouped(_parts(config, format, split, found.get(split, ())), config.unit_megabytes * MEGABYTE)
        )
    ]


def _parts(config: LmPrepareConfig, format: str, split: str, found: Sequence[Path]) -> Iterator[SizedPart]:
    if format == "text":
        source, most = config.source_of_texts(split), round(config.unit_megabytes * MEGABYTE)
        for text_file in list_files(source) if source else ():
            yield from file_parts(text_file, most)
        return
    for file in found:
        yield SizedPart(FilePart(str(file.absolute())), file.stat().st_size)
    name = config.source_split(split)
    if config.vectors.features and name:
        index = StoredFeatures(Path(config.vectors.features).absolute()).index_of(name)
        yield from _groups(index, feature_groups(index))
    for file in split_parts(Path(config.tokens).absolute(), name) if config.tokens else ():
        yield from _groups(file, token_groups(file))


def _groups(file: Path, sizes: Sequence[int]) -> Iterator[SizedPart]:
    yield from (SizedPart(FilePart(str(file), group, group + 1), size) for group, size in enumerate(sizes))


def _grouped(parts: Iterator[SizedPart], most: float) -> Iterator[list[FilePart]]:
    group: list[FilePart] = []
    total = 0
    for part, size in parts:
        if group and total + size > most:
            yield group
            group, total = [], 0
        group.append(part)
        total += size
    if group:
        yield group


def num_files(units: Iterable[Unit]) -> int:
    """Files that the units read."""
    return sum(part[1] == 0 for unit in units for part in unit.work["parts"])


def open_preparer(config: LmPrepareConfig, number: int) -> UnitFunction:
    """Load the vocabulary in a worker process (`runtime.bulk.workers.ConfiguredWork`)."""
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    sources: dict[str, UnitSource] = {}

    def prepare(attempt: UnitAttempt) -> dict[str, Any]:
        format = attempt.unit.work["format"]
        if format not in sources:
            sources[format] = open_source(config, format, vocabulary)
        return prepare_unit(attempt, sources[format], vocabulary)

    return prepare


def open_source(config: LmPrepareConfig, format: str, vocabulary: Vocabulary) -> UnitSource:
    """The source of a format: texts, speech tokens, or clips."""
    if format == "text":
        return TextUnits(config, vocabulary)
    if config.speech == VECTORS:
        return ClipUnits(config, format, vocabulary)
    return SpeechUnits(config, format, vocabulary)


def prepare_unit(attempt: UnitAttempt, source: UnitSource, vocabulary: Vocabulary) -> dict[str, Any]:
    """Write the shard of a unit; returns its counts, and what was left out: ``bad`` and ``broken``."""
    left_out, bad, broken, num_records = Counter[str](), list[BadRecord](), list[BrokenFile](), 0
    result: dict[str, Any] = {}
    with write_shard(attempt, vocabulary, result, source.clips) as shard:
        for item in source.read(attempt.unit.work):
            if isinstance(item, BrokenFile):
                broken.append(item)
                continue
            num_records += 1
            if isinstance(item, BadRecord):
                bad.append(item)
                left_out[reason_of(item.reason)] += 1
            elif isinstance(item, ClipDocument):
                shard.add(item.ids, item.clips)
            else:
                shard.add(item)
    return result | {
        "tokens": result["shard"]["text_tokens"] + result["shard"]["speech_tokens"],
        "records": num_records,
        "left_out": dict(left_out),
        "bad": [[one.place, one.reason] for one in bad],
        "broken": [list(one) for one in broken],
    }


class TextUnits:
    """Documents of parts of texts; see `UnitSource`."""

    clips = None

    def __init__(self, config: LmPrepareConfig, vocabulary: Vocabulary) -> None:
        self.reader, self.vocabulary = TextReader(Columns(text=config.text_column)), vocabulary

    def read(self, work: dict[str, Any]) -> Iterator[Ids | BadRecord | BrokenFile]:
        """A document for each text."""
        for part in work["parts"]:
            for item in self.reader.read_part(FilePart(*part)):
                yield text_document(item.text, self.vocabulary) if isinstance(item, TextDocument) else item


class SpeechUnits:
    """Documents of one format of row groups of tokenised utterances; see `UnitSource`."""

    clips = None

    def __init__(self, config: LmPrepareConfig, format: str, vocabulary: Vocabulary) -> None:
        self.format, self.vocabulary = format, vocabulary
        self.kinds, self.is_spoken = config.kinds.get(format, ()), config.is_spoken(format)

    def read(self, work: dict[str, Any]) -> Iterator[Ids | BadRecord]:
        """A document for each utterance of the wanted kinds that can be used."""
        for file, start, end in work["parts"]:
            speech = read_token_groups(Path(file), range(start, end))
            self.vocabulary.check_speech_tokenizer(speech.tokenizer, file)
            for item in speech.items:
                if self.kinds and item.kind not in self.kinds:
                    continue
                reason = self._reason_to_leave_out(item)
                yield BadRecord(f"{file}, {item.id}", reason) if reason else self._document(item)

    def _reason_to_leave_out(self, item: TokenisedUtterance) -> str:
        if not len(item.tokens):
            return "no tokens"
        if self.format != "speech" and not item.text.strip():
            return "no transcript"
        if self.format == "tts" and item.speaker not in self.vocabulary.speakers:
            return "a speaker without a tag in the vocabulary"
        return ""

    def _document(self, item: TokenisedUtterance) -> Ids:
        if self.format == "speech":
            return speech_document(item.tokens, self.vocabulary)
        text = in_words(item.text) if self.is_spoken else item.text
        if self.format == "asr":
            return asr_document(item.tokens, text, self.vocabulary)
        return tts_document(text, item.tokens, item.speaker, self.vocabulary)


class ClipUnits:
    """Documents of the format asr with clips and their transcripts; see `UnitSource`."""

    def __init__(self, config: LmPrepareConfig, format: str, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.clip_maker = vocabulary, open_clips(config.vectors, vocabulary)
        self.kinds, self.is_spoken = config.kinds.get(format, ()), config.is_spoken(format)
        self.max_seconds = config.vectors.max_seconds
        self.clips: ClipRecord | None = self.clip_maker.record

    def read(self, work: dict[str, Any]) -> Iterator[ClipDocument | BadRecord]:
        """A document for each clip that can be used, in the corpus's order."""
        for file, start, end in work["parts"]:
            for clip in self._clips(Path(file), range(start, end)):
                yield clip if isinstance(clip, BadRecord) else self._document(clip)

    def _clips(self, file: Path, groups: Sequence[int]) -> Iterator[SplitClip | BadRecord]:
        if isinstance(self.clip_maker, StoredClips):
            utterances = read_feature_index(file, groups)
            return stored_clips(self.clip_maker, utterances, self.max_seconds, self.kinds)
        return heard_clips(self.clip_maker, read_found(file))

    def _document(self, clip: SplitClip) -> ClipDocument | BadRecord:
        """A clip and its transcript; a `BadRecord` where it has none, or no vector."""
        if not clip.text:
            return BadRecord(clip.where, "no transcript")
        try:
            span = clip.span()
        except UserError as error:
            return BadRecord(clip.where, error.found)
        words = in_words(clip.text) if self.is_spoken else clip.text
        return ClipDocument(asr_document(span.codes, words, self.vocabulary), [span.clip])
