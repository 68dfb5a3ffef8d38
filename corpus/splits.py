"""Which texts are held out: one rule by hash of the text for every kind of data, so that splits never meet."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.hashing import text_number

from .world.closed_world import World


class HeldOutTexts:
    """The texts that no training data may contain: ``text in held_out``.

    A text is held out if its hash falls into ``share``, but for what training needs: replies are never held out, and
    of each fact at least one statement and one phrasing of its question stay in training, so that a held-out question
    asks for something that was seen in other words. Of the world's unheard situations all is held out.
    """

    def __init__(self, world: World, share: float, seed: int) -> None:
        self.share, self.seed = share, seed
        self.unheard = {text for fact in world.unheard for text in (*fact.stories, *fact.phrasings)}
        self.kept = set(world.replies)
        for fact in world.facts:
            for group in (fact.statements, fact.phrasings):
                if group and all(text in self for text in group):
                    self.kept.add(max(group, key=self._position))

    def __contains__(self, text: str) -> bool:
        return text in self.unheard or (text not in self.kept and self._position(text) < self.share)

    def overlaps(self, sentences: Iterable[str]) -> bool:
        """Whether any of the sentences is held out."""
        return any(sentence in self for sentence in sentences)

    def _position(self, text: str) -> float:
        """Where the text's hash lies in [0, 1)."""
        return text_number(f"{self.seed} {text}") / 2**64
