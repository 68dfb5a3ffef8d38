"""Folders of sounds as choice items, in slamkit's layouts of (cross-modal) StoryCloze, sBLIMP, sWUGGY and SALMon.

::

    X_correct.wav X_incorrect.wav X_mutual.wav   and the same as .txt: context (mutual) and two candidates
    12_name.wav 13_name.wav                      a pair: the even number is right (sBLIMP: 12+name.wav)
    bg_alignment/sample_12_a.wav sample_12_b.wav SALMon: one pair a sample, the first by name is right

A folder's subfolders are the set's parts; folders above one of a published name do not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from corpus.manifest import BadRecord
from evaluation.sets.item import ItemAudio

from .choice_item import ChoiceItem, ChoicePart
from .choice_rows import SOUNDS

SoundLayout = Literal["numbered", "salmon"]
NAMES = ("mutual", "correct", "incorrect")


def sound_files(folder: Path) -> list[Path]:
    """All sounds below a folder, in order of name."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in SOUNDS)


def is_cross_modal(folder: Path) -> bool:
    """Whether the folder holds parts by name: ``X_correct.wav`` or ``X_correct.txt``."""
    return any(file.suffix in (*SOUNDS, ".txt") for file in folder.rglob("*_correct.*"))


def cross_modal_items(folder: Path) -> Iterator[ChoiceItem | BadRecord]:
    """The items of ``X_mutual``, ``X_correct`` and ``X_incorrect``, as sound, as text, or as both."""
    ends = (*SOUNDS, ".txt")
    bases = {
        file.with_name(file.stem.removesuffix(f"_{name}"))
        for name in NAMES
        for file in folder.rglob(f"*_{name}.*")
        if file.suffix in ends
    }
    for base in sorted(bases):
        try:
            context, right, wrong = (_named_part(base, name) for name in NAMES)
            if right is None or wrong is None:
                raise ValueError(f"no {base.name}_{'correct' if right is None else 'incorrect'}.wav or .txt")
        except ValueError as error:
            yield BadRecord(str(base), str(error))
            continue
        name = base.relative_to(folder).as_posix()
        yield ChoiceItem(id=name, context=context, candidates=(right, wrong), subset=_subset(base, folder))


def _named_part(base: Path, name: str) -> ChoicePart | None:
    stem = f"{base.name}_{name}"
    audio = next((file for end in SOUNDS if (file := base.with_name(stem + end)).is_file()), None)
    written = base.with_name(f"{stem}.txt")
    text = None
    if written.is_file():
        text = written.read_text(encoding="utf-8-sig").strip()  # a UnicodeDecodeError is a ValueError
        if not text:
            raise ValueError(f"{written.name} is empty")
    if audio is None and text is None:
        return None
    return ChoicePart(id=stem, text=text, audio=None if audio is None else ItemAudio(str(audio), file=audio))


def paired_items(
    folder: Path, layout: SoundLayout, separator: str, parts: Sequence[str] = ()
) -> Iterator[ChoiceItem | BadRecord]:
    """The pairs of a folder of sounds; a file without a partner or a number comes as a `BadRecord`.

    Args:
        folder: of the sounds, or of subfolders of them.
        layout: ``numbered`` or ``salmon``, see above.
        separator: after the number of a ``numbered`` file.
        parts: published names of subfolders.
    """
    pairs: defaultdict[tuple[Path, int], list[tuple[int, Path]]] = defaultdict(list)
    for file in sound_files(folder):
        words = file.stem.split("_") if layout == "salmon" else [*file.name.split(separator)[:1]]
        digits = words[1] if layout == "salmon" and len(words) > 1 else words[0].removesuffix(file.suffix)
        if not digits.isdecimal():
            yield BadRecord(str(file), f"no number before {separator!r} in its name")
            continue
        number = int(digits)
        if layout == "salmon":
            pairs[file.parent, number].append((len(pairs[file.parent, number]), file))
        else:
            pairs[file.parent, number // 2].append((number % 2, file))
    for (parent, number), files in sorted(pairs.items()):
        if sorted(side for side, _ in files) != [0, 1]:
            names = ", ".join(file.name for _, file in files)
            wanted = "two of a sample" if layout == "salmon" else f"numbers {2 * number} and {2 * number + 1}"
            yield BadRecord(str(parent), f"{names}: no pair ({wanted})")
            continue
        candidates = tuple(ChoicePart(id=file.stem, audio=ItemAudio(str(file), file=file)) for _, file in sorted(files))
        subset = _subset(files[0][1], folder, parts)
        name = f"{subset}/{number}" if subset else str(number)
        yield ChoiceItem(id=name, context=None, candidates=candidates, subset=subset)


def _subset(file: Path, folder: Path, parts: Sequence[str] = ()) -> str:
    """The subfolders between a file and the set's folder, from the first of a published name on."""
    below = file.parent.relative_to(folder).parts
    start = next((at for at, name in enumerate(below) if name in parts), 0)
    return "/".join(below[start:])
