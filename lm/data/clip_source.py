"""Clips of a split of a speech corpus, or of stored features, for documents of speech that is read as vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from corpus.clip_job import ClipJob
from corpus.features import FeatureUtterance
from corpus.manifest import BadRecord
from corpus.speech_clips import SpeechClip

from .vector_clips import EncodedClips, StoredClips, VectorSpan


class SplitClip(NamedTuple):
    """A clip of a split of a corpus.

    Attributes:
        id: of the utterance.
        text: its transcript, "" where unknown.
        where: it lies, for errors.
        span: makes it speech of a document; raises a `UserError` where it has no vector.
    """

    id: str
    text: str
    where: str
    span: Callable[[], VectorSpan]


def clips_of_split(
    clips: EncodedClips | StoredClips,
    corpus: str,
    split: str,
    search: ClipJob,
    *,
    kinds: Sequence[str] = (),
    max_bad_share: float,
) -> Iterator[SplitClip | BadRecord]:
    """The clips of a split, in its order, and its bad records; too long ones for the search are among these.

    Args:
        clips: of stored features, whose split it is; or of recordings.
        corpus: folder of the recordings.
        split: its name.
        search: for the clips among the recordings.
        kinds: of the utterances (none: all).
        max_bad_share: share of bad records of the corpus that is tolerated.
    """
    if isinstance(clips, StoredClips):
        yield from stored_clips(clips, clips.features.utterances(split), search.max_seconds, kinds)
        return
    yield from heard_clips(clips, search.of_split(Path(corpus), split, kinds=kinds, max_bad_share=max_bad_share))


def stored_clips(
    clips: StoredClips, utterances: Iterable[FeatureUtterance], max_seconds: float, kinds: Sequence[str]
) -> Iterator[SplitClip | BadRecord]:
    """Stored features as clips: those of the kinds (none: all); too long ones are bad records."""
    for one in utterances:
        where = f"{clips.features.file(one)}, {one.id}"
        if one.duration > max_seconds:
            yield BadRecord(where, f"longer than vectors.max_seconds={max_seconds:g} ({one.duration:.1f} s)")
        elif not kinds or one.kind in kinds:
            yield SplitClip(one.id, one.text, where, partial(clips.span, one))


def heard_clips(clips: EncodedClips, found: Iterable[SpeechClip | BadRecord]) -> Iterator[SplitClip | BadRecord]:
    """Recordings that a search found, as clips."""
    for clip in found:
        if isinstance(clip, BadRecord):
            yield clip
        else:
            where = f"{clip.place.file}, {clip.id}"
            yield SplitClip(clip.id, clip.text, where, partial(clips.span, clip.place, clip.length))


def reason_of(reason: str) -> str:
    """A reason to count by: without what stands in brackets."""
    return reason.split(" (")[0]
