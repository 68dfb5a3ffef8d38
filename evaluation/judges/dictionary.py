"""Pronunciations of the judge: the entries of pocketsphinx's own CMU dictionary for the words of a closed world."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from runtime.errors import UserError


@lru_cache(maxsize=1)
def cmu_dictionary() -> dict[str, list[str]]:
    """Word -> pronunciations (phones parted by spaces); variants such as ``the(2)`` are listed under their word."""
    import pocketsphinx

    entries: dict[str, list[str]] = {}
    for line in Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8").splitlines():
        head, _, phones = line.partition(" ")
        if phones:
            entries.setdefault(head.split("(")[0], []).append(phones.strip())
    return entries


def missing_words(words: Iterable[str]) -> list[str]:
    """Those of ``words`` that the CMU dictionary lacks, sorted."""
    return sorted(set(words) - cmu_dictionary().keys())


def pronunciations(words: Iterable[str]) -> str:
    """The text of a pocketsphinx dictionary that holds exactly ``words``.

    Raises:
        UserError: a word has no pronunciation; near words are offered.
    """
    entries = cmu_dictionary()
    wanted = sorted(set(words))
    missing = missing_words(wanted)
    if missing:
        near = get_close_matches(missing[0], entries, n=3, cutoff=0.75)
        hint = f" (near: {', '.join(near)})" if near else ""
        found = f"no pronunciation in the CMU dictionary for {len(missing)} of {len(wanted)} words: {missing[:8]}{hint}"
        raise UserError("the judge's closed world", found=found, remedy="word these sentences with other words")
    lines = []
    for word in wanted:
        for variant, phones in enumerate(entries[word], 1):
            lines.append(f"{word if variant == 1 else f'{word}({variant})'} {phones}")
    return "\n".join(lines) + "\n"
