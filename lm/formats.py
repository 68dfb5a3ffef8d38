"""LM documents: how text and speech are laid out as one row of ids, and on which of them the loss is taken.

::

    text         text EOS
    speech       BOA speech EOA EOS
    asr          <|asr|> BOA speech EOA ^ text EOS
    tts          <|tts|> <|speaker_i|> text ^ BOA speech EOA EOS
    interleaved  text BOA speech EOA text ... EOS
    chat         <|user|> BOA speech EOA <|assistant|> ^ <|transcript|> question <|assistant|> reply BOA speech EOA EOS

The loss starts at ``^``, and is everywhere where there is none (2411.17607: all tokens of text, speech and
interleaved data are predicted, only the targets of supervised data). The paper publishes no prompt format: the
headers are our choice. Text before and after a speech span is encoded on its own, so its tokens never depend on where
spans lie. BOA and EOA stand for ``<|begin_of_audio|>`` and ``<|end_of_audio|>``, EOS for ``<|endoftext|>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .vocabulary import ASR, ASSISTANT, BEGIN_OF_AUDIO, END_OF_AUDIO, SYSTEM, TRANSCRIPT, TTS, USER, Vocabulary

Format = Literal["text", "speech", "asr", "tts", "interleaved", "chat"]
FORMATS: tuple[Format, ...] = ("text", "speech", "asr", "tts", "interleaved", "chat")

Ids = npt.NDArray[np.int32]
Codes = npt.NDArray[np.uint16]


def text_document(text: str, vocabulary: Vocabulary) -> Ids:
    """``text EOS``."""
    return _row(vocabulary.encode_text(text), [vocabulary.eos])


def speech_document(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """``BOA speech EOA EOS``."""
    return _row(speech_span(codes, vocabulary), [vocabulary.eos])


def asr_document(codes: Codes, text: str, vocabulary: Vocabulary) -> Ids:
    """``<|asr|> BOA speech EOA ^ text EOS``."""
    return _row(asr_prompt(codes, vocabulary), vocabulary.encode_text(text), [vocabulary.eos])


def asr_prompt(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """``<|asr|> BOA speech EOA``: the model goes on with the transcript and EOS."""
    return _row([vocabulary.special(ASR)], speech_span(codes, vocabulary))


def tts_document(text: str, codes: Codes, speaker: str, vocabulary: Vocabulary) -> Ids:
    """``<|tts|> <|speaker_i|> text ^ BOA speech EOA EOS``."""
    return _row(tts_prompt(text, speaker, vocabulary)[:-1], speech_span(codes, vocabulary), [vocabulary.eos])


def tts_prompt(text: str, speaker: str, vocabulary: Vocabulary) -> Ids:
    """``<|tts|> <|speaker_i|> text BOA``: the model goes on with the speech tokens and EOA."""
    header = [vocabulary.special(TTS), vocabulary.speaker_id(speaker)]
    return _row(header, vocabulary.encode_text(text), [vocabulary.special(BEGIN_OF_AUDIO)])


def interleaved_document(pieces: Sequence[str | Codes], vocabulary: Vocabulary, *, has_marks: bool = True) -> Ids:
    """Texts (str) and speech spans (arrays of codes) in their order, then EOS.

    The one space that parts a text from a speech span beside it takes no token; all else of the texts is kept.
    ``has_marks``: BOA and EOA around each span; without them the ids alone tell speech from text.
    """
    parts: list[Sequence[int] | Ids] = []
    for at, piece in enumerate(pieces):
        if not isinstance(piece, str):
            parts.append(speech_span(piece, vocabulary) if has_marks else vocabulary.speech_ids(piece))
            continue
        text = piece if at == 0 else piece.removeprefix(" ")
        text = text if at == len(pieces) - 1 else text.removesuffix(" ")
        if text:
            parts.append(vocabulary.encode_text(text))
    return _row(*parts, [vocabulary.eos])


@dataclass(frozen=True, eq=False)
class Turn:
    """One exchange: a spoken (or typed) question and its reply in text and speech.

    Attributes:
        user: what the user says: speech codes, or a typed text.
        reply: the reply's text.
        speech: the reply's speech codes, None for a reply in text only.
        transcript: the words of a spoken question, which the model writes down first; None to leave that out.
    """

    user: Codes | str
    reply: str
    speech: Codes | None = None
    transcript: str | None = None


def chat_document(turns: Sequence[Turn], vocabulary: Vocabulary, *, system: str = "") -> Ids:
    """A dialogue. The loss is on what follows ``<|assistant|>``, the mark that ends each reply included."""
    parts = [_row([vocabulary.special(SYSTEM)], vocabulary.encode_text(system))] if system else []
    for turn in turns:
        parts += [chat_prompt(turn.user, vocabulary), chat_reply(turn, vocabulary)]
    return _row(*parts, [vocabulary.eos])


def chat_prompt(user: Codes | str, vocabulary: Vocabulary) -> Ids:
    """``<|user|> question <|assistant|>``: the model goes on with its reply."""
    said = vocabulary.encode_text(user) if isinstance(user, str) else speech_span(user, vocabulary)
    return _row([vocabulary.special(USER)], said, [vocabulary.special(ASSISTANT)])


def chat_reply(turn: Turn, vocabulary: Vocabulary) -> Ids:
    """What the model says in a turn: ``[<|transcript|> question <|assistant|>] reply [BOA speech EOA]``."""
    parts: list[Sequence[int] | Ids] = []
    if turn.transcript is not None:
        question = vocabulary.encode_text(turn.transcript)
        parts += [[vocabulary.special(TRANSCRIPT)], question, [vocabulary.special(ASSISTANT)]]
    parts.append(vocabulary.encode_text(turn.reply))
    if turn.speech is not None:
        parts.append(speech_span(turn.speech, vocabulary))
    return _row(*parts)


def speech_span(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """``BOA speech EOA``."""
    marks = [vocabulary.special(BEGIN_OF_AUDIO)], [vocabulary.special(END_OF_AUDIO)]
    return _row(marks[0], vocabulary.speech_ids(codes), marks[1])


def document_starts(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """Positions at which documents begin: 0 and whatever follows an EOS."""
    after = np.flatnonzero(ids[:-1] == vocabulary.eos) + 1
    return np.concatenate([[0], after]) if len(ids) else np.zeros(0, dtype=np.int64)


def loss_mask(
    ids: npt.NDArray[np.integer], vocabulary: Vocabulary, *, is_span_speech_counted: bool = True
) -> npt.NDArray[np.uint8]:
    """Which ids count in the loss as targets: (T,) -> (T,) of 0 and 1.

    ``mask[t]`` belongs to the prediction *of* ``ids[t]``: with inputs ``ids[:-1]`` and labels ``ids[1:]`` take
    ``mask[1:]``. The ids alone decide: each document's first token tells its format. ``ids`` may hold several packed
    documents (each but the last ended by EOS; the last may be cut off); padding never counts. A sequence that begins
    in the midst of a document is read as if one began there.

    Args:
        ids: one row of tokens.
        vocabulary: theirs.
        is_span_speech_counted: False takes speech tokens inside interleaved documents out of the loss (the choice of
            InSerter and Baichuan-Audio; the paper counts them).
    """
    mask = np.zeros(len(ids), dtype=np.uint8)
    if not len(ids):
        return mask
    special = vocabulary.special
    starts = document_starts(ids, vocabulary)
    number = np.zeros(len(ids), dtype=np.int64)
    number[starts[1:]] = 1
    number = np.cumsum(number)  # which document each position is in
    header = ids[starts]
    is_asr, is_tts = header == special(ASR), header == special(TTS)
    is_chat = (header == special(USER)) | (header == special(SYSTEM))
    # A switch at p turns the loss on (1) or off (0) from p on, until the next one; -1 is no switch.
    switch = np.full(len(ids) + 1, -1, dtype=np.int8)
    switch[1:][(ids == special(END_OF_AUDIO)) & is_asr[number]] = 1
    switch[:-1][(ids == special(BEGIN_OF_AUDIO)) & is_tts[number]] = 1
    switch[1:][(ids == special(ASSISTANT)) & is_chat[number]] = 1
    switch[1:][((ids == special(USER)) | (ids == special(SYSTEM))) & is_chat[number]] = 0
    switch[starts] = np.where(is_asr | is_tts | is_chat, 0, 1)
    switch = switch[:-1]
    latest = np.maximum.accumulate(np.where(switch >= 0, np.arange(len(ids)), 0))
    mask[:] = switch[latest]
    mask[ids == vocabulary.pad] = 0
    if not is_span_speech_counted:
        has_text = np.zeros(len(starts), dtype=bool)
        has_text[number[vocabulary.is_text(ids)]] = True
        is_interleaved = has_text & ~(is_asr | is_tts | is_chat)
        mask[vocabulary.is_speech(ids) & is_interleaved[number]] = 0
    return mask


def document_format(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> Format:
    """The format of one document, told by its ids alone: its header, else what it is made of."""
    special = vocabulary.special
    by_header: dict[int, Format] = {special(ASR): "asr", special(TTS): "tts"}
    by_header |= {special(USER): "chat", special(SYSTEM): "chat"}
    if int(ids[0]) in by_header:
        return by_header[int(ids[0])]
    if not vocabulary.is_speech(ids).any():
        return "text"
    return "interleaved" if vocabulary.is_text(ids).any() else "speech"


def render(ids: npt.NDArray[np.integer] | Sequence[int], vocabulary: Vocabulary, *, num_shown: int = 3) -> str:
    """A document for human eyes: its text, special tokens by name, runs of speech folded to ``‹24 speech: 7 7 31 …›``.

    Args:
        ids: one row of tokens.
        vocabulary: theirs.
        num_shown: how many codes of each run are shown.
    """
    row = np.asarray(ids)
    if not len(row):
        return ""
    kind = np.where(vocabulary.is_speech(row), 1, np.where(vocabulary.is_text(row), 0, 2))
    words: list[str] = []
    edges = np.flatnonzero(np.diff(kind)) + 1
    for run in np.split(row, edges):
        if vocabulary.is_speech(run[0]):
            codes = vocabulary.codes(run)
            shown = " ".join(map(str, codes[:num_shown])) + (" …" if len(codes) > num_shown else "")
            words.append(f"‹{len(codes)} speech: {shown}›")
        elif vocabulary.is_text(run[0]):
            words.append(vocabulary.decode_text(run))
        else:
            words += [vocabulary.token(int(id)) for id in run]
    return " ".join(words)


def _row(*parts: Sequence[int] | Ids) -> Ids:
    return np.concatenate([np.asarray(part, dtype=np.int32) for part in parts])
