"""The layout of a chatbot's reply after ``<|assistant|>``, and the tokens that may come next while it is generated.

::

    text_guided   [<|transcript|> question <|assistant|>] reply BOA speech EOA         (2411.17607: text first)
    streaming     [<|transcript|> question <|assistant|>] 13 text 26 speech 13 text 26 speech ... rest of the speech
    speech        BOA speech EOA                                                       (2411.17607: direct)

A reply is ended by what follows it: ``<|user|>`` of the next turn, or EOS. The streaming format is GLM-4-Voice's
(section 4.2): text keeps ahead of the speech that says it, so speech can be played long before the text is whole. When
the text is over the rest is speech, without marks around it. The transcript of the question is our choice, by config.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from runtime.config import Options, option
from runtime.errors import check_option

from .special_tokens import SpecialToken
from .vocabulary import Vocabulary

Kind = Literal["text_guided", "streaming", "speech"]
KINDS: tuple[Kind, ...] = ("text_guided", "streaming", "speech")
Part = Literal["begin", "transcript", "text", "speech", "over"]

# GLM-4-Voice's inference code (its own wording); {text} and {speech} are the sizes of the blocks.
GLM_PROMPT = (
    "User will provide you with a {said} instruction. Do it step by step. First, think about the instruction and "
    "respond in a interleaved manner, with {text} text token followed by {speech} audio tokens. "
)
SYSTEM_PROMPTS = {"glm4voice": GLM_PROMPT}


@dataclass(frozen=True, kw_only=True)
class ReplyFormat(Options):
    """The layout of replies.

    Attributes:
        kind: ``text_guided``, ``streaming`` or ``speech``.
        transcribes: the words of a spoken question are written first.
        text_block: text tokens of a block of the streaming format.
        speech_block: its speech tokens.
    """

    kind: str = "text_guided"
    transcribes: bool = False
    text_block: int = option(13, at_least=1)
    speech_block: int = option(26, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self.kind in KINDS, "format", self.kind, f"give one of {', '.join(KINDS)}")
        has_no_text = self.kind == "speech" and self.transcribes
        check_option(not has_no_text, "transcribe_first", self.transcribes, "format=speech writes no text: set false")

    def blocks(self, num_text: int, num_speech: int) -> list[tuple[int, int]]:
        """(text, speech) tokens of each block of a streaming reply; the last holds the rest of the speech.

        Raises:
            ValueError: the speech ends before all of the text is written.
        """
        found: list[tuple[int, int]] = []
        text, speech = num_text, num_speech
        while text > self.text_block:
            found.append((self.text_block, self.speech_block))
            text, speech = text - self.text_block, speech - self.speech_block
        if speech <= 0 and num_speech:
            ratio = f"{self.text_block}:{self.speech_block}"
            raise ValueError(f"{num_speech} speech tokens end before {num_text} text tokens do, at {ratio}")
        return [*found, (text, speech)]

    def system_prompt(self, option: str, *, is_spoken: bool = True) -> str:
        """The text of a system prompt: a name of `SYSTEM_PROMPTS` filled in, or ``option`` itself ("" is none).

        Args:
            option: what the config says.
            is_spoken: whether the dialogue's first question is speech.
        """
        named = SYSTEM_PROMPTS.get(option)
        if named is None:
            return option
        return named.format(said="speech" if is_spoken else "text", text=self.text_block, speech=self.speech_block)


TEXT_GUIDED = ReplyFormat()


class Next(NamedTuple):
    """The tokens that may come next in a reply: text tokens, speech tokens, and these ids of special tokens.

    ``marks`` that end the reply are ``<|user|>`` and EOS. Nothing at all may follow a reply that is over.
    """

    text: bool = False
    speech: bool = False
    marks: tuple[int, ...] = ()


class ReplyState:
    """Where a reply stands, token by token, for constrained decoding: `next` tells what may come, `push` takes it.

    ::

        state = ReplyState(format, vocabulary)
        while state.part != "over":
            state.push(choose(state.next))

    Args:
        format: of the reply.
        vocabulary: of the ids.
        transcribes: whether the transcript is still to come (default: where the format has one; typed
            questions have none).

    Attributes:
        part: what was written last: ``begin`` (nothing yet), ``transcript``, ``text``, ``speech``; or ``over``.
        is_text_over: no more text will come.
    """

    def __init__(self, format: ReplyFormat, vocabulary: Vocabulary, *, transcribes: bool | None = None) -> None:
        self.format, self.vocabulary = format, vocabulary
        self.part: Part = "begin"
        self.is_text_over = format.kind == "speech"
        self._is_transcribed = not (format.transcribes if transcribes is None else transcribes)
        self._num_text = self._num_speech = 0  # of the block, in the streaming format
        self._is_closed = False  # EOA was written
        special = vocabulary.special
        self._ends = (special(SpecialToken.USER), vocabulary.eos)
        self._begin, self._end = special(SpecialToken.BEGIN_OF_AUDIO), special(SpecialToken.END_OF_AUDIO)
        self._transcript, self._assistant = special(SpecialToken.TRANSCRIPT), special(SpecialToken.ASSISTANT)

    @property
    def next(self) -> Next:
        """The tokens that may come next."""
        if self.part == "over":
            return Next()
        if self.part == "begin" and not self._is_transcribed:
            return Next(marks=(self._transcript,))
        if self.part == "transcript":
            return Next(text=True, marks=(self._assistant,))
        return self._streaming() if self.format.kind == "streaming" else self._marked()

    def _marked(self) -> Next:
        """Text, then speech between its marks."""
        if self._is_closed:
            return Next(marks=self._ends)
        if self.part == "speech":
            return Next(speech=True, marks=(self._end,))
        if self.is_text_over:
            return Next(marks=(self._begin,))
        return Next(text=True, marks=(self._begin, *self._ends) if self.part == "text" else ())

    def _streaming(self) -> Next:
        if self.part != "speech":
            has_begun = self._num_text > 0
            return Next(text=self._num_text < self.format.text_block, speech=has_begun)
        is_full = self._num_speech >= self.format.speech_block
        return Next(text=is_full and not self.is_text_over, speech=True, marks=self._ends)

    def push(self, id: int) -> None:
        """Take the next token.

        Raises:
            ValueError: it may not come here.
        """
        given, may = int(id), self.next
        is_speech, is_text = bool(self.vocabulary.is_speech(given)), bool(self.vocabulary.is_text(given))
        if not ((is_text and may.text) or (is_speech and may.speech) or given in may.marks):
            name = self.vocabulary.token(given) or "a text token"
            raise ValueError(f"{name} may not follow {self.part} in a reply of format {self.format.kind}")
        if is_text:
            if self.part == "speech":
                self._num_text = self._num_speech = 0
            self._num_text += 1
            self.part = self.part if self.part == "transcript" else "text"
        elif is_speech:
            self._push_speech()
        else:
            self._push_mark(given)

    def _push_speech(self) -> None:
        is_partial = self._num_text < self.format.text_block
        if is_partial or self._num_speech >= self.format.speech_block or self.format.kind != "streaming":
            self.is_text_over = True
        self._num_speech += 1
        self.part = "speech"

    def _push_mark(self, id: int) -> None:
        if id == self._transcript:
            self.part = "transcript"
        elif id == self._assistant:
            self.part, self._is_transcribed, self._num_text = "begin", True, 0
        elif id == self._begin:
            self.part, self.is_text_over = "speech", True
        elif id == self._end:
            self._is_closed = True
        else:
            self.part, self.is_text_over = "over", True
