"""The built-in corpus's spoken questions as dialogues of one exchange: every spoken version of a question is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from corpus.errors import UserError
from corpus.questions import AskedQuestion
from corpus.text import normalise
from corpus.tokens import TokenisedUtterance

from .dialogue import Dialogue, DialogueTurn

QUESTION, REPLY = "question", "reply"


def asked_dialogues(
    items: Sequence[TokenisedUtterance],
    questions: Mapping[str, AskedQuestion],
    replies: Mapping[str, npt.NDArray[np.uint16]],
    voice: str,
    skipped: Counter[str],
) -> Iterator[Dialogue]:
    """One dialogue for each spoken question that has a spoken reply.

    Args:
        items: tokenised utterances; those of kind question are taken.
        questions: by normalised words (`corpus.questions.read_questions`).
        replies: reply text -> its speech tokens (`spoken_replies`).
        voice: whose they are.
        skipped: counts by reason the questions left out.
    """
    for item in items:
        if item.kind != QUESTION:
            continue
        asked = questions.get(normalise(item.text))
        speech = replies.get(normalise(asked.reply)) if asked else None
        if asked is None or speech is None:
            skipped["no such question in questions.jsonl" if asked is None else "no spoken reply"] += 1
            continue
        question = DialogueTurn(role="user", text=item.text, tokens=item.tokens, speaker=item.speaker)
        reply = DialogueTurn(role="assistant", text=asked.reply, tokens=speech, speaker=voice)
        yield Dialogue(id=item.id, turns=[question, reply])


def reply_voice(items: Sequence[TokenisedUtterance], subject: str) -> str:
    """The voice that speaks most of the replies; the first by name among equals."""
    counts = Counter(item.speaker for item in items if item.kind == REPLY)
    if not counts:
        remedy = 'the training split needs replies (kind "reply") in one voice: build the corpus again'
        raise UserError(subject, found="no spoken reply", remedy=remedy)
    return min(counts, key=lambda speaker: (-counts[speaker], speaker))


def spoken_replies(items: Sequence[TokenisedUtterance], voice: str, subject: str) -> dict[str, npt.NDArray[np.uint16]]:
    """Reply text -> its speech tokens in ``voice`` (the first recording of several)."""
    replies: dict[str, npt.NDArray[np.uint16]] = {}
    for item in items:
        if item.kind == REPLY and item.speaker == voice and len(item.tokens):
            replies.setdefault(normalise(item.text), item.tokens)
    if not replies:
        known = ", ".join(sorted({item.speaker for item in items if item.kind == REPLY}))
        found = f"no reply in the voice {voice!r}"
        raise UserError(subject, found=found, remedy=f"choose voice= among {known or 'voices with replies'}")
    return replies
