"""Held-out texts: one rule by hash of the text for every kind of data, so that splits share no text."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.hashing import text_number

from .closed_world import World


class HeldOutTexts:
    """The texts that no training data may contain: ``text in held_out``.

    A text is held out if its hash falls into ``share``, except what training needs: replies are never held out, and
    of each fact at least one statement and one phrasing of its question stay in training, so that a held-out question
    asks for something that was seen in other words. All texts about the world's held-out facts are held out.

    Args:
        world: whose facts are split.
        share: of the texts, in (0, 1).
        seed: of the hash.
    """

    def __init__(self, world: World, share: float, seed: int) -> None:
        self.share, self.seed = share, seed
        self.always = {text for fact in world.held_out_facts for text in (*fact.stories, *fact.phrasings)}
        self.never = set(world.replies)
        for fact in world.facts:
            for group in (fact.statements, fact.phrasings):
                if group and all(text in self for text in group):
                    self.never.add(max(group, key=self._position))

    def __contains__(self, text: str) -> bool:
        return text in self.always or (text not in self.never and self._position(text) < self.share)

    def overlaps(self, sentences: Iterable[str]) -> bool:
        """Whether any of the sentences is held out."""
        return any(sentence in self for sentence in sentences)

    def _position(self, text: str) -> float:
        """The text's hash as a number in [0, 1)."""
        return text_number(f"{self.seed} {text}") / 2**64
