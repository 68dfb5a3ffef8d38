"""The loss mask and the format of documents, found from their ids alone, so that corpora need to store ids only.

`lm.data.formats` lays documents out and states the same mask for each format; the tests hold both together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .formats import Format
from .special_tokens import SpecialToken
from .vocabulary import Vocabulary

Loss = Literal["all", "text", "speech", "text_without_marks"]
LOSSES: tuple[Loss, ...] = ("all", "text", "speech", "text_without_marks")
SEARCHED = 64  # ids before a cut that are looked through first, then twice as many


class LossRule(NamedTuple):
    """The loss of documents that begin with one of the ``headers``: off until it is switched on.

    Attributes:
        format: of the documents.
        headers: their first token.
        on_at: tokens from which on targets count, themselves included.
        on_after: tokens after which targets count.
        off_after: tokens after which they do not, until the next switch.
    """

    format: Format
    headers: tuple[SpecialToken, ...]
    on_at: tuple[SpecialToken, ...] = ()
    on_after: tuple[SpecialToken, ...] = ()
    off_after: tuple[SpecialToken, ...] = ()


LOSS_RULES = (
    LossRule("asr", (SpecialToken.ASR,), on_after=(SpecialToken.END_OF_AUDIO,)),
    LossRule("tts", (SpecialToken.TTS,), on_at=(SpecialToken.BEGIN_OF_AUDIO,)),
    LossRule(
        "chat",
        (SpecialToken.USER, SpecialToken.SYSTEM),
        on_after=(SpecialToken.ASSISTANT,),
        off_after=(SpecialToken.USER, SpecialToken.SYSTEM),
    ),
)


def document_starts(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """Positions at which documents begin: 0 and whatever follows an EOS."""
    after = np.flatnonzero(ids[:-1] == vocabulary.eos) + 1
    return np.concatenate([[0], after]) if len(ids) else np.zeros(0, dtype=np.int64)


def loss_mask(ids: npt.NDArray[np.integer], vocabulary: Vocabulary, *, loss: Loss = "all") -> npt.NDArray[np.uint8]:
    """The loss mask of ids: (T,) -> (T,), 1 where an id counts as a target, else 0.

    ``mask[t]`` belongs to the prediction *of* ``ids[t]``: with inputs ``ids[:-1]`` and labels ``ids[1:]`` take
    ``mask[1:]``. The ids alone decide: each document's first token tells its format. ``ids`` may hold several packed
    documents (each but the last ended by EOS; the last may be cut off); padding never counts. A sequence that begins
    in the midst of a document is read as if one began there.

    Args:
        ids: one row of tokens.
        vocabulary: theirs.
        loss: ``text`` or ``speech`` leaves only the targets of that modality. Of interleaved documents ``text`` is the
            choice of InSerter and Baichuan-Audio (2411.17607 counts all); of dialogues they are the two parts into
            which GLM-4-Voice (section 4.2) splits each: text from the question's speech, speech from that and the
            text. The masks of the two parts are disjoint and are that of ``all`` together. ``text_without_marks`` is
            ``text`` but for the mark that begins speech, which spans drawn at random put at places nobody can predict.
    """
    mask = np.zeros(len(ids), dtype=np.uint8)
    if not len(ids):
        return mask
    starts = document_starts(ids, vocabulary)
    number = np.zeros(len(ids), dtype=np.int64)
    number[starts[1:]] = 1
    number = np.cumsum(number)  # which document each position is in
    # A switch at p turns the loss on (1) or off (0) from p on, until the next one; -1 is no switch.
    switch = np.full(len(ids) + 1, -1, dtype=np.int8)
    has_header = np.zeros(len(starts), dtype=bool)
    for rule in LOSS_RULES:
        is_ruled = _is_one_of(ids[starts], rule.headers, vocabulary)
        has_header |= is_ruled
        is_inside = is_ruled[number]
        switch[1:][_is_one_of(ids, rule.on_after, vocabulary) & is_inside] = 1
        switch[:-1][_is_one_of(ids, rule.on_at, vocabulary) & is_inside] = 1
        switch[1:][_is_one_of(ids, rule.off_after, vocabulary) & is_inside] = 0
    switch[starts] = np.where(has_header, 0, 1)
    switch = switch[:-1]
    latest = np.maximum.accumulate(np.where(switch >= 0, np.arange(len(ids)), 0))
    mask[:] = switch[latest]
    mask[ids == vocabulary.pad] = 0
    if loss != "all":
        mask[is_of_speech(ids, vocabulary) == (loss != "speech")] = 0
    if loss == "text_without_marks":
        mask[ids == vocabulary.special(SpecialToken.BEGIN_OF_AUDIO)] = 0
    return mask


def beginning_of(
    read: Callable[[int, int], npt.NDArray[np.integer]], start: int, vocabulary: Vocabulary
) -> npt.NDArray[np.integer]:
    """Ids that stand for a document's first ``start``: with them in front, `loss_mask` of what follows is the same.

    They are the document's first id, the latest before ``start`` that switches the loss, and the one before ``start``.
    The latest switch is looked for backwards, and only where the format has any, so a long document costs no more than
    its turn or utterance does.

    Args:
        read: gives the document's ids from one place to another.
        start: where a sample begins in the document.
        vocabulary: of the ids.
    """
    if start < 2:
        return read(0, start) if start else np.zeros(0, dtype=np.int32)
    first, last = read(0, 1), read(start - 1, start)
    rules = [rule for rule in LOSS_RULES if _is_one_of(first, rule.headers, vocabulary).any()]
    stop, size = (start - 1, SEARCHED) if rules else (0, 0)
    while stop > 1:
        begin = max(1, stop - size)
        ids = read(begin, stop)
        switches = [_is_one_of(ids, (*rule.on_at, *rule.on_after, *rule.off_after), vocabulary) for rule in rules]
        places = np.flatnonzero(np.logical_or.reduce(switches))
        if len(places):
            return np.concatenate([first, ids[places[-1:]], last])
        stop, size = begin, 2 * size
    return np.concatenate([first, last])


def _is_one_of(
    ids: npt.NDArray[np.integer], tokens: Iterable[SpecialToken], vocabulary: Vocabulary
) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(ids), dtype=bool)
    for token in tokens:
        found |= ids == vocabulary.special(token)
    return found


def is_of_speech(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> npt.NDArray[np.bool_]:
    """Mask of the ids (T,) of speech: its tokens, and the special tokens that end it; all else belongs to text."""
    is_speech = vocabulary.is_speech(ids)
    ends_before = is_speech | (ids == vocabulary.special(SpecialToken.END_OF_AUDIO))
    is_end = np.zeros(len(ids), dtype=bool)
    is_end[1:] = ends_before[:-1] & ~vocabulary.is_text(ids[1:])
    return is_speech | is_end


def document_format(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> Format:
    """The format of one document, found from its ids alone: its header, else its modalities."""
    for rule in LOSS_RULES:
        if _is_one_of(ids[:1], rule.headers, vocabulary).any():
            return rule.format
    if not vocabulary.is_speech(ids).any():
        return "text"
    return "interleaved" if vocabulary.is_text(ids).any() else "speech"
