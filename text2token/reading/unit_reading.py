"""Workers of the reading aloud: a unit's texts -> a tar of its spans' audio, their cuts, and a file of documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corpus.audio.archives import CUTS_SUFFIX, ClipArchive, cut_line, write_archive
from corpus.audio.room_simulation import record_in_room
from corpus.manifest import BadRecord
from lm.data.text_files import TextDocument, TextReader
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.workers import UnitFunction
from runtime.chat_endpoint import UnansweredError
from text2token.gate import GOOD, UNANSWERED, judge_audio
from text2token.speaker_shares import voice_shares
from text2token.speech_generation import SynthesisRequest
from text2token.synthesis.plan import record_range
from text2token.synthesis.span_plan import PlannedSpan, plan_spans, reseeded
from text2token.synthesis.unit_file import (
    Fingerprints,
    SpokenDocument,
    SpokenSpan,
    SynthesisCounts,
    clip_key,
    write_unit,
)

from .base import ReadSpan, SpanReader
from .config import AloudConfig
from .table import open_span_reader

CUTS = CUTS_SUFFIX.removeprefix(".")
KIND = "span"  # of the utterances


@dataclass(frozen=True, kw_only=True)
class ReadingWork:
    """The `runtime.bulk.workers.Work` of a reading aloud.

    Attributes:
        config: the stage's options, with absolute paths of models.
        fingerprint: of the reader.
    """

    config: AloudConfig
    fingerprint: str

    def start(self, number: int) -> UnitFunction:
        """Open the reader in worker ``number``."""
        spans = SpanAudio(open_span_reader(self.config, self.config.device(number)), self.config)
        spans.reader.check()
        texts = TextReader(self.config.columns)
        return lambda attempt: read_unit_aloud(attempt, texts, spans, self.fingerprint)


class SpanAudio:
    """Audio of the spans of documents: planned, read aloud, judged; spans that fail are read again by another seed.

    Args:
        reader: of the spans.
        config: the options.
    """

    def __init__(self, reader: SpanReader, config: AloudConfig) -> None:
        self.reader, self.config = reader, config
        self.speakers = voice_shares(config.speakers, reader.voices)

    def read(
        self, documents: Sequence[TextDocument], pass_number: int, unit: str, archive: ClipArchive
    ) -> list[SpokenDocument]:
        """The documents with spans; the audio of the good ones is written into ``archive``, in order.

        Args:
            documents: of a unit.
            pass_number: each pass draws other spans.
            unit: its name.
            archive: of the unit.
        """
        spoken = [SpokenDocument(one.id, one.text, []) for one in documents]
        pending: list[tuple[int, int, SynthesisRequest]] = []  # a document's number, a span's number in it
        for number, document in enumerate(documents):
            for at, (span, request) in enumerate(self._plan(document, pass_number)):
                spoken[number].spans.append(SpokenSpan.unspoken(span, request))
                pending.append((number, at, request))
        read: dict[tuple[int, int], ReadSpan] = {}
        for attempt in range(self.config.retries + 1):
            if not pending:
                break
            requests = [reseeded(request, attempt) if attempt else request for _, _, request in pending]
            for (number, at, request), one in zip(pending, self.reader.read(requests), strict=True):
                read[number, at] = self._judged(request, one)
            pending = [row for row in pending if read[row[0], row[1]].verdict != GOOD]
        self._check_answered(list(read.values()))
        for (number, at), one in sorted(read.items(), key=lambda item: item[0]):
            clip = None
            if one.verdict == GOOD:
                id = f"{pass_number} {documents[number].id} {at}"
                audio = record_in_room(one.audio, id, self.config.room, self.config.seed)
                clip = archive.add(clip_key(unit, number, at), audio)
            spans = spoken[number].spans
            spans[at] = dataclasses.replace(spans[at], verdict=one.verdict, clip=clip)
        return spoken

    def _check_answered(self, spans: Sequence[ReadSpan]) -> None:
        """Fail the unit, which is tried again, where a server left more than a few of its spans unanswered."""
        unanswered = sum(one.verdict == UNANSWERED for one in spans)
        if unanswered > max(self.config.requests.max_failed_share * len(spans), 1):
            raise UnansweredError(f"{unanswered} of {len(spans)} spans have no answer of the server")

    def _plan(self, document: TextDocument, pass_number: int) -> list[PlannedSpan]:
        config = self.config
        return plan_spans(
            document,
            pass_number,
            seed=config.seed,
            spans=config.spans,
            speakers=self.speakers,
            spoken=config.written_out,
        )

    def _judged(self, request: SynthesisRequest, read: ReadSpan) -> ReadSpan:
        if read.verdict != GOOD:
            return read
        return ReadSpan(read.audio, judge_audio(request.text, read.audio, self.config.max_seconds, self.config.gate))


def read_unit_aloud(attempt: UnitAttempt, texts: TextReader, spans: SpanAudio, fingerprint: str) -> dict[str, Any]:
    """Write a unit's files; returns its `SynthesisCounts`, and the records left out as ``bad``."""
    documents: list[TextDocument] = []
    bad: list[BadRecord] = []
    for item in texts.read(record_range(attempt.unit)):
        if isinstance(item, TextDocument):
            documents.append(item)
        else:
            bad.append(item)
    name = attempt.unit.name
    with write_archive(attempt.path("tar")) as archive:
        spoken = spans.read(documents, attempt.unit.work["pass"], name, archive)
    counts, cuts = SynthesisCounts(), []
    for number, document in enumerate(spoken):
        counts.add(document)
        for at, span in enumerate(document.spans):
            if span.clip is not None:
                cut = cut_line(
                    clip_key(name, number, at), span.clip.samples, text=span.spoken, speaker=span.speaker, kind=KIND
                )
                cuts.append(cut)
    attempt.path(CUTS).write_text("".join(cuts), encoding="utf-8")
    fingerprints = Fingerprints(vocabulary="", speech_tokenizer="", model=fingerprint)
    write_unit(attempt.path("parquet"), spoken, fingerprints, len(bad), has_clips=True)
    return counts.record() | {"bad": [[record.place, record.reason] for record in bad]}
