"""Dialogues -> LM documents: the format of replies, typed versions of questions, history within a budget of tokens."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from corpus.text.spoken_words import spoken_words
from lm.data.formats import ChatTurn, Ids, Said, chat_turn, system_row
from lm.data.reply_format import ReplyFormat
from lm.data.truncation import cut_history, first_kept
from lm.data.vocabulary import Vocabulary

from .dialogue_files import Dialogue, DialogueTurn


@dataclass
class DialogueDocuments:
    """Makes documents; what it left out, and what it made, is counted.

    Attributes:
        vocabulary: of the ids.
        format: of the replies.
        system: what the config says of the system prompt; a dialogue's own comes first.
        typed_share: share of documents in which spoken questions come once more, typed.
        max_tokens: longest document; a longer dialogue becomes several (see `rows`).
        seed: of the choice of those that are typed.
        skipped: why exchanges or dialogues were left out -> how many.
        made: ``spoken`` and ``typed`` dialogues.
        needs_speech: replies are spoken; else they are text alone.
        is_plain: all texts so far are lower-case words without punctuation and digits, so typed ones should be, too.
    """

    vocabulary: Vocabulary
    format: ReplyFormat
    system: str = ""
    typed_share: float = 0.0
    max_tokens: int = 2048
    seed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    needs_speech: bool = True
    is_plain: bool = True

    def documents(self, dialogues: Iterable[Dialogue]) -> Iterator[Ids]:
        """The documents of each dialogue: as it is, then typed where that is drawn."""
        for dialogue in dialogues:
            questions = dialogue.turns[::2]
            yield from self._rows(dialogue, [one.text if one.tokens is None else one.tokens for one in questions])
            is_spoken = any(question.tokens is not None for question in questions)
            if is_spoken and self.is_typed(dialogue):
                yield from self._rows(dialogue, [question.text for question in questions])

    def is_typed(self, dialogue: Dialogue) -> bool:
        """Whether a spoken dialogue comes once more with its questions typed, by the draw."""
        draw = random.Random(f"typed {self.seed} {dialogue.id}")
        return draw.random() < self.typed_share / (1 - self.typed_share)

    def _rows(self, dialogue: Dialogue, said: Sequence[Said]) -> Iterator[Ids]:
        """The documents of a dialogue whose questions are heard or read as ``said``."""
        for row, _ in self.cut(dialogue, said):
            yield row

    def cut(self, dialogue: Dialogue, said: Sequence[Said]) -> Iterator[tuple[Ids, range]]:
        """The documents of a dialogue, each with the numbers of its turns."""
        is_spoken = not isinstance(said[0], str)
        prompt = dialogue.system or self.format.system_prompt(self.system, is_spoken=is_spoken)
        system = system_row(prompt, self.vocabulary) if prompt else np.zeros(0, dtype=np.int32)
        try:
            exchanges = zip(said, dialogue.exchanges(), strict=True)
            turns = [self._turn(user, *exchange) for user, exchange in exchanges]
            rows = [chat_turn(turn, self.vocabulary, self.format) for turn in turns]
        except ValueError as error:
            self.skipped[reason_of(str(error))] += 1
            return
        self.is_plain = self.is_plain and all(turn.text == spoken_words(turn.text) for turn in dialogue.turns)
        self.made["spoken" if is_spoken else "typed"] += 1
        yield from self.rows(rows, system)

    def rows(self, turns: list[Ids], system: Ids) -> Iterator[tuple[Ids, range]]:
        """A dialogue's documents, each with the numbers of its turns.

        One where it fits; else the newest turns, as serving would show them at the last, and then the same of what is
        left before them. Each turn is learnt from once. A turn too long alone is left out.
        """
        budget = self.max_tokens - 1  # EOS
        cut: list[tuple[Ids, range]] = []
        while turns:
            first = first_kept([len(turn) for turn in turns], budget - len(system))
            if first == len(turns):
                self.skipped["a turn longer than max_tokens"] += 1
                turns = turns[:-1]
                continue
            row = cut_history(turns, budget, system=system)
            cut.append((np.append(row, np.int32(self.vocabulary.eos)), range(first, len(turns))))
            turns = turns[:first]
        yield from reversed(cut)

    def _turn(self, user: Said, question: DialogueTurn, reply: DialogueTurn) -> ChatTurn:
        if isinstance(user, str) and not user:
            raise ValueError("a question without words or tokens")
        if reply.tokens is None and self.needs_speech:
            raise ValueError("no spoken reply")
        if not reply.text and self.format.kind != "speech":
            raise ValueError("a reply without text")
        transcript = question.text if self.format.transcribes and not isinstance(user, str) else None
        if transcript == "":
            raise ValueError("a question without words to transcribe")
        return ChatTurn(user, reply.text, reply.tokens if self.needs_speech else None, transcript)


def reason_of(error: str) -> str:
    """A reason to count by: an error without its numbers."""
    return "speech ends before its text" if "end before" in error else error
