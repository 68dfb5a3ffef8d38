"""Dialogues with recorded questions and written replies -> LM documents with clips, for speech read as vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from corpus.audio.segments import AudioSegment
from corpus.features import FeatureUtterance
from corpus.speech_clips import SegmentArchive, place_clip
from lm.data.clips import AudioClip, ClipDocument, ClipRecord, FeatureClip
from lm.data.formats import Codes
from lm.data.vector_clips import StoredClips, VectorSpan, open_clips
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
        self.clips, self.max_seconds = open_clips(vectors, vocabulary), vectors.max_seconds
        self.record: ClipRecord = self.clips.record

    def span(self, part: AudioSegment | FeatureUtterance, segments: SegmentArchive) -> VectorSpan:
        """A recording (or stored vectors) as speech of a document.

        Raises:
            UserError: one that cannot be used; stored vectors are wanted, and it is a recording.
        """
        if isinstance(part, FeatureUtterance):
            assert isinstance(self.clips, StoredClips)
            return self.clips.span(part)
        if isinstance(self.clips, StoredClips):
            found = "a recording, of which there are no stored features"
            raise UserError(str(part.audio), found=found, remedy="give vectors.encoder")
        place, length = place_clip(part, segments, self.max_seconds)
        return self.clips.span(place, length)


class ClipDialogueDocuments:
    """Makes documents with clips of dialogues whose questions have recordings; their replies are text.

    Args:
        documents: the layout; what is left out is counted there.
        clips: of the questions.
        segments: receives those that are parts of longer recordings.
    """

    def __init__(self, documents: DialogueDocuments, clips: QuestionClips, segments: SegmentArchive) -> None:
        self.layout, self.clips, self.segments = documents, clips, segments

    def documents(self, dialogues: Iterable[Dialogue]) -> Iterator[ClipDocument]:
        """The documents of each dialogue: as it is, then typed where that is drawn and its words are known."""
        for dialogue in dialogues:
            written = replace(dialogue, turns=[replace(turn, tokens=None) for turn in dialogue.turns])
            questions = written.turns[::2]
            try:
                spans = [self._spans(question) for question in questions]
            except UserError as error:
                self.layout.skipped[error.found.split(" (")[0]] += 1
                continue
            said = [self._content(question, own) for question, own in zip(questions, spans, strict=True)]
            for row, turns in self.layout.cut(written, said):
                clips: list[AudioClip | FeatureClip] = [span.clip for number in turns for span in spans[number]]
                yield ClipDocument(row, clips)
            is_heard = any(spans) and all(question.text for question in questions)
            if is_heard and self.layout.is_typed(dialogue):
                for row, _ in self.layout.cut(written, [question.text for question in questions]):
                    yield ClipDocument(row, [])

    def _spans(self, question: DialogueTurn) -> list[VectorSpan]:
        return [self.clips.span(part, self.segments) for part in parts_of(question) if not isinstance(part, str)]

    def _content(self, question: DialogueTurn, spans: Sequence[VectorSpan]) -> str | list[Codes | str]:
        """A question as `lm.data.formats` takes it."""
        if not spans:
            return question.text
        left = iter(spans)
        return [part if isinstance(part, str) else next(left).codes for part in parts_of(question)]


def parts_of(question: DialogueTurn) -> Sequence[TurnPart]:
    """The parts of a question: those that it has, its recording, or its text."""
    if question.parts:
        return question.parts
    segment = question.segment
    return (segment,) if segment is not None else (question.text,)
