"""Dialogues with recorded questions and written replies -> LM documents with clips, for speech read as vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from corpus.audio.segments import AudioSegment
from corpus.features import FeatureUtterance
from corpus.manifest import BadRecord
from corpus.speech_clips import ClipRequest, SpeechClip
from lm.data.clip_source import reason_of
from lm.data.clips import AudioClip, ClipDocument, ClipRecord, FeatureClip
from lm.data.formats import Codes
from lm.data.vector_clips import EncodedClips, StoredClips, VectorSpan, open_clips
from lm.data.vector_config import VectorsConfig
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError

from .dialogue_files import Dialogue, DialogueTurn, TurnPart
from .lm_documents import DialogueDocuments


class QuestionClips:
    """Clips of questions.

    Args:
        vectors: the encoder, or stored features.
        vocabulary: of one speech token.

    Attributes:
        record: of the corpus's clips.
    """

    def __init__(self, vectors: VectorsConfig, vocabulary: Vocabulary) -> None:
        self.clips = open_clips(vectors, vocabulary)
        self.record: ClipRecord = self.clips.record

    def span(self, part: SpeechClip | BadRecord | FeatureUtterance) -> VectorSpan:
        """A recording that was found (or stored vectors) as speech of a document.

        Raises:
            UserError: one that cannot be used.
        """
        if isinstance(part, FeatureUtterance):
            assert isinstance(self.clips, StoredClips)
            return self.clips.span(part)
        if isinstance(part, BadRecord):
            raise UserError(part.place, found=part.reason, remedy="correct the record")
        assert isinstance(self.clips, EncodedClips)
        return self.clips.span(part.place, part.length)


class ClipDialogueDocuments:
    """Makes documents with clips of dialogues whose questions have recordings; their replies are text.

    Args:
        documents: the layout; what is left out is counted there.
        clips: of the questions.

    Attributes:
        bad: recordings that cannot be used; their dialogues are left out.
    """

    def __init__(self, documents: DialogueDocuments, clips: QuestionClips) -> None:
        self.layout, self.clips = documents, clips
        self.bad: list[BadRecord] = []

    def documents(
        self, dialogues: Iterable[Dialogue], found: Iterator[SpeechClip | BadRecord]
    ) -> Iterator[ClipDocument]:
        """The documents of each dialogue: as it is, then typed where that is drawn and its words are known.

        Args:
            dialogues: as they were read.
            found: their `recordings`, in order.
        """
        for dialogue in dialogues:
            written = replace(dialogue, turns=[replace(turn, tokens=None) for turn in dialogue.turns])
            questions = written.turns[::2]
            speech = [
                next(found) if isinstance(part, AudioSegment) else part
                for question in questions
                for part in parts_of(question)
                if not isinstance(part, str)
            ]
            try:
                left = iter([self.clips.span(part) for part in speech])
            except UserError as error:
                self.layout.skipped[reason_of(error.found)] += 1
                self.bad.append(BadRecord(error.subject, error.found))
                continue
            spans = [[next(left) for part in parts_of(one) if not isinstance(part, str)] for one in questions]
            said = [self._content(question, own) for question, own in zip(questions, spans, strict=True)]
            for row, turns in self.layout.cut(written, said):
                clips: list[AudioClip | FeatureClip] = [span.clip for number in turns for span in spans[number]]
                yield ClipDocument(row, clips)
            is_heard = any(spans) and all(question.text for question in questions)
            if is_heard and self.layout.is_typed(dialogue):
                for row, _ in self.layout.cut(written, [question.text for question in questions]):
                    yield ClipDocument(row, [])

    def _content(self, question: DialogueTurn, spans: Sequence[VectorSpan]) -> str | list[Codes | str]:
        """A question as `lm.data.formats` takes it."""
        if not spans:
            return question.text
        left = iter(spans)
        return [part if isinstance(part, str) else next(left).codes for part in parts_of(question)]


def recordings(dialogues: Iterable[Dialogue]) -> Iterator[ClipRequest]:
    """The recordings of the questions, in order."""
    for dialogue in dialogues:
        for question in dialogue.turns[::2]:
            yield from (ClipRequest(part) for part in parts_of(question) if isinstance(part, AudioSegment))


def parts_of(question: DialogueTurn) -> Sequence[TurnPart]:
    """The parts of a question: those that it has, its recording, or its text."""
    if question.parts:
        return question.parts
    segment = question.segment
    return (segment,) if segment is not None else (question.text,)
