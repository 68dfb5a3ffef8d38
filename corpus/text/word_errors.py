"""Word and character errors of a transcript: edit distance of the words as they are said, by rapidfuzz.

Both sides are written out (`corpus.text.spoken_words`): "$5" for "five dollars" is no error.

Scripts that put no space between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan) are scored by character.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import regex
from rapidfuzz.distance import Levenshtein

from .spoken_words import spoken_words

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
UNSPACED_LETTERS = regex.compile(rf"[[{UNSPACED}]&&\p{{L}}]", regex.V1)
LETTERS = regex.compile(r"\p{L}")


@dataclass(frozen=True)
class CharacterErrors:
    """Character errors over one utterance or many.

    Attributes:
        errors: substitutions, deletions and insertions.
        characters: of the references in normal form, spaces left out.
    """

    errors: int
    characters: int

    @property
    def rate(self) -> float:
        """Character error rate, 0 to 1 and above; NaN without characters."""
        return self.errors / self.characters if self.characters else math.nan


@dataclass(frozen=True)
class WordErrors:
    """Word errors over one utterance or many.

    Attributes:
        errors: substitutions, deletions and insertions.
        words: of the references.
    """

    errors: int
    words: int

    @property
    def rate(self) -> float:
        """Word error rate, 0 to 1 and above; NaN without words."""
        return self.errors / self.words if self.words else math.nan

    @property
    def rate_or_errors(self) -> float:
        """Word error rate; the number of errors where the references have no word."""
        return self.errors / max(self.words, 1)

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(self.errors + other.errors, self.words + other.words)


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Compare two texts word by word, as they are said; without a reference each word heard is an error."""
    said, heard = spoken_words(reference).split(), spoken_words(hypothesis).split()
    return WordErrors(Levenshtein.distance(said, heard), len(said))


def total(errors: Iterable[WordErrors]) -> WordErrors:
    """The sum over a set: its rate weighs every word alike."""
    return sum(errors, WordErrors(0, 0))


def corpus_word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> WordErrors:
    """Word errors over transcripts; those whose reference has no word are left out."""
    each = [word_errors(said, heard) for said, heard in zip(references, hypotheses, strict=True)]
    return total(errors for errors in each if errors.words)


def character_errors(reference: str, hypothesis: str) -> CharacterErrors:
    """Compare two texts character by character, as they are said and without spaces; a mark is a character."""
    said, heard = ("".join(spoken_words(text).split()) for text in (reference, hypothesis))
    return CharacterErrors(Levenshtein.distance(said, heard), len(said))


def corpus_character_errors(references: Sequence[str], hypotheses: Sequence[str]) -> CharacterErrors:
    """Character errors over transcripts; those whose reference has no character are left out."""
    each = [character_errors(said, heard) for said, heard in zip(references, hypotheses, strict=True)]
    counted = [errors for errors in each if errors.characters]
    return CharacterErrors(sum(one.errors for one in counted), sum(one.characters for one in counted))


def is_unspaced(texts: Iterable[str]) -> bool:
    """Whether most letters of the texts are of scripts without spaces between words, whose word errors say little."""
    text = "".join(texts)
    return 2 * len(UNSPACED_LETTERS.findall(text)) > len(LETTERS.findall(text))
