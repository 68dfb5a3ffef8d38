"""Pairs of ZeroSpeech 2021's ``gold.csv``: sWUGGY's words and non-words, sBLIMP's sentences, one sound a row.

::

    lexical/dev/gold.csv     id, filename, voice, frequency, word, phones, length, correct
    syntactic/dev/gold.csv   id, filename, voice, type, subtype, transcription, correct

The sounds lie in the same folder, as <filename>.wav. A pair is the right and the wrong row of one id and voice: the
published script pairs the n-th right with the n-th wrong row of the whole file, so that one that is missing shifts all.
The subsets are the types, or whether a word's frequency in LibriSpeech is above 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from corpus.manifest import BadRecord
from evaluation.sets.item import ItemAudio
from evaluation.sets.rows import Row

from .choice_item import ChoiceItem, ChoicePart

COLUMNS = {"id", "filename", "voice", "correct"}
WORDS = ("transcription", "word")
KNOWN, UNKNOWN = "in_vocabulary", "oov"
SIDES = ("1", "0")
KEY = ("type", "subtype", "id", "voice")


def is_gold(row: Row) -> bool:
    """Whether a row is one of such a file."""
    return row.values.keys() >= COLUMNS


def gold_items(rows: Sequence[Row]) -> Iterator[ChoiceItem | BadRecord]:
    """The pairs, in the order of their first rows; a row without a partner or a sound comes as a `BadRecord`."""
    found: defaultdict[tuple[str, ...], dict[str, list[Row]]] = defaultdict(lambda: {side: [] for side in SIDES})
    for row in rows:
        side = str(row.values["correct"]).strip()
        if side not in SIDES:
            yield BadRecord(row.place, f"correct is {row.values['correct']!r}, neither 1 nor 0")
            continue
        key = (str(row.values.get(column) or "") for column in KEY)
        found[(row.folder.as_posix(), *key)][side].append(row)
    for (_, *names), sides in found.items():
        right, wrong = (sides[side] for side in SIDES)
        if len(right) != len(wrong):
            words = f"{len(right)} right and {len(wrong)} wrong rows of id {names[-2]!r} and voice {names[-1]!r}"
            yield BadRecord((right or wrong)[0].place, words)
            continue
        for number, pair in enumerate(zip(right, wrong, strict=True)):
            name = "/".join(filter(None, [*names, str(number) if number else ""]))
            try:
                yield ChoiceItem(id=name, context=None, candidates=(*map(_part, pair),), subset=_subset(pair[0]))
            except ValueError as error:
                yield BadRecord(pair[0].place, str(error))


def _part(row: Row) -> ChoicePart:
    stem = row.text("filename").removesuffix(".wav")
    file = row.folder / f"{stem}.wav"
    text = row.text(*WORDS) if any(row.values.get(name) for name in WORDS) else None
    return ChoicePart(id=stem, text=text, audio=ItemAudio(str(file), file=file) if file.is_file() else None)


def _subset(row: Row) -> str:
    if row.values.get("type"):
        return row.text("type")
    frequency = str(row.values.get("frequency") or "").strip()
    if not frequency:
        return ""
    return KNOWN if float(frequency) > 0 else UNKNOWN
