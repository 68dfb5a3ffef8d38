"""Dialogues from the built-in corpus's spoken questions: one exchange for every spoken version of a question, or
several questions of a voice one after another, some of them about earlier turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from corpus.features import FeatureUtterance
from corpus.manifest import Utterance
from corpus.text.spoken_words import spoken_words
from corpus.tokens import TokenisedUtterance
from corpus.world.dialogues import QuestionDialogue, QuestionTurn
from corpus.world.questions import QuestionAnswer
from runtime.errors import UserError

from .dialogue_files import Dialogue, DialogueTurn

QUESTION, REPLY = "question", "reply"
SpokenItem = TokenisedUtterance | Utterance | FeatureUtterance  # an utterance as tokens, a recording, or vectors
Replies = Mapping[str, npt.NDArray[np.uint16]] | None  # a reply's text -> its speech tokens; None: replies are text


def asked_dialogues(
    items: Sequence[SpokenItem],
    questions: Mapping[str, QuestionAnswer],
    replies: Replies,
    voice: str,
    skipped: Counter[str],
) -> Iterator[Dialogue]:
    """One dialogue for each spoken question that has a spoken reply (or any, where replies are text).

    Args:
        items: utterances; those of kind question are taken.
        questions: by their words (`corpus.world.questions.read_questions`).
        replies: reply text -> its speech tokens (`spoken_replies`).
        voice: of the replies.
        skipped: counts by reason the questions left out.
    """
    for item in items:
        if item.kind != QUESTION:
            continue
        asked = questions.get(spoken_words(item.text))
        speech = replies.get(spoken_words(asked.reply)) if asked and replies is not None else None
        if asked is None or (speech is None and replies is not None):
            skipped["no such question in questions.jsonl" if asked is None else "no spoken reply"] += 1
            continue
        yield Dialogue(id=item.id, turns=exchange(item, asked.reply, speech, voice))


def joined_dialogues(
    items: Sequence[SpokenItem],
    dialogues: Iterable[QuestionDialogue],
    replies: Replies,
    voice: str,
    skipped: Counter[str],
) -> Iterator[Dialogue]:
    """The dialogues of a corpus, in speech; those of which a recording or a spoken reply is missing are left out.

    Args:
        items: utterances.
        dialogues: that name them (`corpus.world.dialogues.read_question_dialogues`).
        replies: reply text -> its speech tokens (`spoken_replies`).
        voice: of the replies.
        skipped: counts by reason the dialogues left out.
    """
    by_id = {item.id: item for item in items}

    def spoken(turn: QuestionTurn) -> list[DialogueTurn]:
        item = by_id.get(turn.utterance)
        speech = None if replies is None else replies.get(spoken_words(turn.reply))
        if item is None or (speech is None and replies is not None):
            raise LookupError("no tokens of a question" if item is None else "no spoken reply")
        return exchange(item, turn.reply, speech, voice)

    for dialogue in dialogues:
        try:
            yield Dialogue(id=dialogue.id, turns=[said for turn in dialogue.turns for said in spoken(turn)])
        except LookupError as error:
            skipped[str(error)] += 1


def exchange(item: SpokenItem, reply: str, speech: npt.NDArray[np.uint16] | None, voice: str) -> list[DialogueTurn]:
    """A spoken question and the reply, whose speech tokens (if any) are of ``voice``."""
    asked = DialogueTurn(role="user", text=item.text, speaker=item.speaker)
    if isinstance(item, TokenisedUtterance):
        asked = replace(asked, tokens=item.tokens)
    else:
        asked = replace(asked, parts=(item if isinstance(item, FeatureUtterance) else item.segment,))
    return [asked, DialogueTurn(role="assistant", text=reply, tokens=speech, speaker=voice)]


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
            replies.setdefault(spoken_words(item.text), item.tokens)
    if not replies:
        known = ", ".join(sorted({item.speaker for item in items if item.kind == REPLY}))
        found = f"no reply in the voice {voice!r}"
        raise UserError(subject, found=found, remedy=f"choose voice= among {known or 'voices with replies'}")
    return replies
