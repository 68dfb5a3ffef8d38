"""Selection of the exchanges of a text dialogue that can be spoken, and removal of visual markup.

After the adaptation of Magpie's dialogues in 2411.17607 (filter, shorten, nothing that cannot be read aloud) and
GLM-4-Voice (no code, no mathematics); the rules and bounds are ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from corpus.text.speakability import unspeakable_parts
from corpus.text.words import count_words
from runtime.config import Options, option

from .dialogue_files import Dialogue, DialogueTurn

EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)(.+?)(?<=\S)\1(?![\w*])", re.DOTALL)
BULLET = re.compile(r"^[ \t]*(?:[-*•‣◦]|\d{1,2}[.)])[ \t]+", re.MULTILINE)
HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+.*$", re.MULTILINE)
LINE_ENDS = re.compile(r"[ \t]*\n\s*")
LETTER = re.compile(r"[^\W_]")


@dataclass(kw_only=True)
class FilterConfig(Options):
    """Bounds on dialogues that are kept.

    Attributes:
        max_exchanges: of a dialogue; later ones are cut off.
        max_question_words: of a question.
        max_reply_words: of a reply; a longer one is shortened, where an endpoint is given, else it ends the dialogue.
        max_list_lines: lines of a list in a reply, counted as being too long beyond.
        min_letter_share: share of letters and digits among all characters but white space.
    """

    max_exchanges: int = option(8, at_least=1)
    max_question_words: int = option(60, at_least=1)
    max_reply_words: int = option(60, at_least=1)
    max_list_lines: int = option(2, at_least=0)
    min_letter_share: float = option(0.6, at_least=0, at_most=1)

    def fault(self, text: str, max_words: int) -> str:
        """The reason why a text cannot be spoken; "" if it can."""
        if unspeakable_parts(text) or HEADING.search(text):
            return "not to be read aloud"
        dense = "".join(text.split())
        if len(LETTER.findall(dense)) < self.min_letter_share * max(len(dense), 1) or not dense:
            return "mostly signs"
        return "too long" if count_words(text) > max_words else ""

    def is_too_long(self, reply: str) -> bool:
        """Whether a reply that can be read aloud is too long, or too much of a list, for speech."""
        num_lines = len(BULLET.findall(reply))
        return num_lines > self.max_list_lines or count_words(reply) > self.max_reply_words


@dataclass(frozen=True)
class Sifted:
    """A filtered dialogue: its first exchanges, and the replies among them that are to be shortened.

    Attributes:
        dialogue: None where not even the first exchange is left.
        fault: reason why it is cut, or None; "" where it is whole.
        long: numbers of the turns whose replies are too long.
    """

    dialogue: Dialogue | None
    fault: str
    long: tuple[int, ...] = ()


def sift(dialogue: Dialogue, config: FilterConfig, *, may_shorten: bool) -> Sifted:
    """The exchanges before the first that cannot be spoken, since later ones depend on it."""
    turns: list[DialogueTurn] = []
    long: list[int] = []
    fault = ""
    exchanges = dialogue.exchanges()
    for question, reply in exchanges[: config.max_exchanges]:
        fault = config.fault(question.text, config.max_question_words)
        fault = f"question {fault}" if fault else ""
        if not fault and (found := config.fault(reply.text, 1 << 30)):
            fault = f"reply {found}"
        is_long = not fault and config.is_too_long(reply.text)
        if is_long and not may_shorten:
            fault = "reply too long"
        if fault:
            break
        turns += [plain_turn(question), reply if is_long else plain_turn(reply)]
        if is_long:
            long.append(len(turns) - 1)
    kept = Dialogue(id=dialogue.id, system=dialogue.system, turns=turns) if turns else None
    return Sifted(kept, fault, tuple(long))


def plain_turn(turn: DialogueTurn) -> DialogueTurn:
    """The turn in plain words."""
    return DialogueTurn(role=turn.role, text=plain(turn.text))


def plain(text: str) -> str:
    """A text without emphasis, bullets and line ends."""
    return LINE_ENDS.sub(" ", BULLET.sub("", EMPHASIS.sub(r"\2", text))).strip()
