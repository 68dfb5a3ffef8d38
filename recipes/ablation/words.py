"""Words of an ablation's command line: those for the recipe's sections, and those that span the grid."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from runtime.errors import UserError


class SplitWords(NamedTuple):
    """Overrides of the recipe, and overrides of the options that points may vary."""

    recipe: list[str]
    grid: list[str]


def split_words(arguments: Sequence[str], own: Collection[str], sections: Collection[str]) -> SplitWords:
    """Sort ``key=value`` words.

    Args:
        arguments: the words.
        own: options of the section ``ablate``, which are written without its name.
        sections: further sections of the recipe.

    Raises:
        UserError: a word that is no ``key=value``.
    """
    split = SplitWords([], [])
    for word in arguments:
        key = word.split("=")[0]
        if "=" not in word:
            raise UserError(f"argument {word!r}", found="not of the form key=value", remedy="see --help")
        if key == "recipe" or key.startswith("ablate."):
            split.recipe.append(word)
        elif key.split(".")[0] in sections:
            split.recipe.append(f"++{word}")
        elif key in own and not (key == "seed" and "," in word):
            split.recipe.append(f"ablate.{word}")
        else:
            split.grid.append(word)
    return split
