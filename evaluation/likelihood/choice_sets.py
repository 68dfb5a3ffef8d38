"""Table of the sets that are scored by likelihood, and the reading of one: items, bad rows counted, all digested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from corpus.manifest import BadRecord, check_bad_share
from evaluation.benchmarks.benchmark import PublishedScore
from evaluation.sets.parts import part_of
from evaluation.sets.rows import SUFFIXES, Row, read_rows
from runtime.errors import UserError

from .choice_item import ChoiceItem, ChoicePart, ChoiceSet, choice_digest, count_repeated
from .choice_rows import read_choice
from .gold_pairs import gold_items, is_gold
from .likelihood_rules import RULES, LikelihoodRule
from .sound_folders import SoundLayout, cross_modal_items, is_cross_modal, paired_items, sound_files

PAPER = "2412.02612, table 3"
SLAM = "slamkit docs/SLAM.md"
SALMON_PARTS = (
    "sentiment_consistency",
    "speaker_consistency",
    "gender_consistency",
    "bg_domain_consistency",
    "bg_all_consistency",
    "rir_consistency",
    "sentiment_alignment",
    "bg_alignment",
)


@dataclass(frozen=True, kw_only=True)
class ChoiceBenchmark:
    """A set that is scored by likelihood. Its files may have any layout that is read.

    Attributes:
        name: unique; on command lines.
        summary: one line for ``--help`` and tables.
        sounds: layout of a folder of nothing but sounds.
        separator: after the number in the names of such sounds.
        parts: names of its parts, which its files or folders are named after.
        published: rows for comparison with ours.
        notes: printed below the table, by name.
    """

    name: str
    summary: str
    sounds: SoundLayout = "numbered"
    separator: str = "_"
    parts: tuple[str, ...] = ()
    published: tuple[PublishedScore, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    def rule(self, name: str) -> LikelihoodRule:
        """The rule of that name."""
        return RULES[name]


def _published(column: int) -> tuple[PublishedScore, ...]:
    """StoryCloze: column 0 is Topic-StoryCloze, 1 StoryCloze."""
    table: tuple[tuple[str, str, tuple[float, float]], ...] = (
        ("TWIST-7B", "S->S", (66.6, 53.3)),
        ("Spirit-LM-7B", "S->S", (82.9, 61.0)),
        ("Spirit-LM-7B", "S->T", (88.6, 64.6)),
        ("Moshi-7B", "S->S", (83.0, 60.8)),
        ("GLM-4-Voice-9B", "S->T", (93.6, 76.3)),
        ("GLM-4-Voice-9B", "S->S", (82.9, 62.4)),
    )
    return tuple(PublishedScore(model, direction, values[column], PAPER) for model, direction, values in table)


def _salmon() -> tuple[PublishedScore, ...]:
    """SALMon's leaderboard, in the order of its parts."""
    table: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("TWIST-7B", (61.5, 71.0, 70.0, 55.0, 60.5, 62.0, 51.5, 54.0)),
        ("pGSLM", (40.5, 82.5, 88.5, 57.5, 66.0, 53.5, 55.5, 53.0)),
        ("LAST-1.3B", (65.0, 64.6, 68.5, 56.0, 61.0, 62.5, 53.5, 52.5)),
        ("people", (97.2, 91.2, 98.6, 83.1, 88.7, 94.4, 93.3, 95.7)),
    )
    return tuple(
        PublishedScore(model, "S->S", value, "2409.07437, leaderboard of slp-rl/salmon", part)
        for model, values in table
        for part, value in zip(SALMON_PARTS, values, strict=True)
    )


BENCHMARKS: Mapping[str, ChoiceBenchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        ChoiceBenchmark(name="pairs", summary="Pairs of a right and a wrong continuation"),
        ChoiceBenchmark(name="story_cloze", summary="StoryCloze, spoken and written", published=_published(1)),
        ChoiceBenchmark(
            name="topic_story_cloze", summary="Topic-StoryCloze, spoken and written", published=_published(0)
        ),
        ChoiceBenchmark(
            name="sblimp",
            summary="sBLIMP: grammatical and ungrammatical sentences, spoken",
            separator="+",
            published=tuple(
                PublishedScore(model, "S->S", value, SLAM)
                for model, value in (("Moshi-7B", 58.8), ("Spirit-LM-7B", 58.3), ("AlignSLM-7B", 62.3), ("Slam", 61.1))
            ),
        ),
        ChoiceBenchmark(name="swuggy", summary="sWUGGY: words and non-words, spoken"),
        ChoiceBenchmark(
            name="salmon",
            summary="SALMon: consistency and alignment of acoustic elements",
            sounds="salmon",
            parts=SALMON_PARTS,
            published=_salmon(),
        ),
        ChoiceBenchmark(name="hellaswag", summary="HellaSwag"),
        ChoiceBenchmark(name="copa", summary="COPA"),
    )
}


