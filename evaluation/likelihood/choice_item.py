"""Items that are scored by likelihood: a context and candidate continuations, of which one is right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corpus.manifest import BadRecord
from evaluation.sets.item import ItemAudio


@dataclass(frozen=True, kw_only=True)
class ChoicePart:
    """A context or a candidate, in text, in speech, or in both.

    Attributes:
        id: under which `tokenizer.encode` may have encoded it.
        text: its words.
        audio: its sound.
        codes: its speech codes.
    """

    id: str
    text: str | None = None
    audio: ItemAudio | None = None
    codes: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ChoiceItem:
    """One item.

    Attributes:
        id: unique in its set.
        context: of all candidates; None where the candidates stand alone.
        candidates: two or more.
        correct: index of the right one.
        subset: part of the set that is scored by itself; "" where there are no parts.
        cluster: items of one cluster are drawn together by the bootstrap of the intervals; "": alone.
        speech_tokenizer: fingerprint of the tokenizer that made the codes; "" where the set does not say.
    """

    id: str
    context: ChoicePart | None
    candidates: tuple[ChoicePart, ...]
    correct: int = 0
    subset: str = ""
    cluster: str = ""
    speech_tokenizer: str = ""

    def parts(self) -> Iterator[ChoicePart]:
        """The context, where there is one, and the candidates."""
        if self.context is not None:
            yield self.context
        yield from self.candidates


@dataclass(frozen=True, kw_only=True)
class ChoiceSet:
    """The items of a set, and the rows that were left out.

    Attributes:
        digest: of the items, audio included: what a score is stamped with.
        items: in the order of the source.
        left_out: bad rows, each with its place and the reason.
        repeated: number of items that are equal to an earlier one but for the id.
    """

    digest: str
    items: tuple[ChoiceItem, ...]
    left_out: tuple[BadRecord, ...] = ()
    repeated: int = 0


def choice_digest(items: Iterable[ChoiceItem]) -> str:
    """A 16-digit digest of items: texts, codes, the right answers and the bytes of the audio."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps([item.id, item.subset, item.correct, item.context is None]).encode())
        digest.update(_content(item))
    return digest.hexdigest()[:16]


def count_repeated(items: Iterable[ChoiceItem]) -> int:
    """The number of items whose parts an earlier item has too."""
    contents = [_content(item) for item in items]
    return len(contents) - len(set(contents))


def _content(item: ChoiceItem) -> bytes:
    digest = hashlib.sha256()
    for part in item.parts():
        digest.update(json.dumps([part.text, part.codes], ensure_ascii=False).encode())
        if part.audio is not None:
            content = part.audio.content
            if content is None and part.audio.file is not None:
                content = part.audio.file.read_bytes()
            digest.update(hashlib.sha256(content or b"").digest())
    return digest.digest()
