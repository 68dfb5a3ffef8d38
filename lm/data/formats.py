"""LM documents: how text and speech are laid out as one row of ids, and on which of them the loss is taken.

::

    text         text EOS
    speech       BOA speech EOA EOS
    asr          <|asr|> BOA speech EOA ^ text EOS
    tts          <|tts|> <|speaker_i|> text ^ BOA speech EOA EOS
    interleaved  text BOA speech EOA text ... EOS
    chat         [<|system|> text] <|user|> BOA speech EOA <|assistant|> ^ reply EOS, see `lm.data.reply_format`

The loss starts at ``^``, and is everywhere where there is none (2411.17607: all tokens of text, speech and
interleaved data are predicted, only the targets of supervised data). The paper publishes no prompt format: the
headers are our choice. Text before and after a speech span is encoded on its own, so its tokens never depend on where
spans lie. BOA and EOA stand for ``<|begin_of_audio|>`` and ``<|end_of_audio|>``, EOS for ``<|endoftext|>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .reply_format import TEXT_GUIDED, ReplyFormat
from .special_tokens import SpecialToken
from .vocabulary import Vocabulary

Format = Literal["text", "speech", "asr", "tts", "interleaved", "chat"]
FORMATS: tuple[Format, ...] = ("text", "speech", "asr", "tts", "interleaved", "chat")

Loss = Literal["all", "text", "speech"]
LOSSES: tuple[Loss, ...] = ("all", "text", "speech")

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
    return _row([vocabulary.special(SpecialToken.ASR)], speech_span(codes, vocabulary))


def tts_document(text: str, codes: Codes, speaker: str, vocabulary: Vocabulary) -> Ids:
    """``<|tts|> <|speaker_i|> text ^ BOA speech EOA EOS``."""
    return _row(tts_prompt(text, speaker, vocabulary)[:-1], speech_span(codes, vocabulary), [vocabulary.eos])


def tts_prompt(text: str, speaker: str, vocabulary: Vocabulary) -> Ids:
    """``<|tts|> <|speaker_i|> text BOA``: the model goes on with the speech tokens and EOA."""
    header = [vocabulary.special(SpecialToken.TTS), vocabulary.speaker_id(speaker)]
    return _row(header, vocabulary.encode_text(text), [vocabulary.special(SpecialToken.BEGIN_OF_AUDIO)])


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
class ChatTurn:
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


def chat_document(
    turns: Sequence[ChatTurn], vocabulary: Vocabulary, *, system: str = "", format: ReplyFormat = TEXT_GUIDED
) -> Ids:
    """A dialogue. The loss is on what follows ``<|assistant|>``, the mark that ends each reply included."""
    parts = [system_row(system, vocabulary)] if system else []
    return _row(*parts, *(chat_turn(turn, vocabulary, format) for turn in turns), [vocabulary.eos])


def system_row(system: str, vocabulary: Vocabulary) -> Ids:
    """``<|system|> text``, which begins a dialogue."""
    return _row([vocabulary.special(SpecialToken.SYSTEM)], vocabulary.encode_text(system))


def chat_turn(turn: ChatTurn, vocabulary: Vocabulary, format: ReplyFormat = TEXT_GUIDED) -> Ids:
    """``<|user|> question <|assistant|> reply``."""
    return _row(chat_prompt(turn.user, vocabulary), chat_reply(turn, vocabulary, format))


def chat_prompt(user: Codes | str, vocabulary: Vocabulary) -> Ids:
    """``<|user|> question <|assistant|>``: the model goes on with its reply."""
    said = vocabulary.encode_text(user) if isinstance(user, str) else speech_span(user, vocabulary)
    return _row([vocabulary.special(SpecialToken.USER)], said, [vocabulary.special(SpecialToken.ASSISTANT)])


def chat_reply(turn: ChatTurn, vocabulary: Vocabulary, format: ReplyFormat = TEXT_GUIDED) -> Ids:
    """What the model says in a turn; a transcript is written where the turn has one. See `lm.data.reply_format`.

    Raises:
        ValueError: streaming speech that ends before its text; a direct reply without speech.
    """
    parts: list[Sequence[int] | Ids] = []
    if turn.transcript is not None:
        question = vocabulary.encode_text(turn.transcript)
        parts += [[vocabulary.special(SpecialToken.TRANSCRIPT)], question, [vocabulary.special(SpecialToken.ASSISTANT)]]
    if format.kind == "speech":
        if turn.speech is None:
            raise ValueError("a reply of format speech has no speech")
        return _row(speech_span(turn.speech, vocabulary))
    text = vocabulary.encode_text(turn.reply)
    if turn.speech is None:
        parts.append(text)
    elif format.kind == "streaming":
        speech, text_at, speech_at = vocabulary.speech_ids(turn.speech), 0, 0
        for num_text, num_speech in format.blocks(len(text), len(speech)):
            parts += [text[text_at : text_at + num_text], speech[speech_at : speech_at + num_speech]]
            text_at, speech_at = text_at + num_text, speech_at + num_speech
    else:
        parts += [text, speech_span(turn.speech, vocabulary)]
    return _row(*parts)


class ModelReply(NamedTuple):
    """What a model said in a turn; the transcript is None where it wrote none."""

    text: str
    speech: Codes
    transcript: str | None


def read_reply(ids: npt.NDArray[np.integer] | Sequence[int], vocabulary: Vocabulary) -> ModelReply:
    """The inverse of `chat_reply`, of any format, also of a reply that is not whole yet."""
    row = np.asarray(ids, dtype=np.int64)
    transcript: str | None = None
    if len(row) and row[0] == vocabulary.special(SpecialToken.TRANSCRIPT):
        ends = np.flatnonzero(row == vocabulary.special(SpecialToken.ASSISTANT))
        end = int(ends[0]) if len(ends) else len(row)
        transcript, row = vocabulary.decode_text(row[:end]), row[end:]
    return ModelReply(vocabulary.decode_text(row), vocabulary.codes(row), transcript)


def speech_span(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """``BOA speech EOA``."""
    marks = [vocabulary.special(SpecialToken.BEGIN_OF_AUDIO)], [vocabulary.special(SpecialToken.END_OF_AUDIO)]
    return _row(marks[0], vocabulary.speech_ids(codes), marks[1])


def document_starts(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """Positions at which documents begin: 0 and whatever follows an EOS."""
    after = np.flatnonzero(ids[:-1] == vocabulary.eos) + 1
    return np.concatenate([[0], after]) if len(ids) else np.zeros(0, dtype=np.int64)


def loss_mask(ids: npt.NDArray[np.integer], vocabulary: Vocabulary, *, loss: Loss = "all") -> npt.NDArray[np.uint8]:
    """Which ids count in the loss as targets: (T,) -> (T,) of 0 and 1.

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
            text. The masks of the two parts are disjoint and are that of ``all`` together.
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
    is_asr, is_tts = header == special(SpecialToken.ASR), header == special(SpecialToken.TTS)
    is_chat = (header == special(SpecialToken.USER)) | (header == special(SpecialToken.SYSTEM))
    # A switch at p turns the loss on (1) or off (0) from p on, until the next one; -1 is no switch.
    switch = np.full(len(ids) + 1, -1, dtype=np.int8)
    switch[1:][(ids == special(SpecialToken.END_OF_AUDIO)) & is_asr[number]] = 1
    switch[:-1][(ids == special(SpecialToken.BEGIN_OF_AUDIO)) & is_tts[number]] = 1
    switch[1:][(ids == special(SpecialToken.ASSISTANT)) & is_chat[number]] = 1
    switch[1:][((ids == special(SpecialToken.USER)) | (ids == special(SpecialToken.SYSTEM))) & is_chat[number]] = 0
    switch[starts] = np.where(is_asr | is_tts | is_chat, 0, 1)
    switch = switch[:-1]
    latest = np.maximum.accumulate(np.where(switch >= 0, np.arange(len(ids)), 0))
    mask[:] = switch[latest]
    mask[ids == vocabulary.pad] = 0
    if loss != "all":
        mask[is_of_speech(ids, vocabulary) == (loss == "text")] = 0
    return mask


def is_of_speech(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> npt.NDArray[np.bool_]:
    """Which ids (T,) belong to speech: its tokens, and the special tokens that end it; all else belongs to text."""
    is_speech = vocabulary.is_speech(ids)
    ends_before = is_speech | (ids == vocabulary.special(SpecialToken.END_OF_AUDIO))
    is_end = np.zeros(len(ids), dtype=bool)
    is_end[1:] = ends_before[:-1] & ~vocabulary.is_text(ids[1:])
    return is_speech | is_end


def document_format(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> Format:
    """The format of one document, told by its ids alone: its header, else what it is made of."""
    special = vocabulary.special
    by_header: dict[int, Format] = {special(SpecialToken.ASR): "asr", special(SpecialToken.TTS): "tts"}
    by_header |= {special(SpecialToken.USER): "chat", special(SpecialToken.SYSTEM): "chat"}
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
