"""LM documents: the layout of text and speech as one row of ids, and the loss mask.

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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, ParamSpec

import numpy as np
import numpy.typing as npt

from .reply_format import TEXT_GUIDED, ReplyFormat
from .special_tokens import SpecialToken
from .vocabulary import Ids, Vocabulary

Format = Literal["text", "speech", "asr", "tts", "interleaved", "chat"]
FORMATS: tuple[Format, ...] = ("text", "speech", "asr", "tts", "interleaved", "chat")

Role = Literal["system", "user", "assistant"]
ROLES: dict[Role, SpecialToken] = {
    "system": SpecialToken.SYSTEM,
    "user": SpecialToken.USER,
    "assistant": SpecialToken.ASSISTANT,
}

Codes = npt.NDArray[np.uint16]
Said = Codes | str | Sequence[Codes | str]  # the content of a message
Parameters = ParamSpec("Parameters")


class Segment(NamedTuple):
    """A part of a document: ids (T,), and whether the loss is taken on their prediction."""

    ids: Sequence[int] | Ids
    is_target: bool


class Layout(Generic[Parameters]):
    """The layout of a kind of document: a call gives the row of ids, `mask` the loss mask, in one pass each.

    Args:
        segments: a generator function that yields the document's segments in order.
    """

    def __init__(self, segments: Callable[Parameters, Iterable[Segment]]) -> None:
        self.segments = segments
        self.__doc__ = segments.__doc__

    def __call__(self, *args: Parameters.args, **options: Parameters.kwargs) -> Ids:
        """The ids (T,)."""
        return _row(*(segment.ids for segment in self.segments(*args, **options)))

    def mask(self, *args: Parameters.args, **options: Parameters.kwargs) -> npt.NDArray[np.uint8]:
        """1 where the loss is taken, else 0: (T,); what `lm.data.loss_mask` finds from the ids alone."""
        segments = list(self.segments(*args, **options))
        return np.repeat([np.uint8(one.is_target) for one in segments], [len(one.ids) for one in segments])


# -- documents ------------------------------------------------------------------------------------------------------


@Layout
def text_document(text: str, vocabulary: Vocabulary) -> Iterator[Segment]:
    """``text EOS``."""
    yield Segment([*vocabulary.encode_text(text), vocabulary.eos], True)


@Layout
def speech_document(codes: Codes, vocabulary: Vocabulary) -> Iterator[Segment]:
    """``BOA speech EOA EOS``."""
    yield Segment(speech_span(codes, vocabulary), True)
    yield Segment([vocabulary.eos], True)


@Layout
def asr_document(codes: Codes, text: str, vocabulary: Vocabulary) -> Iterator[Segment]:
    """``<|asr|> BOA speech EOA ^ text EOS``."""
    yield Segment(asr_prompt(codes, vocabulary), False)
    yield Segment([*vocabulary.encode_text(text), vocabulary.eos], True)


def asr_prompt(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """``<|asr|> BOA speech EOA``: the model goes on with the transcript and EOS."""
    return _row([vocabulary.special(SpecialToken.ASR)], speech_span(codes, vocabulary))


@Layout
def tts_document(text: str, codes: Codes, speaker: str, vocabulary: Vocabulary) -> Iterator[Segment]:
    """``<|tts|> <|speaker_i|> text ^ BOA speech EOA EOS``."""
    yield Segment(tts_prompt(text, speaker, vocabulary)[:-1], False)
    yield Segment(speech_span(codes, vocabulary), True)
    yield Segment([vocabulary.eos], True)


def tts_prompt(text: str, speaker: str, vocabulary: Vocabulary) -> Ids:
    """``<|tts|> <|speaker_i|> text BOA``: the model goes on with the speech tokens and EOA."""
    header = [vocabulary.special(SpecialToken.TTS), vocabulary.speaker_id(speaker)]
    return _row(header, vocabulary.encode_text(text), [vocabulary.special(SpecialToken.BEGIN_OF_AUDIO)])


@Layout
def interleaved_document(
    pieces: Sequence[str | Codes], vocabulary: Vocabulary, *, has_marks: bool = True
) -> Iterator[Segment]:
    """Texts (str) and speech spans (arrays of codes) in their order, then EOS.

    The one space that parts a text from a speech span takes no token; all else of the texts is kept. ``has_marks``:
    BOA and EOA around each span; without them the ids alone tell speech from text.
    """
    for ids in piece_rows(pieces, vocabulary, has_marks=has_marks):
        yield Segment(ids, True)
    yield Segment([vocabulary.eos], True)


def piece_rows(
    pieces: Sequence[str | Codes], vocabulary: Vocabulary, *, has_marks: bool = True
) -> Iterator[Sequence[int] | Ids]:
    """The ids of texts and speech spans that alternate, see `interleaved_document`."""
    for piece in parted(pieces):
        if isinstance(piece, str):
            yield vocabulary.encode_text(piece)
        else:
            yield speech_span(piece, vocabulary) if has_marks else vocabulary.speech_ids(piece)


def parted(pieces: Sequence[str | Codes]) -> Iterator[str | Codes]:
    """Texts and speech without the one space that parts a text from speech; texts of which nothing is left go."""
    for at, piece in enumerate(pieces):
        if not isinstance(piece, str):
            yield piece
            continue
        text = piece if at == 0 else piece.removeprefix(" ")
        text = text if at == len(pieces) - 1 else text.removesuffix(" ")
        if text:
            yield text


def speech_span(codes: Codes, vocabulary: Vocabulary) -> Ids:
    """``BOA speech EOA``."""
    begin, end = vocabulary.special(SpecialToken.BEGIN_OF_AUDIO), vocabulary.special(SpecialToken.END_OF_AUDIO)
    return _row([begin], vocabulary.speech_ids(codes), [end])


# -- dialogues ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ChatTurn:
    """One exchange: a spoken (or typed) question and its reply in text and speech.

    Attributes:
        user: what the user says: speech codes, a typed text, or several of both.
        reply: the reply's text.
        speech: the reply's speech codes, None for a reply in text only.
        transcript: the words of a spoken question, which the model writes down first; None to leave that out.
    """

    user: Said
    reply: str
    speech: Codes | None = None
    transcript: str | None = None


@Layout
def chat_document(
    turns: Sequence[ChatTurn], vocabulary: Vocabulary, *, system: str = "", format: ReplyFormat = TEXT_GUIDED
) -> Iterator[Segment]:
    """A dialogue. The loss is on what follows ``<|assistant|>``, the mark that ends each reply included."""
    if system:
        yield Segment(system_row(system, vocabulary), False)
    for number, turn in enumerate(turns):
        prompt = chat_prompt(turn.user, vocabulary)
        yield Segment(prompt[:1], number > 0)  # <|user|> ends the reply before it: a model must learn to stop
        yield Segment(prompt[1:], False)
        yield Segment(chat_reply(turn, vocabulary, format), True)
    yield Segment([vocabulary.eos], True)


def chat_turn(turn: ChatTurn, vocabulary: Vocabulary, format: ReplyFormat = TEXT_GUIDED) -> Ids:
    """``<|user|> question <|assistant|> reply``."""
    return _row(chat_prompt(turn.user, vocabulary), chat_reply(turn, vocabulary, format))


def chat_prompt(user: Said, vocabulary: Vocabulary) -> Ids:
    """``<|user|> question <|assistant|>``: the model goes on with its reply."""
    return _row(chat_message("user", user, vocabulary), [vocabulary.special(ROLES["assistant"])])


def system_row(system: str, vocabulary: Vocabulary) -> Ids:
    """``<|system|> text``, which begins a dialogue."""
    return chat_message("system", system, vocabulary)


def chat_message(role: Role, content: Said, vocabulary: Vocabulary) -> Ids:
    """``<|role|> text`` or ``<|role|> BOA speech EOA``, or several of both after ``<|role|>``."""
    pieces = [content] if isinstance(content, str | np.ndarray) else content
    return _row([vocabulary.special(ROLES[role])], *piece_rows(pieces, vocabulary))


def chat_reply(turn: ChatTurn, vocabulary: Vocabulary, format: ReplyFormat = TEXT_GUIDED) -> Ids:
    """The model's ids in a turn; a transcript is written where the turn has one. See `lm.data.reply_format`.

    Raises:
        ValueError: streaming speech that ends before its text; a direct reply without speech.
    """
    ids: list[Sequence[int] | Ids] = []
    if turn.transcript is not None and format.kind != "speech":
        transcript = vocabulary.encode_text(turn.transcript)
        ids += [[vocabulary.special(SpecialToken.TRANSCRIPT)], transcript, [vocabulary.special(ROLES["assistant"])]]
    for part in reply_parts(turn, vocabulary, format):
        if part.speech is None:
            ids.append(part.text)
        else:
            ids.append(speech_span(part.speech, vocabulary) if part.has_marks else vocabulary.speech_ids(part.speech))
    return _row(*ids)


class ReplyPart(NamedTuple):
    """A part of a reply: ids of text, or speech codes with or without BOA and EOA around them."""

    text: Sequence[int] = ()
    speech: Codes | None = None
    has_marks: bool = True


def reply_parts(turn: ChatTurn, vocabulary: Vocabulary, format: ReplyFormat = TEXT_GUIDED) -> Iterator[ReplyPart]:
    """Text and speech of a reply in the order of its format.

    Raises:
        ValueError: streaming speech that ends before its text; a direct reply without speech.
    """
    if format.kind == "speech":
        if turn.speech is None:
            raise ValueError("a reply of format speech has no speech")
        yield ReplyPart(speech=turn.speech)
        return
    text, speech = vocabulary.encode_text(turn.reply), turn.speech
    if speech is None:
        yield ReplyPart(text)
    elif format.kind == "text_guided":
        yield ReplyPart(text)
        yield ReplyPart(speech=speech)
    else:
        text_at = speech_at = 0
        for num_text, num_speech in format.blocks(len(text), len(speech)):
            yield ReplyPart(text[text_at : text_at + num_text])
            yield ReplyPart(speech=speech[speech_at : speech_at + num_speech], has_marks=False)
            text_at, speech_at = text_at + num_text, speech_at + num_speech


class ModelReply(NamedTuple):
    """A model's reply; the transcript is None where it wrote none."""

    text: str
    speech: Codes
    transcript: str | None


def read_reply(ids: npt.NDArray[np.integer] | Sequence[int], vocabulary: Vocabulary) -> ModelReply:
    """The inverse of `chat_reply`, of any format, also of a reply that is not whole yet."""
    row = np.asarray(ids, dtype=np.int64)
    transcript: str | None = None
    if len(row) and row[0] == vocabulary.special(SpecialToken.TRANSCRIPT):
        ends = np.flatnonzero(row == vocabulary.special(ROLES["assistant"]))
        end = int(ends[0]) if len(ends) else len(row)
        transcript, row = vocabulary.decode_text(row[:end]), row[end:]
    return ModelReply(vocabulary.decode_text(row), vocabulary.codes(row), transcript)


def _row(*parts: Sequence[int] | Ids) -> Ids:
    return np.concatenate([np.asarray(part, dtype=np.int32) for part in parts])
