"""The messages of a conversation, and the part of them that the model sees.

Each message is a row of ids that begins with the mark of its role; put together they are `lm.data.formats`' chat
document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from corpus.audio.files import SAMPLE_RATE
from corpus.audio.frame_rate import SAMPLES_PER_TOKEN
from lm.data.special_tokens import SpecialToken
from lm.data.truncation import first_kept
from lm.data.vocabulary import Vocabulary

Role = Literal["user", "assistant", "system"]


class SentenceReading(NamedTuple):
    """A sentence of a reply that was read aloud.

    Attributes:
        end: its end in the reply's text, in characters.
        num_tokens: speech tokens of the reply up to its end.
    """

    end: int
    num_tokens: int


@dataclass(kw_only=True, eq=False)
class Message:
    """One message; two of the same content are two messages.

    Attributes:
        role: of the speaker.
        ids: of each of its parts the role's special token and the content; none where nobody spoke, and of a reply in
            the making.
        is_spoken: some of it is speech of a user, not typed.
        body: of a reply, the place in ``ids`` the reply proper begins (after the question's transcript).
        readings: of a reply in text, its sentences that the reader has read aloud; None where nothing was to be read.
    """

    role: Role
    ids: list[int] = field(default_factory=list)
    body: int = 1
    is_spoken: bool = False
    readings: list[SentenceReading] | None = None


def turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Messages as turns: each begins with what the user says after a reply."""
    found: list[list[Message]] = []
    for message in messages:
        if not found or (message.role == "user" and found[-1][-1].role == "assistant"):
            found.append([])
        found[-1].append(message)
    return found


def visible(messages: Sequence[Message], *, remembered_turns: int, most: int) -> list[int]:
    """The ids that the model sees: system messages, the latest turns as far as they fit, and the turn in the making.

    Args:
        messages: the dialogue; the latest turn is in the making.
        remembered_turns: earlier turns, at most.
        most: ids, at most; the turn in the making is never cut.
    """
    system = [id for message in messages if message.role == "system" for id in message.ids]
    rows = [
        [id for message in turn for id in message.ids] for turn in turns([m for m in messages if m.role != "system"])
    ]
    earlier, now = rows[:-1][-remembered_turns:] if remembered_turns else [], rows[-1] if rows else []
    first = first_kept([len(row) for row in earlier], most - len(system) - len(now))
    return [*system, *(id for row in earlier[first:] for id in row), *now]


def is_spoken(messages: Sequence[Message]) -> bool:
    """Whether the latest turn's question was said and not typed."""
    latest = turns([message for message in messages if message.role != "system"])[-1:]
    return any(message.is_spoken for turn in latest for message in turn)


def truncate(message: Message, num_played: int, vocabulary: Vocabulary) -> None:
    """Reduce a reply to its first ``num_played`` speech tokens, which were played: its text is cut in proportion.

    A reply in turns of text and speech is cut after that speech token. One that is text first and speech then keeps
    the share of its text that the played speech is of all its speech. One that the reader read aloud keeps the
    sentences that were played, and that share of the next one, if it was read to its end. A reply of which nothing was
    played is empty.
    """
    head, body = message.ids[: message.body], message.ids[message.body :]
    speech = [at for at, id in enumerate(body) if vocabulary.is_speech(id)]
    if num_played <= 0:
        message.ids = head
        return
    if message.readings is not None:
        message.ids = [*head, *first_characters(body, played_characters(message.readings, num_played), vocabulary)]
        return
    begin, end = vocabulary.special(SpecialToken.BEGIN_OF_AUDIO), vocabulary.special(SpecialToken.END_OF_AUDIO)
    if num_played >= len(speech):
        is_unfinished = begin in body and end not in body
        message.ids = [*head, *body, *([end] if is_unfinished else [])]
        return
    text = [id for id in body if vocabulary.is_text(id)]
    is_text_first = begin in body and not any(vocabulary.is_text(id) for id in body[speech[0] :])
    if is_text_first:
        words = text[: round(len(text) * num_played / len(speech))]
        message.ids = [*head, *words, begin, *(body[at] for at in speech[:num_played]), end]
    else:
        message.ids = head + body[: speech[num_played - 1] + 1]


def played_characters(readings: Sequence[SentenceReading], num_played: int) -> int:
    """Characters of a reply's text that its first ``num_played`` speech tokens say."""
    before = SentenceReading(0, 0)
    for reading in readings:
        if num_played < reading.num_tokens:
            share = (num_played - before.num_tokens) / (reading.num_tokens - before.num_tokens)
            return before.end + round(share * (reading.end - before.end))
        before = reading
    return before.end


def first_characters(text: list[int], most: int, vocabulary: Vocabulary) -> list[int]:
    """The first ids of a text, as many as have no more than ``most`` characters."""
    count = len(text)
    while count and len(vocabulary.decode_text(text[:count])) > most:
        count -= 1
    return text[:count]


def whole_tokens(seconds: float) -> int:
    """Speech tokens of which something was played."""
    return int(np.ceil(round(max(seconds, 0.0) * SAMPLE_RATE) / SAMPLES_PER_TOKEN))