def read_choice_set(
    benchmark: ChoiceBenchmark,
    source: Path | str,
    directions: tuple[str, ...],
    *,
    has_codes: Callable[[ChoicePart], bool] = lambda part: False,
    max_bad_share: float = 0.0,
) -> ChoiceSet:
    """Read a set.

    Args:
        benchmark: its name and the layout of its sounds.
        source: a table, or a folder of tables or of sounds.
        directions: media of context and candidates that items must have (``s2t``); with no context, the second only.
        has_codes: whether a part's speech codes are there without its sound.
        max_bad_share: share of the rows that may be bad; they are left out and counted.

    Raises:
        UserError: nothing there, no item, or too many bad rows (the first is named).
    """
    items: list[ChoiceItem] = []
    bad: list[BadRecord] = []
    ids: set[str] = set()
    for item in _all_items(benchmark, Path(source)):
        if isinstance(item, BadRecord):
            bad.append(item)
            continue
        reason = _missing(item, directions, has_codes)
        reason = f"id {item.id!r} was used before" if item.id in ids else reason
        if reason:
            bad.append(BadRecord(f"{source}, item {item.id}", reason))
            continue
        ids.add(item.id)
        items.append(_without_unused(item, directions))
    check_bad_share(bad, len(items) + len(bad), max_bad_share)
    if not items:
        raise UserError(str(source), found=f"no item of {benchmark.name}", remedy="give the folder of the set")
    return ChoiceSet(
        digest=choice_digest(items), items=tuple(items), left_out=tuple(bad), repeated=count_repeated(items)
    )


def _all_items(benchmark: ChoiceBenchmark, source: Path) -> Iterator[ChoiceItem | BadRecord]:
    has_tables = not source.is_dir() or any(
        file.name.endswith(SUFFIXES) and not file.name.startswith(".") for file in source.rglob("*") if file.is_file()
    )
    if not has_tables and is_cross_modal(source):
        yield from cross_modal_items(source)
    elif not has_tables and sound_files(source):
        yield from paired_items(source, benchmark.sounds, benchmark.separator, benchmark.parts)
    else:
        gold = []
        for row in read_rows(source):
            if isinstance(row, BadRecord):
                yield row
            elif is_gold(row):
                gold.append(row)
            else:
                yield _read_row(row, benchmark.parts)
        yield from gold_items(gold)


def _read_row(row: Row, parts: tuple[str, ...]) -> ChoiceItem | BadRecord:
    """A row's item; its subset, where the row does not say, is the part that its file or folder is named after."""
    try:
        item = read_choice(row)
    except ValueError as error:
        return BadRecord(row.place, str(error))
    part = None if item.subset else part_of(row, parts)
    return item if part is None else replace(item, subset=part, id=f"{part}/{item.id}")


def _missing(item: ChoiceItem, directions: tuple[str, ...], has_codes: Callable[[ChoicePart], bool]) -> str:
    """The reason why an item cannot be asked in the directions; "" where it can."""
    for direction in directions:
        first, _, last = direction.partition("2")
        media = [(item.context, first, "context")] if item.context is not None else []
        for part, medium, name in [*media, *((one, last, "a candidate") for one in item.candidates)]:
            has_speech = part.audio is not None or part.codes is not None or has_codes(part)
            if not (has_speech if medium == "s" else part.text is not None):
                return f"no {'speech' if medium == 's' else 'text'} of {name}, which {direction} needs"
    return ""


def _without_unused(item: ChoiceItem, directions: tuple[str, ...]) -> ChoiceItem:
    """The item without sounds that no direction needs, so that they are not read."""
    if any("s" in direction for direction in directions):
        return item
    context = None if item.context is None else replace(item.context, audio=None, codes=None)
    return replace(
        item, context=context, candidates=tuple(replace(one, audio=None, codes=None) for one in item.candidates)
    )
